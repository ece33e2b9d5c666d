package pipeline

// Admission alone: first come first served, turns, shares, time-outs, and that no wake-up is lost.

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

func TestBudgetIsFirstComeFirstServed(t *testing.T) {
	b := &budget{limit: 100}
	if !b.try(60) {
		t.Fatal("60 of 100 did not fit")
	}
	large := b.enqueue(80, patient)
	if b.try(10) {
		t.Error("a small request overtook a large one")
	}
	small := b.enqueue(30, patient)
	if small.in() {
		t.Error("a small request that was queued overtook a large one")
	}
	b.release(60)
	if !large.in() || small.in() {
		t.Errorf("large granted: %t; small: %t", large.in(), small.in())
	}
	b.release(80)
	<-small.granted
	b.release(30)
	if b.used.Load() != 0 || b.waiting.Load() != 0 {
		t.Errorf("used %d, waiting %d", b.used.Load(), b.waiting.Load())
	}
}

// in tells whether it was granted.
func (c *claim) in() bool {
	select {
	case <-c.granted:
		return true
	default:
		return false
	}
}

// Streams that wait for more than goes out while a call waits do not keep the call out, and calls that come without
// end do not keep the streams out: each side gets half of what is given back.
func TestBudgetLetsCallsAndStreamsTakeTurns(t *testing.T) {
	for _, sizes := range [][2]int64{{1, 100}, {100, 1}, {7, 7}} {
		b := &budget{limit: 1000}
		var last [2]*claim
		var got [2]int64
		b.take(b.limit)
		for range 50_000 {
			for kind, n := range sizes {
				for last[kind] == nil || last[kind].in() { // each asks again as soon as it was let in
					if last[kind] != nil {
						got[kind] += n
					}
					last[kind] = b.enqueue(n, urgency(kind))
				}
			}
			b.release(1)
		}
		if total := got[hasty] + got[patient]; total < 49_000 || min(got[hasty], got[patient]) < total/2-200 {
			t.Errorf("requests of %d bytes by the hasty and %d by the patient: %d and %d bytes granted", sizes[hasty], sizes[patient],
				got[hasty], got[patient])
		}
	}
}

// A side that had it all to itself owes the other nothing.
func TestBudgetTurnsForgetTimesAlone(t *testing.T) {
	b := &budget{limit: 10}
	b.take(10)
	for range 100 {
		alone := b.enqueue(10, patient)
		b.release(10)
		<-alone.granted
	}
	stream := b.enqueue(10, patient)
	calls := []*claim{b.enqueue(10, hasty), b.enqueue(10, hasty)}
	b.release(10)
	b.release(10)
	if !calls[0].in() || !stream.in() || calls[1].in() {
		t.Errorf("two turns after 100 alone: first call %t, stream %t, second call %t", calls[0].in(), stream.in(), calls[1].in())
	}
}

// A call that fits goes in where the stream whose turn it is not does not fit.
func TestBudgetGrantsANewcomersTurn(t *testing.T) {
	b := &budget{limit: 100}
	b.take(50)
	stream := b.enqueue(80, patient)
	call := b.enqueue(10, hasty)
	if !call.in() || stream.in() {
		t.Errorf("call %t, stream %t", call.in(), stream.in())
	}
	second := b.enqueue(10, hasty)
	if second.in() {
		t.Error("a second call overtook the stream")
	}
}

// Calls that want more than can become free, one after the other, each have the turn until they give up. A stream that
// comes between two of them is not behind the second.
func TestBudgetCallsThatNeverFitKeepNoStreamOut(t *testing.T) {
	for kind := range urgency(2) {
		b := &budget{limit: 64, lead: int64(kind)} // whose turn it is
		b.take(40)
		large := b.enqueue(30, kind)
		small := []*claim{b.enqueue(1, 1-kind), b.enqueue(23, 1-kind), b.enqueue(1, 1-kind)}
		next := b.enqueue(30, kind)
		if !b.cancel(large) {
			t.Fatal("30 of 24 were granted")
		}
		if !small[0].in() || !small[1].in() || small[2].in() || next.in() {
			t.Errorf("kind %d: of 24 bytes, 1 was given: %t, 23: %t, 1 more: %t, 30: %t", kind, small[0].in(), small[1].in(), small[2].in(), next.in())
		}
		if b.lead != int64(kind) {
			t.Errorf("kind %d: lead %d", kind, b.lead)
		}
	}
}

// What a side owes, the other gets also while the first does not wait: a large call does not keep out calls that come now
// and then.
func TestBudgetDebtsArePaidAlone(t *testing.T) {
	b := &budget{limit: 100}
	b.take(100)
	stream, large := b.enqueue(1, patient), b.enqueue(50, hasty)
	b.release(50)
	if !large.in() || stream.in() {
		t.Fatalf("call %t, stream %t", large.in(), stream.in())
	}
	for range 60 { // ten more than it is owed
		b.release(1)
		<-stream.granted
		stream = b.enqueue(1, patient)
	}
	small := b.enqueue(2, hasty)
	b.release(2)
	if !small.in() || stream.in() {
		t.Errorf("behind 60 bytes for streams alone: call %t, stream %t, lead %d", small.in(), stream.in(), b.lead)
	}
}

