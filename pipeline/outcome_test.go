package pipeline

// One outcome for each event, whatever strikes in the middle: refusals of every
// stage, definite and unknown answers, a breaker that flips, stalled partitions,
// deadlines, callers that leave, a drain.

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

func TestOneOutcomeUnderChaos(t *testing.T) {
	for _, procs := range processors() {
		t.Run(fmt.Sprintf("procs=%d", procs), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			for i := range rounds(30, 5) {
				chaos(t, uint64(time.Now().UnixNano())+uint64(i))
			}
		})
	}
}

// fate is what the recording Producer did with an event.
type fate struct {
	handed, rejected bool
}

// chaosRun is one round.
type chaosRun struct {
	*harness
	seed    uint64
	breaker *stages.Breaker
	mu      sync.Mutex // guards the following
	fates   map[[2]int]fate
	answers []chaosAnswer
	// unjudged counts events of abandoned messages: only the totals know what became of them.
	unjudged atomic.Int64
}

func chaos(t *testing.T, seed uint64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	c := &chaosRun{seed: seed, fates: map[[2]int]fate{}, breaker: stages.NewBreaker(time.Second, nil)}
	shape := [6]int{}
	for i := range shape {
		shape[i] = 1 + rng.IntN(3)
	}
	c.harness = newHarness(t, withWorkers(shape[0], shape[1], shape[2], shape[3], shape[4], shape[5]), func(cfg *Config, parts *Parts) {
		cfg.RingCapacity = 1 << rng.IntN(6)
		cfg.PartitionMaxInflight = stages.Bytes(2000 + rng.IntN(100_000))
		cfg.MaxInflight, cfg.ClientMaxInflight = stages.MiB, stages.Bytes(50_000+rng.IntN(900_000))
		parts.Breaker = c.breaker
		parts.Stages.RateLimitEnabled, parts.Stages.RateLimitRPS, parts.Stages.RateLimitBurst = true, 200_000, 300
	})
	verdicts := rand.New(rand.NewPCG(seed, 2))
	c.r.verdict = func(ev *stages.Event) stages.Verdict { return c.decide(ev, verdicts) }
	stop := make(chan struct{})
	var troubles, streams sync.WaitGroup
	troubles.Go(func() { c.trouble(stop) })
	for s := range 6 {
		streams.Go(func() { c.chaoticStream(s) })
	}
	streams.Wait()
	close(stop)
	troubles.Wait()
	c.r.heal()
	c.close()
	c.judge()
}

// decide is the broker's answer: mostly yes, sometimes a rejection, sometimes no definite answer. Called with r.mu held.
func (c *chaosRun) decide(ev *stages.Event, rng *rand.Rand) stages.Verdict {
	var v stages.Verdict
	switch rng.IntN(10) {
	case 0:
		v = stages.Verdict{Outcome: stages.Refused, Reason: stages.BatchRejected, Stage: stages.AtProduce}
	case 1:
		v = stages.Verdict{Outcome: stages.Unknown, Reason: stages.OutcomeUnknown, Stage: stages.AtProduce}
	}
	if len(ev.Data) == 16 {
		c.mu.Lock()
		c.fates[[2]int{int(ev.Data[7]), int(ev.Data[14])<<8 | int(ev.Data[15])}] = fate{handed: true, rejected: v.Outcome == stages.Refused}
		c.mu.Unlock()
	}
	return v
}

// trouble flips the breaker and holds answers back until stop.
func (c *chaosRun) trouble(stop chan struct{}) {
	rng := rand.New(rand.NewPCG(c.seed, 3))
	tick := time.NewTicker(200 * time.Microsecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		switch rng.IntN(6) {
		case 0:
			c.breaker.Busy(0)
			c.breaker.Tick(int64(time.Hour), true)
		case 1, 2:
			c.breaker.Acknowledged()
		case 3:
			c.r.hold.Store(true)
		default:
			c.r.heal()
		}
	}
}

// counting is an Owner that counts its calls, per message.
type counting struct {
	waiting
	calls atomic.Int32
}

func (o *counting) Completed(m *stages.Message) {
	o.calls.Add(1)
	o.completed <- struct{}{}
}

