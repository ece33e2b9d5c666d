package pipeline

// Ids that were sent before: what retries are answered, whatever becomes of the
// first sending, and that the same id is never with Kafka twice.

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/event-gateway/event-gateway/stages"
)

func withDedupe(cfg *Config, _ *Parts) {
	cfg.DedupeWindow, cfg.DedupeMaxEvents = time.Hour, minDedupeEvents
}

// sending is an event with one of the test's ids, which also are its keys.
func sending(id string) testEvent {
	return testEvent{id: id, source: "s", key: id, data: stamp(0, 0)}
}

// position is what an answer says about where the event is.
func position(m *stages.Message, i int) string {
	r := &m.Results[i]
	return fmt.Sprint(r.Topic.Name, "-", r.Partition, " at ", r.Offset)
}

func TestARetryGetsThePositionOfTheFirst(t *testing.T) {
	h := newHarness(t, withDedupe)
	h.p.Release(h.call(stages.Single, frameOf(sending("before")), 1))
	first := h.call(stages.Single, frameOf(sending("a")), 1)
	mustOutcome(t, first, 0, stages.Acknowledged, stages.NoReason, stages.AtProduce)
	other := sending("a")
	other.source = "another source"
	for _, kind := range []stages.Kind{stages.Single, stages.Batch} {
		again := h.call(kind, frameOf(sending("a")), 1)
		mustOutcome(t, again, 0, stages.Duplicate, stages.NoReason, stages.AtValidate)
		if got, want := position(again, 0), position(first, 0); got != want {
			t.Errorf("the retry is answered with %s, the event is in %s", got, want)
		}
		h.p.Release(again)
	}
	h.p.Release(first)
	m := h.call(stages.Single, frameOf(other), 1)
	mustOutcome(t, m, 0, stages.Acknowledged, stages.NoReason, stages.AtProduce)
	h.p.Release(m)
	_, known := h.p.dedupe.count()
	for range 2 { // the gateway makes the id, which nobody can send again
		m = h.call(stages.Single, frameOf(sending("")), 1)
		mustOutcome(t, m, 0, stages.Acknowledged, stages.NoReason, stages.AtProduce)
		h.p.Release(m)
	}
	if _, now := h.p.dedupe.count(); now != known {
		t.Errorf("%d ids are known, %d before", now, known)
	}
	h.close()
}

// A quiet batch's events are acknowledged in runs, which have no Acks.
func TestARetryOfAQuietBatch(t *testing.T) {
	h := newHarness(t, withDedupe)
	var frame []byte
	const n = 100
	for i := range n {
		frame = sending(fmt.Sprint(i)).encode(frame)
	}
	offsets := map[string]int64{}
	h.r.mu.Lock()
	h.r.verdict = func(ev *stages.Event) stages.Verdict {
		offsets[string(ev.ID.Value)] = ev.Ack.Offset
		return stages.Verdict{}
	}
	h.r.mu.Unlock()
	for round := range 2 {
		w := newWaiting()
		m := h.p.Receive(h.client, slices.Clone(frame), nil, stages.Batch, n) // a released message's bytes are gone
		m.Owner = w
		if v := h.p.Admit(t.Context(), m, -1); v != nil {
			t.Fatal(v)
		}
		h.p.Submit(h.p.Lane(), m)
		w.await(t)
		for i := range n {
			want := stages.Acknowledged
			if round > 0 {
				want = stages.Duplicate
			}
			if m.Outcome(i) != want {
				t.Fatalf("round %d, event %d: %v", round, i, m.Outcome(i))
			}
			if round > 0 && m.Results[i].Offset != offsets[fmt.Sprint(i)] {
				t.Fatalf("event %d: offset %d, want %d", i, m.Results[i].Offset, offsets[fmt.Sprint(i)])
			}
		}
		h.p.Release(m)
	}
	h.close()
}

// submitted is a message that is not answered yet.
type submitted struct {
	*stages.Message
	*waiting
}

func (h *harness) send(e testEvent) submitted {
	w := newWaiting()
	m, admitted := h.submit(h.p.Lane(), w, stages.Single, frameOf(e), 1)
	if !admitted {
		h.t.Fatal("not admitted")
	}
	return submitted{m, w}
}

// awaitChained waits until n sendings wait for others.
func (h *harness) awaitChained(n int) {
	h.t.Helper()
	for deadline := time.Now().Add(patience); ; runtime.Gosched() {
		waiting := 0
		for i := range h.p.dedupe.stripes {
			s := &h.p.dedupe.stripes[i]
			s.mu.Lock()
			for _, c := range s.inflight {
				waiting += len(c.Waiting)
			}
			s.mu.Unlock()
		}
		if waiting == n {
			return
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("%d sendings wait, want %d", waiting, n)
		}
	}
}