func TestBudgetCancelLetsTheNextOneIn(t *testing.T) {
	b := &budget{limit: 100}
	b.try(60)
	large := b.enqueue(80, hasty)
	small := b.enqueue(30, hasty)
	if !b.cancel(large) {
		t.Fatal("the claim was granted without room")
	}
	<-small.granted
	if b.cancel(small) {
		t.Error("cancelled a granted claim")
	}
}

func TestBudgetNeverExceedsAndNeverHangs(t *testing.T) {
	b := &budget{limit: 1000}
	var wg sync.WaitGroup
	for id := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(id), 1))
			for range 3000 {
				n := int64(rng.IntN(700) + 1)
				if !b.try(n) {
					if c := b.enqueue(n, urgency(rng.IntN(2))); c != nil {
						if rng.IntN(3) == 0 && b.cancel(c) {
							continue
						}
						<-c.granted
					}
				}
				if used := b.used.Load(); used > b.limit {
					t.Errorf("%d of %d taken", used, b.limit)
				}
				if rng.IntN(4) == 0 {
					runtime.Gosched()
				}
				b.release(n)
			}
		})
	}
	wg.Wait()
	if b.used.Load() != 0 || b.waiting.Load() != 0 || !b.empty() {
		t.Errorf("used %d, waiting %d, queues %v", b.used.Load(), b.waiting.Load(), b.queues)
	}
}

func TestAdmitTimesOutWithTheRightReason(t *testing.T) {
	h := newHarness(t, func(cfg *Config, _ *Parts) {
		cfg.MaxInflight, cfg.ClientMaxInflight, cfg.PartitionMaxInflight = stages.MiB, stages.MiB/2, 0
	})
	receive := func(client *stages.Client, bytes int) *stages.Message {
		return h.p.Receive(client, make([]byte, bytes), nil, stages.Malformed, 1)
	}
	admit := func(m *stages.Message, want stages.Reason) {
		t.Helper()
		v := h.p.Admit(t.Context(), m, time.Millisecond)
		got := stages.NoReason
		if v != nil {
			got = v.Reason
			h.p.Refuse(m, *v)
		}
		if got != want {
			t.Errorf("refused %v, want %v", got, want)
		}
	}
	a, b, c := h.p.NewClient("a"), h.p.NewClient("b"), h.p.NewClient("c")
	var held []*stages.Message
	take := func(client *stages.Client, bytes int, want stages.Reason) {
		t.Helper()
		m := receive(client, bytes)
		admit(m, want)
		held = append(held, m)
	}
	take(a, 400_000, stages.NoReason)
	take(a, 400_000, stages.ClientOverloaded)
	take(b, 500_000, stages.NoReason)
	take(c, 400_000, stages.Overloaded)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m := receive(a, 400_000)
	if v := h.p.Admit(ctx, m, -1); v == nil || v.Reason != stages.NotSent {
		t.Errorf("a cancelled caller got %+v", v)
	} else {
		h.p.Refuse(m, *v)
	}
	h.p.Release(m)
	for _, m := range held {
		if m.Admitted {
			w := newWaiting()
			m.Owner = w
			h.p.Submit(0, m)
			w.await(t)
		}
		h.p.Release(m)
	}
	h.close()
	for _, client := range []*stages.Client{a, b, c} {
		if used := client.Share.(*budget).used.Load(); used != 0 {
			t.Errorf("client %s: %d bytes of its share are left", client.Name, used)
		}
	}
}

// Admit tells calls, which give up, from streams: a call is let in before a stream that has waited longer.
func TestAdmitLetsCallsAndStreamsTakeTurns(t *testing.T) {
	h := newHarness(t, func(cfg *Config, _ *Parts) {
		cfg.MaxInflight, cfg.ClientMaxInflight, cfg.PartitionMaxInflight = stages.MiB, stages.MiB, 0
	})
	receive := func() *stages.Message {
		m := h.p.Receive(h.client, make([]byte, 600_000), nil, stages.Malformed, 1)
		m.Owner = newWaiting()
		return m
	}
	finish := func(m *stages.Message) {
		h.p.Submit(0, m)
		m.Owner.(*waiting).await(t)
		h.p.Release(m)
	}
	first, stream, call := receive(), receive(), receive()
	if v := h.p.Admit(t.Context(), first, -1); v != nil {
		t.Fatal(v)
	}
	admitted := make(chan *stages.Message, 2)
	share := h.client.Share.(*budget)
	for i, m := range []*stages.Message{stream, call} {
		wait := []time.Duration{-1, patience}[i]
		go func() {
			if v := h.p.Admit(context.Background(), m, wait); v != nil {
				t.Errorf("%+v", v)
			}
			admitted <- m
		}()
		for share.waiting.Load() != int32(i+1) {
			runtime.Gosched()
		}
	}
	finish(first)
	for _, want := range []*stages.Message{call, stream} {
		m := <-admitted
		if m != want {
			t.Error("the stream was let in before the call")
		}
		finish(m)
	}
	h.close()
}

