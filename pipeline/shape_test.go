package pipeline

// Rules, schemas and dead letters in the graph: order, outcomes, and memory that
// stays what it is until Kafka has answered.

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/event-gateway/event-gateway/ring"
	"github.com/event-gateway/event-gateway/stages"
)

// shaper stands in for rules: what it does to an event follows from the event's stamp, so that the test can tell.
type shaper struct {
	memory stages.Memory
	topics *stages.Topics
}

// What becomes of an event by its sequence number.
const (
	fates     = 12
	isMerged  = 1 // gets a key that several keys get
	isRouted  = 2
	isDropped = 3
	isBuried  = 4
	isPlain   = 5
)

func fateOf(data []byte) int { return int(data[15]) % fates }

// made is the data that the shaper makes of an event's, longer or shorter.
func made(data []byte) []byte {
	n := 1 + int(data[15])*7
	return append(bytes.Clone(data[:16]), bytes.Repeat([]byte{data[7], data[15]}, n)...)
}

func (s *shaper) Apply(ev *stages.Event) bool {
	switch fateOf(ev.Data) {
	case isPlain:
		return false
	case isDropped:
		ev.Filter(stages.AtTransform)
		return false
	case isMerged:
		key := s.memory.Take(ev, 3)
		copy(key, "all")
		ev.Rekey(key)
	case isRouted:
		ev.Topic = s.topics.Named("other")
	}
	content := made(ev.Data)
	data := s.memory.Take(ev, len(content))
	copy(data, content)
	ev.Data = data
	if fateOf(ev.Data) == isBuried {
		ev.Refuse(stages.AtTransform, stages.TransformFailed, &stages.Detail{Rule: "TRANSFORM_0"})
		ev.Bury()
	}
	return true
}

// fetcher stands in for schemas: a key's schema is missing now and then, for a while.
type fetcher struct {
	wake  func()
	rng   *rand.Rand
	there sync.Map // shard -> *atomic.Bool
	wg    *sync.WaitGroup
}

func (f *fetcher) Check(ev *stages.Event) (wait bool) {
	known, _ := f.there.LoadOrStore(ev.Shard, &atomic.Int32{})
	state := known.(*atomic.Int32) // 0 missing, 1 being fetched, 2 there
	switch {
	case state.CompareAndSwap(0, 1):
		takes := f.rng.IntN(2000)
		f.wg.Go(func() {
			for range takes {
				runtime.Gosched()
			}
			state.Store(2)
			f.wake()
		})
		return true
	case state.Load() == 1:
		return true
	}
	if f.rng.IntN(50) == 0 { // it runs out
		state.Store(0)
	}
	return false
}

func TestOrderWithRulesAndSchemas(t *testing.T) {
	for _, procs := range processors() {
		t.Run(fmt.Sprintf("procs=%d", procs), func(t *testing.T) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
			for i := range rounds(24, 6) {
				seed := uint64(time.Now().UnixNano()) + uint64(i)
				if checkShaped(t, seed); t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
		})
	}
}