func TestASendingInFlightGetsTheOutcomeOfTheFirst(t *testing.T) {
	for _, c := range []struct {
		verdict, first, second stages.Outcome
		reason                 stages.Reason
		stage                  stages.StageID
	}{
		{stages.Acknowledged, stages.Acknowledged, stages.Duplicate, stages.NoReason, stages.AtValidate},
		{stages.Unknown, stages.Unknown, stages.Unknown, stages.OutcomeUnknown, stages.AtProduce},
		{stages.Refused, stages.Refused, stages.Refused, stages.OriginalRefused, stages.AtValidate},
	} {
		t.Run(c.verdict.String(), func(t *testing.T) {
			h := newHarness(t, withDedupe)
			verdict := stages.Verdict{Outcome: c.verdict}
			if c.verdict != stages.Acknowledged {
				verdict.Reason, verdict.Stage = stages.RecordRejected, stages.AtProduce
			}
			h.r.mu.Lock()
			h.r.verdict = func(*stages.Event) stages.Verdict { return verdict }
			h.r.mu.Unlock()
			h.r.hold.Store(true)
			first := h.send(sending("a"))
			h.awaitHanded(1)
			second, third := h.send(sending("a")), h.send(sending("a"))
			h.awaitChained(2)
			h.r.heal()
			first.await(t)
			if got := first.Outcome(0); got != c.first {
				t.Errorf("the first: %v", got)
			}
			for _, s := range []submitted{second, third} {
				s.await(t)
				mustOutcome(t, s.Message, 0, c.second, c.reason, c.stage)
				if c.second == stages.Duplicate && position(s.Message, 0) != position(first.Message, 0) {
					t.Errorf("position %s, want %s", position(s.Message, 0), position(first.Message, 0))
				}
				h.p.Release(s.Message)
			}
			h.p.Release(first.Message)
			verdict = stages.Verdict{Outcome: stages.Acknowledged}
			m := h.call(stages.Single, frameOf(sending("a")), 1)
			if want := c.second == stages.Duplicate; (m.Outcome(0) == stages.Duplicate) != want {
				t.Errorf("the next one: %v", m.Outcome(0))
			}
			h.p.Release(m)
			h.close()
		})
	}
}

// dropAll is a rule that filters everything, when it is let.
type dropAll struct{ gate chan struct{} }

func (d dropAll) Apply(ev *stages.Event) bool {
	<-d.gate
	ev.Filter(stages.AtTransform)
	return false
}

func TestASendingWaitsForOneThatIsFiltered(t *testing.T) {
	gate := make(chan struct{})
	h := newHarness(t, withDedupe, func(_ *Config, parts *Parts) {
		parts.Rules = func(stages.Memory) stages.Rules { return dropAll{gate} }
	}, withWorkers(1, 2, 2, 2, 1, 1)) // nobody does another's work: the worker that stands in the rule is transform's
	first := h.send(sending("a"))
	for claimed := 0; claimed == 0; runtime.Gosched() {
		claimed, _ = h.p.dedupe.count()
	}
	second := h.send(sending("a"))
	h.awaitChained(1)
	close(gate)
	for _, s := range []submitted{first, second} {
		s.await(t)
		if s.Outcome(0) != stages.Filtered {
			t.Errorf("%v", s.Outcome(0))
		}
		h.p.Release(s.Message)
	}
	h.close()
}

// The first sending was answered unknown at its deadline, the second, which waits, too; then Kafka has it after all.
func TestALateAcknowledgementMakesDuplicates(t *testing.T) {
	h := newHarness(t, withDedupe)
	h.r.hold.Store(true)
	first := h.send(sending("a"))
	h.awaitHanded(1)
	h.p.Expire(first.Message, stages.NotSent)
	mustOutcome(t, first.Message, 0, stages.Unknown, stages.OutcomeUnknown, stages.AtProduce)
	h.p.Release(first.Message)
	second, third, gone := h.send(sending("a")), h.send(sending("a")), h.send(sending("a"))
	h.awaitChained(3)
	h.p.Expire(second.Message, stages.NotSent)
	mustOutcome(t, second.Message, 0, stages.Unknown, stages.OutcomeUnknown, stages.AtProduce)
	h.p.Release(second.Message)
	h.p.Abandon(gone.Message)
	h.r.heal()
	third.await(t)
	mustOutcome(t, third.Message, 0, stages.Duplicate, stages.NoReason, stages.AtValidate)
	h.p.Release(third.Message)
	m := h.call(stages.Single, frameOf(sending("a")), 1)
	mustOutcome(t, m, 0, stages.Duplicate, stages.NoReason, stages.AtValidate)
	h.p.Release(m)
	h.close()
	if n := h.r.len(h.topics.Default.Partitions()[stages.KeyHash([]byte("a"))%testPartitions]); n != 1 {
		t.Errorf("%d records", n)
	}
}