// TestEnteredIsTheTimeOfAdmission: that of receipt, unless the message had to wait. Deadlines count from it.
func TestEnteredIsTheTimeOfAdmission(t *testing.T) {
	h := newHarness(t, func(cfg *Config, _ *Parts) {
		cfg.MaxInflight, cfg.ClientMaxInflight, cfg.PartitionMaxInflight = stages.MiB, stages.MiB, 0
	})
	receive := func() *stages.Message {
		m := h.p.Receive(h.client, make([]byte, 600_000), nil, stages.Malformed, 1)
		m.Owner = newWaiting()
		return m
	}
	first, second := receive(), receive()
	if v := h.p.Admit(t.Context(), first, -1); v != nil || !first.Entered.Equal(first.Received) {
		t.Errorf("%+v; received at %v, entered at %v", v, first.Received, first.Entered)
	}
	admitted := make(chan *stages.Verdict)
	go func() { admitted <- h.p.Admit(t.Context(), second, -1) }()
	budgets := []*budget{h.client.Share.(*budget), &h.p.inflight}
	for budgets[0].waiting.Load()+budgets[1].waiting.Load() == 0 {
		runtime.Gosched()
	}
	finish := func(m *stages.Message) {
		h.p.Submit(0, m)
		m.Owner.(*waiting).await(t)
		h.p.Release(m)
	}
	finish(first)
	if v := <-admitted; v != nil || !second.Entered.After(second.Received) {
		t.Errorf("%+v after a wait; received at %v, entered at %v", v, second.Received, second.Entered)
	}
	finish(second)
	h.close()
}

// A message that is larger than the whole budget gets in alone instead of never.
func TestAdmitClampsAMessageLargerThanTheBudget(t *testing.T) {
	h := newHarness(t, func(cfg *Config, _ *Parts) {
		cfg.MaxInflight, cfg.ClientMaxInflight, cfg.PartitionMaxInflight = stages.MiB, stages.MiB, stages.MiB
	})
	m := h.call(stages.Malformed, make([]byte, 20<<20), 1)
	mustOutcome(t, m, 0, stages.Refused, stages.MalformedEvent, stages.AtDecode)
	h.p.Release(m)
	h.close()
}

func TestConfigProblemsNameVariableValueAndBounds(t *testing.T) {
	cfg, _ := testConfig()
	cfg.DecodeWorkers, cfg.RingCapacity, cfg.MaxInflight, cfg.DeliveryTimeout = -1, 0, 1, 0
	cfg.AdmissionTimeout, cfg.ClientMaxInflight, cfg.PartitionMaxInflight = -1, 2, 2
	want := []string{"STAGE_DECODE_WORKERS=-1", "RING_CAPACITY=0", "MAX_INFLIGHT_BYTES=1", "CLIENT_MAX_INFLIGHT_BYTES=2",
		"PARTITION_MAX_INFLIGHT_BYTES=2", "ADMISSION_TIMEOUT=-1ns", "DELIVERY_TIMEOUT=0s"}
	problems := cfg.Validate()
	if len(problems) != len(want) {
		t.Fatalf("%d problems: %v", len(problems), problems)
	}
	for i, w := range want {
		if got := problems[i].Error(); len(got) < len(w) || got[:len(w)] != w {
			t.Errorf("problem %d is %q, want %s...", i, got, w)
		}
	}
	if _, err := New(cfg, Parts{}); err == nil {
		t.Error("New took a broken configuration")
	}
}

// TestWaitingMessagesAreSmall: what waits for admission has no results yet, whatever it announces.
func TestWaitingMessagesAreSmall(t *testing.T) {
	h := newHarness(t, func(*Config, *Parts) {})
	v := stages.Verdict{Outcome: stages.Refused, Reason: stages.Overloaded}
	for _, n := range []int{1, smallMessage, smallMessage + 1, 1024, 1025, 10_000, 10_000, 1000} {
		m := h.p.Receive(h.client, nil, nil, stages.Batch, n)
		if n > smallMessage && cap(m.Results) > 0 || m.Events() != n {
			t.Errorf("a message of %d events that waits has %d results and counts as %d events", n, cap(m.Results), m.Events())
		}
		if n%2 == 0 {
			h.p.Reject(m, v)
			continue
		}
		h.p.Refuse(m, v)
		if len(m.Results) != n || m.Results[n-1].Reason != stages.Overloaded {
			t.Errorf("refused with %d results of %d", len(m.Results), n)
		}
		h.p.Release(m)
	}
	h.close()
	if totals := h.p.Totals(stages.FromGRPC); totals.Outcomes[stages.Refused] != totals.Accepted || h.p.InFlight() != 0 {
		t.Errorf("%+v, %d in flight", totals, h.p.InFlight())
	}
}
