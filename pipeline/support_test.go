package pipeline

// What the tests share: frames, a Producer that records what it got and answers
// from another goroutine, streams that submit and wait.

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/event-gateway/event-gateway/stages"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testEvent is what a test says about an event.
type testEvent struct {
	id, source, key string
	data            []byte
}

// encode appends the event as field 1 of a request.
func (e testEvent) encode(b []byte) []byte {
	var ev []byte
	text := func(n protowire.Number, s string) {
		if s != "" {
			ev = protowire.AppendString(protowire.AppendTag(ev, n, protowire.BytesType), s)
		}
	}
	text(1, e.id)
	text(2, e.source)
	text(3, "test.happened")
	ev = protowire.AppendBytes(protowire.AppendTag(ev, 5, protowire.BytesType), e.data)
	text(12, e.key)
	return protowire.AppendBytes(protowire.AppendTag(b, 1, protowire.BytesType), ev)
}

func frameOf(events ...testEvent) []byte {
	var b []byte
	for _, e := range events {
		b = e.encode(b)
	}
	return b
}

// stamp is an event's identity in its data: stream and sequence number.
func stamp(stream, seq int) []byte {
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, uint64(stream)), uint64(seq))
}

// stored is what the recording producer keeps of an event.
type stored struct {
	stream, seq int
	key         string
}

// recorder is a Producer that appends to a log for each partition and acknowledges on one goroutine, as a Kafka client
// does: neighbours together or one by one, as it happens.
type recorder struct {
	report       func([]*stages.Event)
	acknowledged func(*stages.AcknowledgedRun)
	mu           sync.Mutex // guards the following
	logs         map[*stages.Partition][]stored
	queue        []*stages.Event
	rng          *rand.Rand
	more         chan struct{}
	done         chan struct{}
	// verdict decides what becomes of an event; nil acknowledges.
	verdict func(ev *stages.Event) stages.Verdict
	// inspect looks at every event, handed and about to be reported, if it is set.
	inspect func(ev *stages.Event)
	// hold keeps all events unreported until heal, withhold those of one partition.
	hold     atomic.Bool
	withhold atomic.Pointer[stages.Partition]
}

func newRecorder(p *Pipeline, seed uint64) *recorder {
	return &recorder{report: p.Report, acknowledged: p.Acknowledged, logs: map[*stages.Partition][]stored{}, rng: rand.New(rand.NewPCG(seed, 1)),
		more: make(chan struct{}, 1), done: make(chan struct{})}
}

func (r *recorder) Produce(p *stages.Partition, events []*stages.Event) {
	r.mu.Lock()
	for _, ev := range events {
		if r.inspect != nil {
			r.inspect(ev)
		}
		if len(ev.Data) >= 16 {
			r.logs[p] = append(r.logs[p], stored{
				stream: int(binary.BigEndian.Uint64(ev.Data)), seq: int(binary.BigEndian.Uint64(ev.Data[8:])), key: string(ev.PartitionKey.Value),
			})
		}
		ev.Ack = stages.Ack{Verdict: stages.Verdict{Outcome: stages.Acknowledged}, Partition: p.ID, Offset: int64(len(r.logs[p]) - 1)}
		if r.verdict != nil {
			if v := r.verdict(ev); v.Outcome != stages.Pending {
				ev.Ack.Verdict = v
			}
		}
	}
	r.queue = append(r.queue, events...)
	r.mu.Unlock()
	r.kick()
}

// len is how many events a partition has.
func (r *recorder) len(p *stages.Partition) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.logs[p])
}

func (r *recorder) kick() {
	select {
	case r.more <- struct{}{}:
	default:
	}
}

// heal lets held events be reported.
func (r *recorder) heal() { r.hold.Store(false); r.kick() }