func checkShaped(t *testing.T, seed uint64) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 3))
	var shape [6]int
	for i := range shape {
		shape[i] = 1 + rng.IntN(4)
	}
	topics := stages.NewTopics("events", "other", "dead")
	var fetches sync.WaitGroup
	h := newHarness(t, withWorkers(shape[0], shape[1], shape[2], shape[3], shape[4], shape[5]), func(cfg *Config, parts *Parts) {
		cfg.RingCapacity = 1 << rng.IntN(7)
		parts.Topics = topics
		for _, topic := range topics.All {
			topic.SetPartitions(testPartitions)
		}
		parts.Letters = stages.DeadLetters{Topic: topics.Named("dead")}
		parts.Letters.On[stages.AtValidate], parts.Letters.On[stages.AtTransform] = true, true
		parts.Rules = func(m stages.Memory) stages.Rules { return &shaper{memory: m, topics: topics} }
		parts.Schemas = func(wake func()) stages.Schemas {
			return &fetcher{wake: wake, rng: rand.New(rand.NewPCG(seed, rng.Uint64())), wg: &fetches}
		}
	})
	h.topics = topics
	var damaged atomic.Int64
	h.r.inspect = func(ev *stages.Event) {
		if ev.Dead {
			if !bytes.Contains(ev.Letter.Raw, ev.Data) {
				damaged.Add(1)
			}
			return
		}
		want := ev.Data[:16]
		if fateOf(want) != isPlain {
			want = made(want)
		}
		if !bytes.Equal(ev.Data, want) {
			damaged.Add(1)
		}
	}
	const streams, keys = 4, 6
	answers := make([][]answer, streams)
	var wg sync.WaitGroup
	for s := range streams {
		wg.Go(func() { answers[s] = h.stream(s, keys, seed) })
	}
	wg.Wait()
	fetches.Wait()
	h.close()
	if n := damaged.Load(); n > 0 {
		t.Errorf("%s: %d events did not have the bytes that were made for them", shapeName(shape), n)
	}
	if err := compareShaped(h.r.logs, answers); err != nil {
		t.Errorf("%s: %v", shapeName(shape), err)
	}
}

// compareShaped: every event is where its fate says, in order by stream and original key.
func compareShaped(logs map[*stages.Partition][]stored, answers [][]answer) error {
	found := map[[2]int]string{}
	for part, log := range logs {
		last := map[string]int{}
		for offset, e := range log {
			a := answers[e.stream][e.seq]
			id := fmt.Sprintf("%d %s", e.stream, a.key)
			if before, ok := last[id]; ok && before >= e.seq {
				return fmt.Errorf("stream and key %s: %d is stored after %d", id, e.seq, before)
			}
			last[id] = e.seq
			found[[2]int{e.stream, e.seq}] = part.Topic.Name
			if part.Topic.Name != "dead" && (a.partition != part.ID || a.offset != int64(offset)) {
				return fmt.Errorf("stream %d event %d is stored at %d/%d; the answer was %+v", e.stream, e.seq, part.ID, offset, a)
			}
		}
	}
	for stream := range answers {
		for seq, a := range answers[stream] {
			where, stored := found[[2]int{stream, seq}]
			fate := fateOf(stamp(stream, seq))
			got := fmt.Sprintf("%v %s %t", a.outcome, where, a.dead)
			want := "acknowledged events false"
			switch {
			case a.invalid:
				want = "refused dead true"
			case fate == isDropped:
				want = "filtered  false"
			case fate == isBuried:
				want = "refused dead true"
			case fate == isRouted:
				want = "acknowledged other false"
			}
			if got != want {
				return fmt.Errorf("stream %d event %d (stored %t): %s, want %s", stream, seq, stored, got, want)
			}
		}
	}
	return nil
}

// What rules may write for events in flight is bounded; beyond it events are refused, and all of it comes back.
func TestRulesMayNotTakeAllMemory(t *testing.T) {
	const size = 300_000
	h := newHarness(t, withWorkers(1, 1, 1, 1, 1, 1), func(cfg *Config, parts *Parts) {
		cfg.MaxInflight, cfg.ClientMaxInflight, cfg.PartitionMaxInflight = stages.MiB, stages.MiB, stages.MiB
		parts.Rules = func(m stages.Memory) stages.Rules {
			return ruleFunc(func(ev *stages.Event) bool {
				data := m.Take(ev, size)
				if data == nil {
					ev.Refuse(stages.AtTransform, stages.Overloaded, nil)
					return false
				}
				ev.Data = data
				return true
			})
		}
	})
	h.r.hold.Store(true)
	var events []testEvent
	for i := range 10 {
		events = append(events, testEvent{source: "s", key: fmt.Sprint(i), data: stamp(0, i)})
	}
	w := newWaiting()
	m, _ := h.submit(h.p.Lane(), w, stages.Batch, frameOf(events...), len(events))
	refused := func() uint64 { return h.p.Totals(stages.FromGRPC).Outcomes[stages.Refused] }
	for deadline := time.Now().Add(patience); refused() < 8 && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	h.r.heal()
	w.await(t)
	overloaded := 0
	for i := range m.Results {
		if r := &m.Results[i]; r.Outcome == stages.Refused {
			mustOutcome(t, m, i, stages.Refused, stages.Overloaded, stages.AtTransform)
			overloaded++
		}
	}
	if overloaded != 8 { // two chunks of 512 KiB fit
		t.Errorf("%d events were refused, want 8", overloaded)
	}
	h.p.Release(m)
	h.close()
}