func TestFewSendingsMayWait(t *testing.T) {
	h := newHarness(t, withDedupe)
	h.r.hold.Store(true)
	all := []submitted{h.send(sending("a"))}
	h.awaitHanded(1)
	for range maxWaiting {
		all = append(all, h.send(sending("a")))
	}
	h.awaitChained(maxWaiting)
	m := h.call(stages.Single, frameOf(sending("a")), 1)
	mustOutcome(t, m, 0, stages.Refused, stages.TooManyRetries, stages.AtValidate)
	h.p.Release(m)
	h.r.heal()
	for _, s := range all {
		s.await(t)
		h.p.Release(s.Message)
	}
	h.close()
}

func TestReplaysAreNoRetries(t *testing.T) {
	h := newHarness(t, withDedupe)
	h.p.Release(h.call(stages.Single, frameOf(sending("a")), 1))
	w := newWaiting()
	m := h.p.Receive(h.client, frameOf(sending("a")), nil, stages.Single, 1)
	h.p.accepted[stages.FromGRPC].Add(^uint64(0)) // Receive has counted it there
	h.p.accepted[stages.FromReplay].Add(1)
	m.Owner, m.Origin = w, stages.FromReplay
	if v := h.p.Admit(t.Context(), m, -1); v != nil {
		t.Fatal(v)
	}
	h.p.Submit(0, m)
	w.await(t)
	if m.Outcome(0) != stages.Acknowledged {
		t.Errorf("%v", m.Outcome(0))
	}
	h.p.Release(m)
	h.close()
}

// Behind the window an id is new. The clock is not turned: the window is.
func TestTheWindowEnds(t *testing.T) {
	h := newHarness(t, withDedupe)
	h.p.Release(h.call(stages.Single, frameOf(sending("a")), 1))
	h.p.dedupe.window = -1
	m := h.call(stages.Single, frameOf(sending("a")), 1)
	mustOutcome(t, m, 0, stages.Acknowledged, stages.NoReason, stages.AtProduce)
	h.p.Release(m)
	h.close()
}

// A claim whose event is never reported, because the Producer panicked, does not hold its id for ever.
func TestALostClaimEnds(t *testing.T) {
	h := newHarness(t, withDedupe)
	h.r.hold.Store(true)
	first := h.send(sending("a"))
	h.awaitHanded(1)
	waits := h.send(sending("a"))
	h.awaitChained(1)
	h.p.dedupe.lost = -1
	second := h.send(sending("a"))
	h.awaitHanded(2)
	h.r.heal() // both after all
	for _, s := range []submitted{first, waits, second} {
		s.await(t)
		h.p.Release(s.Message)
	}
	if claimed, known := h.p.dedupe.count(); claimed != 0 || known != 2 {
		t.Errorf("%d claims, %d ids", claimed, known)
	}
	h.close()
}

func TestNoIDIsWithKafkaTwice(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 5
	}
	for _, procs := range []int{1, 4} {
		t.Run(fmt.Sprintf("procs=%d", procs), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			for i := range rounds {
				retries(t, uint64(time.Now().UnixNano())+uint64(i))
			}
		})
	}
}

// retriesRun is one round.
type retriesRun struct {
	*harness
	seed uint64
	mu   sync.Mutex // guards the following
	// with are the ids that the Producer has at the moment, stored those that Kafka has acknowledged.
	with     map[string]*stages.Event
	stored   map[string]string
	outcomes [stages.Outcomes]atomic.Int64
}

func retries(t *testing.T, seed uint64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	r := &retriesRun{seed: seed, with: map[string]*stages.Event{}, stored: map[string]string{}}
	r.harness = newHarness(t, withDedupe, withWorkers(2, 1+rng.IntN(3), 1, 1+rng.IntN(2), 1, 1+rng.IntN(2)), func(cfg *Config, parts *Parts) {
		cfg.RingCapacity = 1 << rng.IntN(6)
		parts.Stages.RateLimitEnabled, parts.Stages.RateLimitRPS, parts.Stages.RateLimitBurst = true, 1e6, 200
		cfg.EventStoreCapacity, cfg.EventStoreBytes = 100, stages.MiB
	})
	fates := rand.New(rand.NewPCG(seed, 2))
	r.r.verdict = func(ev *stages.Event) stages.Verdict { return r.decide(ev, fates) }
	r.r.inspect = r.look
	stop := make(chan struct{})
	var trouble, streams sync.WaitGroup
	trouble.Go(func() { r.holdNowAndThen(stop) })
	for s := range 6 {
		streams.Go(func() { r.stream(s) })
	}
	streams.Wait()
	close(stop)
	trouble.Wait()
	r.r.heal()
	r.close()
	if claimed, _ := r.p.dedupe.count(); claimed != 0 {
		t.Errorf("%d claims at rest", claimed)
	}
	if r.outcomes[stages.Duplicate].Load() == 0 {
		t.Errorf("seed %d: no duplicate in all of the round", seed)
	}
}