// chaoticStream submits messages; each is awaited, expired early or abandoned.
func (c *chaosRun) chaoticStream(id int) {
	rng := rand.New(rand.NewPCG(c.seed, uint64(id)+10))
	lane := c.p.Lane()
	seq := 0
	var wg sync.WaitGroup
	for range 60 {
		n := 1 + rng.IntN(30)
		first := seq
		var events []testEvent
		for range n {
			source := "s"
			if rng.IntN(12) == 0 {
				source = ""
			}
			events = append(events, testEvent{source: source, key: fmt.Sprint(rng.IntN(9)), data: stamp(id, seq)})
			seq++
		}
		owner := &counting{waiting: waiting{make(chan struct{}, 1)}}
		m := c.p.Receive(c.client, frameOf(events...), nil, stages.Batch, n)
		m.Owner, m.WantResults = owner, rng.IntN(2) == 0
		if v := c.p.Admit(context.Background(), m, time.Millisecond); v != nil {
			c.p.Refuse(m, *v)
			c.note(m, id, first)
			continue
		}
		c.p.Submit(lane, m)
		spin := rng.IntN(3000)
		switch rng.IntN(4) {
		case 0:
			wg.Go(func() {
				busy(spin)
				c.p.Expire(m, stages.NotSent)
				c.note(m, id, first)
			})
		case 1:
			wg.Go(func() {
				busy(spin)
				c.unjudged.Add(int64(n))
				c.p.Abandon(m)
			})
		default:
			wg.Go(func() {
				owner.await(c.t)
				c.note(m, id, first)
				if owner.calls.Load() != 1 {
					c.t.Errorf("Completed was called %d times", owner.calls.Load())
				}
			})
		}
	}
	wg.Wait()
}

func busy(n int) {
	for range n {
		runtime.Gosched()
	}
}

// chaosAnswer is what the owner of an event was told.
type chaosAnswer struct {
	event   [2]int
	outcome stages.Outcome
	reason  stages.Reason
	stage   stages.StageID
}

// note keeps the answers of a message for judge and releases it. They can be
// judged only at rest: an event that is answered unknown right after it was
// marked as handed reaches the Producer a moment later.
func (c *chaosRun) note(m *stages.Message, stream, first int) {
	c.mu.Lock()
	for i := range m.Results {
		r := &m.Results[i]
		c.answers = append(c.answers, chaosAnswer{[2]int{stream, first + i}, m.Outcome(i), r.Reason, r.Stage})
	}
	c.mu.Unlock()
	c.p.Release(m)
}

// judge holds every answer against what the Producer did.
func (c *chaosRun) judge() {
	seen := map[stages.Outcome]int{}
	for _, a := range c.answers {
		f, ok := c.fates[a.event], false
		switch a.outcome {
		case stages.Acknowledged:
			ok = f.handed && !f.rejected
		case stages.Unknown:
			ok = f.handed
		case stages.Refused:
			ok = f.handed == f.rejected
		}
		if !ok {
			c.t.Errorf("seed %d: event %v was answered %v %v at %v; the producer: %+v", c.seed, a.event, a.outcome, a.reason, a.stage, f)
		}
		seen[a.outcome]++
	}
	if seen[stages.Acknowledged] == 0 || seen[stages.Refused] == 0 {
		c.t.Errorf("seed %d: vacuous: %v", c.seed, seen)
	}
}

// An event answered unknown that Kafka acknowledges later changes nothing but a counter.
func TestLateAcknowledgement(t *testing.T) {
	h := newHarness(t)
	h.r.hold.Store(true)
	w := newWaiting()
	m, _ := h.submit(0, w, stages.Single, frameOf(testEvent{id: "a", source: "s", data: stamp(0, 0)}), 1)
	h.awaitHanded(1)
	h.p.Expire(m, stages.NotSent)
	w.await(t)
	mustOutcome(t, m, 0, stages.Unknown, stages.OutcomeUnknown, stages.AtProduce)
	if id, _ := m.EventID(0); string(id) != "a" {
		t.Errorf("id %q", id)
	}
	h.p.Release(m)
	h.r.heal()
	h.close()
	if n := h.p.lateAcks.Load(); n != 1 {
		t.Errorf("%d late acknowledgements", n)
	}
}