// acknowledgeLoop reports what was produced until stop.
func (r *recorder) acknowledgeLoop() {
	for {
		select {
		case <-r.more:
		case <-r.done:
			return
		}
		if r.hold.Load() {
			continue
		}
		r.mu.Lock()
		queue, kept := r.queue, []*stages.Event(nil)
		withheld := r.withhold.Load()
		free := queue[:0]
		for _, ev := range queue {
			if withheld != nil && ev.Partition == withheld {
				kept = append(kept, ev)
			} else {
				free = append(free, ev)
			}
		}
		r.queue = kept
		r.mu.Unlock()
		for _, ev := range free {
			if r.inspect != nil {
				r.inspect(ev)
			}
		}
		for len(free) > 0 {
			free = free[r.reportSome(free):]
		}
	}
}

// reportSome reports the first of events, or more of them: such as an AcknowledgedRun may have, or any.
func (r *recorder) reportSome(events []*stages.Event) (n int) {
	most := 1 + r.rng.IntN(min(len(events), 64))
	first := events[0]
	if !first.Msg.Quiet() || r.rng.IntN(4) == 0 {
		r.report(events[:most])
		return most
	}
	run := stages.AcknowledgedRun{Msg: first.Msg, Partition: first.Partition}
	for ; n < most; n++ {
		ev := events[n]
		if ev.Dead || ev.Msg != run.Msg || ev.Partition != run.Partition || ev.Ack.Verdict.Outcome != stages.Acknowledged {
			break
		}
		run.Add(ev, ev.Index, int64(ev.Cost))
	}
	if n == 0 {
		r.report(events[:1])
		return 1
	}
	r.acknowledged(&run)
	return n
}

// harness is a running pipeline with its recorder.
type harness struct {
	t      testing.TB
	p      *Pipeline
	r      *recorder
	topics *stages.Topics
	client *stages.Client
	wg     sync.WaitGroup
}

type testLog struct {
	panics atomic.Int64

	mu    sync.Mutex
	lines []string
}

func (l *testLog) Panic(stages.StageID, int, any, []byte, string) { l.panics.Add(1) }

func (l *testLog) Stuck(id stages.StageID, worker int, still time.Duration) {
	l.note(fmt.Sprintf("%s %d stuck for %s", id, worker, still))
}

func (l *testLog) Unstuck(id stages.StageID, worker int) {
	l.note(fmt.Sprintf("%s %d goes on", id, worker))
}

func (l *testLog) note(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
}

// taken are the lines since it was last called.
func (l *testLog) taken() (lines []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	lines, l.lines = l.lines, nil
	return lines
}

func testConfig() (Config, stages.Config) {
	return Config{
			RingCapacity: 64, MaxInflight: 8 * stages.MiB, ClientMaxInflight: 8 * stages.MiB, PartitionMaxInflight: 8 * stages.MiB,
			AdmissionTimeout: 250 * time.Millisecond, DeliveryTimeout: 20 * time.Second,
		}, stages.Config{
			MaxEventBytes: 900_000, MaxBatchEvents: 10_000, RateLimitRPS: 1e9, RateLimitBurst: 1e9,
			BatchMaxEvents: 1024, BatchMaxBytes: 900_000,
		}
}

// option changes a harness's configuration.
type option func(cfg *Config, parts *Parts)

func withWorkers(decode, validate, ratelimit, transform, batch, produce int) option {
	return func(cfg *Config, _ *Parts) {
		cfg.DecodeWorkers, cfg.ValidateWorkers, cfg.RateLimitWorkers = decode, validate, ratelimit
		cfg.TransformWorkers, cfg.BatchWorkers, cfg.ProduceWorkers = transform, batch, produce
	}
}

const testPartitions = 7

func newHarness(t testing.TB, options ...option) *harness {
	cfg, sc := testConfig()
	h := &harness{t: t, topics: stages.NewTopics("events")}
	h.topics.Default.SetPartitions(testPartitions)
	parts := Parts{Stages: sc, Topics: h.topics, Log: &testLog{}}
	for _, o := range options {
		o(&cfg, &parts)
	}
	p, err := New(cfg, parts)
	if err != nil {
		t.Fatal(err)
	}
	h.p = p
	h.r = newRecorder(p, 1)
	h.client = p.NewClient("test")
	h.wg.Go(h.r.acknowledgeLoop)
	p.Start(h.r)
	return h
}