type ruleFunc func(*stages.Event) bool

func (f ruleFunc) Apply(ev *stages.Event) bool { return f(ev) }

// An answer says that the dead letter is kept only when Kafka has it; otherwise it says what stood in the way.
func TestDeadLettersAreAnsweredWhenTheyAreDurable(t *testing.T) {
	topics := stages.NewTopics("events", "dead")
	h := newHarness(t, withWorkers(1, 1, 1, 1, 1, 1), func(_ *Config, parts *Parts) {
		parts.Topics = topics
		for _, topic := range topics.All {
			topic.SetPartitions(1)
		}
		parts.Letters = stages.DeadLetters{Topic: topics.Named("dead")}
		parts.Letters.On[stages.AtValidate] = true
	})
	h.topics = topics
	invalid := func() []byte { return frameOf(testEvent{id: "x", data: stamp(0, 0)}) } // a new one each time: a released message's bytes are gone

	h.r.hold.Store(true)
	w := newWaiting()
	m, _ := h.submit(h.p.Lane(), w, stages.Single, invalid(), 1)
	dead := topics.Named("dead").Partitions()[0]
	for deadline := time.Now().Add(patience); h.r.len(dead) == 0 && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	if m.Answered() {
		t.Error("the event was answered before its dead letter was durable")
	}
	h.r.heal()
	w.await(t)
	mustOutcome(t, m, 0, stages.Refused, stages.InvalidEvent, stages.AtValidate)
	if !m.Results[0].DeadLettered {
		t.Error("the answer does not say that the event was dead-lettered")
	}
	h.p.Release(m)

	for outcome, reason := range map[stages.Outcome]stages.Reason{stages.Refused: stages.BatchRejected, stages.Unknown: stages.OutcomeUnknown} {
		h.r.mu.Lock()
		h.r.verdict = func(*stages.Event) stages.Verdict {
			return stages.Verdict{Outcome: outcome, Reason: reason, Stage: stages.AtProduce}
		}
		h.r.mu.Unlock()
		m := h.call(stages.Single, invalid(), 1)
		mustOutcome(t, m, 0, outcome, reason, stages.AtProduce)
		if m.Results[0].DeadLettered {
			t.Error("the answer says that the event was dead-lettered")
		}
		h.p.Release(m)
	}
	if totals := h.p.Totals(stages.FromGRPC); totals.DeadLettered != 1 || totals.Outcomes[stages.Refused] != 2 || totals.Outcomes[stages.Unknown] != 1 {
		t.Errorf("totals %+v", totals)
	}
	var b strings.Builder
	h.p.WriteMetrics(&b)
	for _, line := range []string{
		`gateway_events_total{origin="grpc",outcome="refused",dead_lettered="true"} 1`, `gateway_events_total{origin="grpc",outcome="refused"} 1`,
	} {
		if !strings.Contains(b.String(), line+"\n") {
			t.Errorf("the metrics lack %s", line)
		}
	}
	h.close()
}