// The same for events that are acknowledged together: one of them had its answer before.
func TestLateAcknowledgementOfARun(t *testing.T) {
	h := newHarness(t, withWorkers(1, 1, 1, 1, 1, 1))
	h.r.hold.Store(true)
	w := newWaiting()
	m, _ := h.submit(0, w, stages.Batch, frameOf(testEvent{source: "s", key: "k", data: stamp(0, 0)},
		testEvent{source: "s", key: "k", data: stamp(0, 1)}, testEvent{source: "s", key: "k", data: stamp(0, 2)}), 3)
	h.awaitHanded(3)
	run := stages.AcknowledgedRun{Msg: m}
	h.r.mu.Lock()
	for _, ev := range h.r.queue {
		run.Partition = ev.Partition
		run.Add(ev, ev.Index, int64(ev.Cost), ev.Ack.Offset)
	}
	h.r.queue = nil
	h.r.mu.Unlock()
	if !m.WinHanded(1) { // as a deadline would
		t.Fatal("the event was not handed over")
	}
	m.SetVerdict(1, stages.Verdict{Outcome: stages.Unknown, Reason: stages.OutcomeUnknown})
	m.Settle(1)
	partition := run.Partition
	h.p.Acknowledged(&run)
	w.await(t)
	for i, want := range []stages.Outcome{stages.Acknowledged, stages.Unknown, stages.Acknowledged} {
		if got := m.Outcome(i); got != want {
			t.Errorf("event %d: %v, want %v", i, got, want)
		}
	}
	if n := h.p.lateAcks.Load(); n != 1 {
		t.Errorf("%d late acknowledgements", n)
	}
	if n := partition.Inflight(); n != 0 {
		t.Errorf("%d bytes of the partition in flight", n)
	}
	h.p.Release(m)
	h.p.callers.add(stages.FromGRPC, &stages.Verdict{Outcome: stages.Unknown, Reason: stages.OutcomeUnknown}, 1)
	h.close()
}

// awaitHanded waits until the recorder holds n events.
func (h *harness) awaitHanded(n int) {
	h.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; runtime.Gosched() {
		h.r.mu.Lock()
		have := len(h.r.queue)
		h.r.mu.Unlock()
		if have >= n {
			return
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("%d of %d events were handed over", have, n)
		}
	}
}

// What is queued when the deadline comes is refused NOT_SENT and never handed over.
func TestExpireRefusesWhatIsQueued(t *testing.T) {
	gate := make(chan struct{})
	h := newHarness(t, func(_ *Config, parts *Parts) {
		parts.wrapStage = func(id stages.StageID, _ int, s stages.Stage) stages.Stage {
			if id == stages.AtValidate {
				return gated{s, gate}
			}
			return s
		}
	})
	w := newWaiting()
	m, _ := h.submit(0, w, stages.Batch, frameOf(testEvent{source: "s", data: stamp(0, 0)}, testEvent{source: "s", data: stamp(0, 1)}), 2)
	h.p.Expire(m, stages.NotSent)
	w.await(t)
	mustOutcome(t, m, 0, stages.Refused, stages.NotSent, stages.AtProduce)
	mustOutcome(t, m, 1, stages.Refused, stages.NotSent, stages.AtProduce)
	h.p.Release(m)
	close(gate)
	h.close()
	for _, log := range h.r.logs {
		if len(log) != 0 {
			t.Error("a refused event was handed over")
		}
	}
}

// gated is a stage that does nothing until its gate opens.
type gated struct {
	stages.Stage
	gate chan struct{}
}

func (s gated) Process(burst []*stages.Event) {
	<-s.gate
	s.Stage.Process(burst)
}