// look sees an event when it is handed to the Producer and again when it is about to be reported.
func (r *retriesRun) look(ev *stages.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id := string(ev.ID.Value)
	switch r.with[id] {
	case nil:
		if at, ok := r.stored[id]; ok {
			r.t.Errorf("seed %d: %s is sent to Kafka again, it is %s", r.seed, id, at)
		}
		r.with[id] = ev
	case ev:
		delete(r.with, id)
		if ev.Ack.Verdict.Outcome == stages.Acknowledged {
			r.stored[id] = fmt.Sprint(ev.Topic.Name, "-", ev.Ack.Partition, " at ", ev.Ack.Offset)
		}
	default:
		r.t.Errorf("seed %d: %s is with Kafka twice at a time", r.seed, id)
	}
}

func (r *retriesRun) decide(_ *stages.Event, rng *rand.Rand) stages.Verdict {
	switch rng.IntN(4) {
	case 0:
		return stages.Verdict{Outcome: stages.Refused, Reason: stages.BatchRejected, Stage: stages.AtProduce}
	case 1:
		return stages.Verdict{Outcome: stages.Unknown, Reason: stages.OutcomeUnknown, Stage: stages.AtProduce}
	}
	return stages.Verdict{}
}

func (r *retriesRun) holdNowAndThen(stop chan struct{}) {
	rng := rand.New(rand.NewPCG(r.seed, 3))
	tick := time.NewTicker(200 * time.Microsecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		if rng.IntN(3) == 0 {
			r.r.hold.Store(true)
		} else {
			r.r.heal()
		}
	}
}

// stream sends ids of a few, alone or several at a time, waits for most answers, expires or abandons the others.
func (r *retriesRun) stream(s int) {
	rng := rand.New(rand.NewPCG(r.seed, uint64(s)+10))
	lane := r.p.Lane()
	var wg sync.WaitGroup
	for range 40 {
		var frame []byte
		n := 1 + rng.IntN(6)
		var ids []string
		for range n {
			id := fmt.Sprint("id", rng.IntN(60))
			ids = append(ids, id)
			frame = sending(id).encode(frame)
		}
		w := newWaiting()
		m := r.p.Receive(r.client, frame, nil, stages.Batch, n)
		m.Owner, m.WantResults = w, rng.IntN(2) == 0
		if v := r.p.Admit(r.t.Context(), m, -1); v != nil {
			r.t.Errorf("not admitted: %v", v)
			return
		}
		r.p.Submit(lane, m)
		switch rng.IntN(8) {
		case 0:
			r.p.Abandon(m)
			continue
		case 1:
			r.p.Expire(m, stages.NotSent)
		default:
			wg.Go(func() {
				w.await(r.t)
				r.judge(m, ids)
			})
			continue
		}
		r.judge(m, ids)
	}
	wg.Wait()
}

// judge holds answers against what the Producer has seen.
func (r *retriesRun) judge(m *stages.Message, ids []string) {
	r.mu.Lock()
	for i, id := range ids {
		outcome := m.Outcome(i)
		r.outcomes[outcome].Add(1)
		at, ok := r.stored[id]
		switch {
		case outcome == stages.Pending:
			r.t.Errorf("seed %d: %s has no outcome", r.seed, id)
		case (outcome == stages.Duplicate || outcome == stages.Acknowledged) && !ok:
			r.t.Errorf("seed %d: %s is %v, and not in Kafka", r.seed, id, outcome)
		case outcome == stages.Duplicate && position(m, i) != at:
			r.t.Errorf("seed %d: %s is said to be %s, it is %s", r.seed, id, position(m, i), at)
		}
	}
	r.mu.Unlock()
	r.p.Release(m)
}

func TestKnownIDsAgainstAMap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.IntRange(1, 20).Draw(t, "size")
		k := newKnownIDs(size)
		var order []knownID
		for i := range rapid.IntRange(0, 100).Draw(t, "adds") {
			id := knownID{offset: int64(i)}
			id.key[0] = byte(rapid.IntRange(0, 30).Draw(t, "key"))
			id.key[8] = id.key[0] & 3 // many share a chain
			k.add(id)
			order = append(order, id)
		}
		for b := range byte(31) {
			key := [16]byte{0: b, 8: b & 3}
			want := int64(-1)
			for _, id := range order[max(0, len(order)-size):] {
				if id.key == key {
					want = id.offset
				}
			}
			got := int64(-1)
			if id := k.find(&key); id != nil {
				got = id.offset
			}
			if got != want {
				t.Fatalf("%d: offset %d, want %d", b, got, want)
			}
		}
	})
}