// A rest of memory is not used in a later burst: the message may be another one at the same address by then, and the
// chunk another message's.
func TestRestOfMemoryEndsWithTheBurst(t *testing.T) {
	h := newHarness(t)
	s := &scribe{p: h.p}
	m := h.p.Receive(h.client, frameOf(testEvent{source: "s"}), nil, stages.Batch, 2)
	ev := &stages.Event{Msg: m}
	chunks := func() (n int) {
		m.Disown(func(c *stages.Chunk) { n++; h.p.unwrite(c) })
		return n
	}
	s.Begin()
	first, second := s.Take(ev, 100), s.Take(ev, 100)
	if copy(second, "x"); len(first) != 100 || cap(first) != 100 {
		t.Errorf("%d bytes with room for %d, want 100", len(first), cap(first))
	}
	if n := chunks(); n != 1 { // the message is recycled
		t.Errorf("two values of a burst lie in %d chunks, want 1", n)
	}
	s.Begin()
	s.Take(ev, 100)
	if n := chunks(); n != 1 {
		t.Errorf("a value of the next burst lies in %d chunks of its message, want 1", n)
	}
	h.p.Reject(m, stages.Verdict{Outcome: stages.Refused, Reason: stages.Draining})
	h.close()
}

// fullHolder has no room.
type fullHolder struct {
	stages.Holder
	kept, room int
	again      bool
}

func (f *fullHolder) Kept() int       { return f.kept }
func (f *fullHolder) Room() int       { return f.room }
func (f *fullHolder) Resumable() bool { return f.again }

// A worker with a full side queue sleeps, whatever comes, until a fetch ends; and it does not end before its queue is empty.
func TestFullSideQueueWaits(t *testing.T) {
	producer, consumer := ring.NewSPSC[*stages.Event](4)
	holder := &fullHolder{kept: 1}
	w := &stageWorker{holder: holder, in: fanIn[*stages.Event]{inlets: []inlet[*stages.Event]{{ring: consumer, peer: ring.NewWaiter()}}}}
	producer.Push([]*stages.Event{{}})
	for _, c := range []struct {
		room  int
		again bool
		want  bool
	}{{0, false, false}, {1, false, true}, {0, true, true}} {
		holder.room, holder.again = c.room, c.again
		if got := w.holdReady(); got != c.want {
			t.Errorf("room %d, again %t: ready %t", c.room, c.again, got)
		}
	}
	var one [1]*stages.Event
	consumer.Pop(one[:])
	producer.Close()
	holder.again = false
	for kept, want := range []bool{true, false} {
		if holder.kept = kept; w.holdReady() != want {
			t.Errorf("input over, %d kept: ready %t", kept, !want)
		}
	}
}

// The metrics say how many events wait for a schema.
func TestHeldEventsAreCounted(t *testing.T) {
	var gate atomic.Bool
	var wake func()
	h := newHarness(t, withWorkers(1, 1, 1, 1, 1, 1), func(_ *Config, parts *Parts) {
		parts.Schemas = func(f func()) stages.Schemas {
			wake = f
			return schemaFunc(func(*stages.Event) bool { return !gate.Load() })
		}
	})
	w := newWaiting()
	m, _ := h.submit(h.p.Lane(), w, stages.Batch, frameOf(testEvent{source: "s", key: "a"}, testEvent{source: "s", key: "b"}), 2)
	held := func() string {
		var b strings.Builder
		h.p.WriteMetrics(&b)
		_, after, _ := strings.Cut(b.String(), `gateway_stage_held_events{stage="validate",worker="0"} `)
		return after[:strings.IndexByte(after, '\n')]
	}
	for deadline := time.Now().Add(patience); held() != "2"; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%s events are held, want 2", held())
		}
	}
	gate.Store(true)
	wake()
	w.await(t)
	mustOutcome(t, m, 0, stages.Acknowledged, stages.NoReason, stages.AtProduce)
	h.p.Release(m)
	h.close()
}

type schemaFunc func(*stages.Event) bool

func (f schemaFunc) Check(ev *stages.Event) bool { return f(ev) }