// The id of a single event that was answered before it was decoded is read from its bytes.
func TestBlindAnswerStillHasItsID(t *testing.T) {
	p, err := New(func() (Config, Parts) {
		cfg, sc := testConfig()
		return cfg, Parts{Stages: sc, Topics: stages.NewTopics("events"), Log: &testLog{}}
	}())
	if err != nil {
		t.Fatal(err)
	}
	// Not started: the message stays in its lane.
	m := p.Receive(p.NewClient("test"), frameOf(testEvent{id: "a", source: "s"}), nil, stages.Single, 1)
	p.Submit(0, m)
	p.Expire(m, stages.Draining)
	mustOutcome(t, m, 0, stages.Refused, stages.Draining, stages.AtProduce)
	if id, _ := m.EventID(0); string(id) != "a" {
		t.Errorf("id %q", id)
	}
}

// An abandoned event whose answer never comes is counted unknown at its deadline.
func TestAbandonedEventsGetTheirOutcomeAtTheDeadline(t *testing.T) {
	h := newHarness(t)
	h.r.hold.Store(true)
	m := h.p.Receive(h.client, frameOf(testEvent{source: "s", data: stamp(0, 0)}), nil, stages.Single, 1)
	m.Deadline = time.Now()
	if h.p.Admit(context.Background(), m, -1) != nil {
		t.Fatal("not admitted")
	}
	h.p.Submit(0, m)
	h.awaitHanded(1)
	h.p.Abandon(m)
	for deadline := time.Now().Add(10 * time.Second); h.p.InFlight() > 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("still in flight after its deadline")
		}
	}
	if n := h.p.Totals(stages.FromGRPC).Outcomes[stages.Unknown]; n != 1 {
		t.Errorf("%d unknown", n)
	}
	h.r.heal()
	h.close()
}

func TestDrainRefusesNewMessagesAndWaiters(t *testing.T) {
	h := newHarness(t, func(cfg *Config, _ *Parts) {
		cfg.MaxInflight, cfg.ClientMaxInflight, cfg.PartitionMaxInflight = stages.MiB, stages.MiB, stages.MiB
	})
	h.r.hold.Store(true)
	big := make([]byte, 900_000)
	w := newWaiting()
	first, _ := h.submit(0, w, stages.Single, frameOf(testEvent{source: "s", data: big[:800_000]}), 1)
	refused := make(chan *stages.Verdict)
	second := h.p.Receive(h.client, frameOf(testEvent{source: "s", data: big[:800_000]}), nil, stages.Single, 1)
	go func() { refused <- h.p.Admit(context.Background(), second, -1) }()
	share := h.client.Share.(*budget)
	for deadline := time.Now().Add(patience); share.waiting.Load() == 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("the second message does not wait")
		}
	}
	h.p.StartDrain()
	var v *stages.Verdict
	select {
	case v = <-refused:
	case <-time.After(patience):
	}
	if v == nil || v.Reason != stages.Draining {
		t.Fatalf("a waiter got %+v", v)
	}
	h.p.Refuse(second, *v)
	mustOutcome(t, second, 0, stages.Refused, stages.Draining, stages.AtAdmission)
	h.p.Release(second)
	third, admitted := h.submit(0, w, stages.Single, frameOf(testEvent{source: "s"}), 1)
	if admitted {
		t.Fatal("admitted during a drain")
	}
	h.p.Release(third)
	h.r.heal()
	w.await(t)
	h.p.Release(first)
	h.close()
}

// The hard end of a drain: owners expire what they hold, orphans expire by themselves, and the counts are true.
func TestExpireAllEndsADrainWithoutKafka(t *testing.T) {
	h := newHarness(t)
	h.r.hold.Store(true)
	w := newWaiting()
	held, _ := h.submit(0, w, stages.Single, frameOf(testEvent{source: "s", data: stamp(0, 0)}), 1)
	orphan, _ := h.submit(0, newWaiting(), stages.Single, frameOf(testEvent{source: "s", data: stamp(0, 1)}), 1)
	h.awaitHanded(2)
	h.p.Abandon(orphan)
	h.p.StartDrain()
	go func() {
		<-h.p.Cutoff()
		h.p.Expire(held, stages.Draining)
		h.p.Release(held)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if refused, unknown := h.p.ExpireAll(ctx); refused != 0 || unknown != 2 {
		t.Errorf("refused %d, unknown %d; want 0 and 2", refused, unknown)
	}
	h.r.heal()
	h.close()
}