// close drains and checks that nothing is left behind: no event in flight, no byte of the budget, every event home.
func (h *harness) close() {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := h.p.AwaitIdle(ctx); err != nil {
		h.t.Fatalf("not idle: %d messages live, %d events in flight", h.p.live.Load(), h.p.InFlight())
	}
	h.p.Stop()
	close(h.r.done)
	h.wg.Wait()
	h.p.Close()
	if used, share := h.p.inflight.used.Load(), h.client.Share.(*budget).used.Load(); used != 0 || share != 0 {
		h.t.Errorf("%d bytes of the budget and %d of the client's are left", used, share)
	}
	if n := h.p.written.used.Load(); n != 0 {
		h.t.Errorf("%d bytes that rules have written are left", n)
	}
	if n := h.p.InFlight(); n != 0 {
		h.t.Errorf("%d events in flight at rest", n)
	}
	for _, d := range h.p.decoders {
		if free := len(d.stack) + d.returned.Len(); free != d.made {
			h.t.Errorf("decode worker %d: %d of its %d events came home", d.index, free, d.made)
		}
	}
	for _, topic := range h.topics.All {
		for _, part := range topic.Partitions() {
			if n := part.Inflight(); n != 0 {
				h.t.Errorf("%s-%d: %d bytes in flight at rest", topic.Name, part.ID, n)
			}
		}
	}
	for origin := range stages.Origins {
		t := h.p.Totals(origin)
		sum := uint64(0)
		for _, n := range t.Outcomes {
			sum += n
		}
		if t.Outcomes[stages.Pending] != 0 || sum != t.Accepted {
			h.t.Errorf("accounting of %v: accepted %d, outcomes %v", origin, t.Accepted, t.Outcomes)
		}
	}
}

// waiting is an Owner that a test waits on.
type waiting struct{ completed chan struct{} }

func (w *waiting) Completed(*stages.Message) { w.completed <- struct{}{} }

func newWaiting() *waiting { return &waiting{make(chan struct{}, 1)} }

// patience bounds every wait for an answer; reached only when something is broken.
const patience = 20 * time.Second

// await waits for the answer. It may be called from any goroutine of the test, which it ends when none comes.
func (w *waiting) await(t testing.TB) {
	t.Helper()
	select {
	case <-w.completed:
	case <-time.After(patience):
		t.Errorf("no answer in %v", patience)
		t.FailNow()
	}
}

// submit admits and submits one message; nil when admission refused it (the message is answered then).
func (h *harness) submit(lane Lane, owner stages.Owner, kind stages.Kind, frame []byte, n int) (m *stages.Message, admitted bool) {
	h.t.Helper()
	m = h.p.Receive(h.client, frame, nil, kind, n)
	m.Owner, m.WantResults = owner, true
	if v := h.p.Admit(context.Background(), m, -1); v != nil {
		h.p.Refuse(m, *v)
		return m, false
	}
	h.p.Submit(lane, m)
	return m, true
}

// call submits one message and waits for its answer, which the caller releases.
func (h *harness) call(kind stages.Kind, frame []byte, n int) *stages.Message {
	h.t.Helper()
	w := newWaiting()
	m, admitted := h.submit(h.p.Lane(), w, kind, frame, n)
	if admitted {
		w.await(h.t)
	}
	return m
}

// mustOutcome checks one result.
func mustOutcome(t testing.TB, m *stages.Message, i int, outcome stages.Outcome, reason stages.Reason, stage stages.StageID) {
	t.Helper()
	if r := &m.Results[i]; r.Outcome != outcome || r.Reason != reason || r.Stage != stage {
		t.Errorf("event %d: %v %v at %v, want %v %v at %v", i, r.Outcome, r.Reason, r.Stage, outcome, reason, stage)
	}
}

func shapeName(w [6]int) string {
	return fmt.Sprintf("decode=%d,validate=%d,ratelimit=%d,transform=%d,batch=%d,produce=%d", w[0], w[1], w[2], w[3], w[4], w[5])
}
