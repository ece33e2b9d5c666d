package pipeline

// The hard end of a drain while sendings of an id wait for the first one: each is
// answered once, whoever is faster, the drain or Kafka, and nothing is left.

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

// tally is an Owner that counts its answers.
type tally struct {
	answers atomic.Int64
	once    chan struct{}
}

func (c *tally) Completed(*stages.Message) {
	if c.answers.Add(1) == 1 {
		close(c.once)
	}
}

// held is a message whose handler waits for its answer or the end of the drain.
type held struct {
	*stages.Message
	*tally
	ids []string
}

// hold sends ids in one message.
func (h *harness) hold(ids ...string) held {
	h.t.Helper()
	c := &tally{once: make(chan struct{})}
	var frame []byte
	for _, id := range ids {
		frame = sending(id).encode(frame)
	}
	m, admitted := h.submit(h.p.Lane(), c, stages.Batch, frame, len(ids))
	if !admitted {
		h.t.Fatal("not admitted")
	}
	return held{m, c, ids}
}

// handle is what a handler does with its message.
func (h *harness) handle(m held) {
	select {
	case <-m.once:
	case <-h.p.Cutoff():
		h.p.Expire(m.Message, stages.Draining)
		<-m.once // whoever has answered the last event may be about to say so
	case <-time.After(patience):
		h.t.Errorf("no answer in %v", patience)
	}
}

// Kafka does not answer: the first sendings and all that wait for them are unknown. What Kafka says later is nobody's answer,
// and ends the claims.
func TestExpireAllAnswersSendingsThatWait(t *testing.T) {
	h := newHarness(t, withDedupe)
	h.r.hold.Store(true)
	const ids, retries = 5, 4
	var all []held
	for i := range ids {
		all = append(all, h.hold(fmt.Sprint(i)))
	}
	h.awaitHanded(ids)
	for range retries {
		all = append(all, h.hold("0", "1", "2", "3", "4"))
	}
	orphan := h.hold("0", "1", "2", "3", "4")
	h.awaitChained((retries + 1) * ids)
	h.p.Abandon(orphan.Message)
	h.p.StartDrain()
	var handlers sync.WaitGroup
	for _, m := range all {
		handlers.Go(func() { h.handle(m) })
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if refused, unknown := h.p.ExpireAll(ctx); refused != 0 || unknown != ids*(1+retries+1) {
		t.Errorf("refused %d, unknown %d; want 0 and %d", refused, unknown, ids*(1+retries+1))
	}
	handlers.Wait()
	for _, m := range all {
		for i := range m.ids {
			mustOutcome(t, m.Message, i, stages.Unknown, stages.OutcomeUnknown, stages.AtProduce)
		}
	}
	if claimed, _ := h.p.dedupe.count(); claimed != ids {
		t.Errorf("%d claims, %d sendings are with Kafka", claimed, ids)
	}
	h.awaitChained((retries + 1) * ids)
	h.r.heal()
	h.awaitChained(0)
	for _, m := range all {
		for i := range m.ids {
			mustOutcome(t, m.Message, i, stages.Unknown, stages.OutcomeUnknown, stages.AtProduce)
		}
		h.p.Release(m.Message)
	}
	h.close()
	for _, m := range append(all, orphan) {
		if n := m.answers.Load(); n != 1 {
			t.Errorf("%v was answered %d times", m.ids, n)
		}
	}
	if claimed, known := h.p.dedupe.count(); claimed != 0 || known != ids {
		t.Errorf("%d claims and %d ids at rest, want 0 and %d", claimed, known, ids)
	}
	if late := h.p.lateAcks.Load(); late != ids {
		t.Errorf("%d late acknowledgements, want %d", late, ids)
	}
}

// The drain's end and Kafka's reports come at the same time.
func TestExpireAllMeetsReports(t *testing.T) {
	rounds := 200
	if testing.Short() {
		rounds = 20
	}
	var seen [stages.Outcomes]int
	for round := range rounds {
		expireWhileReported(t, uint64(round), &seen)
	}
	if runtime.GOMAXPROCS(0) == 1 {
		return // one of the two has ended before the other begins
	}
	for _, o := range []stages.Outcome{stages.Acknowledged, stages.Duplicate, stages.Refused, stages.Unknown} {
		if seen[o] == 0 {
			t.Errorf("no event was %v in any round; the two have not met: %v", o, seen)
		}
	}
}

func expireWhileReported(t *testing.T, seed uint64, seen *[stages.Outcomes]int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	h := newHarness(t, withDedupe, withWorkers(1+rng.IntN(2), 1+rng.IntN(2), 1, 1, 1, 1+rng.IntN(2)))
	fates := rand.New(rand.NewPCG(seed, 2))
	fate := map[string]stages.Outcome{} // written by produce workers, one at a time, before any report
	h.r.verdict = func(ev *stages.Event) stages.Verdict {
		v := stages.Verdict{Outcome: stages.Acknowledged}
		if fates.IntN(3) == 0 {
			v = stages.Verdict{Outcome: stages.Refused, Reason: stages.BatchRejected, Stage: stages.AtProduce}
		}
		fate[string(ev.ID.Value)] = v.Outcome
		return v
	}
	h.r.hold.Store(true)
	const ids = 6
	var all []held
	for i := range ids {
		all = append(all, h.hold(fmt.Sprint(i)))
	}
	h.awaitHanded(ids)
	chained := 0
	for range 12 {
		again := rng.Perm(ids)[:1+rng.IntN(ids)]
		var names []string
		for _, i := range again {
			names = append(names, fmt.Sprint(i))
		}
		all = append(all, h.hold(names...))
		chained += len(again)
	}
	h.awaitChained(chained)
	kept := all[:0:0]
	for _, m := range all {
		if rng.IntN(4) == 0 {
			h.p.Abandon(m.Message)
		} else {
			kept = append(kept, m)
		}
	}
	h.p.StartDrain()
	var handlers sync.WaitGroup
	for _, m := range kept {
		handlers.Go(func() { h.handle(m) })
	}
	start := make(chan struct{})
	handlers.Go(func() { <-start; h.r.heal() })
	handlers.Go(func() {
		<-start
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		h.p.ExpireAll(ctx)
		if n := h.p.InFlight(); n != 0 {
			t.Errorf("round %d: %d events have no outcome at the end of the drain", seed, n)
		}
	})
	close(start)
	handlers.Wait()
	h.awaitChained(0)
	for _, m := range kept {
		for i, id := range m.ids {
			r := &m.Results[i]
			seen[r.Outcome]++
			if ok := r.Outcome == stages.Unknown || r.Outcome == fate[id] || r.Outcome == stages.Duplicate && fate[id] == stages.Acknowledged; !ok {
				t.Errorf("round %d: %s is answered %v, Kafka has said %v", seed, id, r.Outcome, fate[id])
			}
		}
		h.p.Release(m.Message)
	}
	h.close()
	for _, m := range all {
		if n := m.answers.Load(); n != 1 {
			t.Errorf("round %d: %v was answered %d times", seed, m.ids, n)
		}
	}
	if claimed, _ := h.p.dedupe.count(); claimed != 0 {
		t.Errorf("round %d: %d claims at rest", seed, claimed)
	}
}
