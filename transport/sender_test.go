package transport

// The sender of a stream alone, against a pipeline and a client that the test plays.

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/event-gateway/event-gateway/pipeline"
	"github.com/event-gateway/event-gateway/stages"
)

// playedPipeline notes what becomes of messages. Methods that a test does not expect are nil and panic.
type playedPipeline struct {
	Pipeline
	mu       sync.Mutex
	released map[*stages.Message]int
	expired  []*stages.Message
	// admit stands in for what happens while a message waits for admission; nil = nothing.
	admit func()
}

func (p *playedPipeline) Cutoff() <-chan struct{} { return nil }

func (p *playedPipeline) Receive(c *stages.Client, frame []byte, _ stages.Freer, kind stages.Kind, n int) *stages.Message {
	m := &stages.Message{Frame: frame, Kind: kind, Client: c, Received: time.Now()}
	m.Entered = m.Received
	m.Arm(n)
	return m
}

func (p *playedPipeline) Admit(context.Context, *stages.Message, time.Duration) *stages.Verdict {
	if p.admit != nil {
		p.admit()
	}
	return nil
}

// Submit answers at once.
func (p *playedPipeline) Submit(_ pipeline.Lane, m *stages.Message) {
	settle(m, stages.Verdict{Outcome: stages.Acknowledged})
}

func (p *playedPipeline) Refuse(m *stages.Message, v stages.Verdict) { settle(m, v) }
func (p *playedPipeline) Reject(m *stages.Message, v stages.Verdict) { settle(m, v); p.Release(m) }

func (p *playedPipeline) Release(m *stages.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.released == nil {
		p.released = make(map[*stages.Message]int)
	}
	p.released[m]++
}

func (p *playedPipeline) Abandon(m *stages.Message) { p.Release(m) }

func (p *playedPipeline) Expire(m *stages.Message, reason stages.Reason) {
	p.mu.Lock()
	p.expired = append(p.expired, m)
	p.mu.Unlock()
	settle(m, stages.Verdict{Outcome: stages.Refused, Reason: reason, Stage: stages.AtProduce})
}

// settle answers every event of m.
func settle(m *stages.Message, v stages.Verdict) {
	for i := range m.Results {
		if m.WinQueued(i) {
			m.SetVerdict(i, v)
		}
	}
	m.Settle(m.Events())
}

// playedStream is a client's end of a stream: SendMsg takes answers until fail is set.
type playedStream struct {
	grpc.ServerStream
	wire
	mu       sync.Mutex
	fail     error
	answered chan struct{}
	// told is what the client has got, in order: "answer" and "status".
	told []string
}

func (c *playedStream) SendMsg(any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail != nil {
		return c.fail
	}
	c.told = append(c.told, "answer")
	if c.answered != nil {
		c.answered <- struct{}{}
	}
	return nil
}

func (c *playedStream) WriteStatus(*status.Status) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = append(c.told, "status")
	return nil
}

func (c *playedStream) RecvCompress() string { return "" }

func (c *playedStream) Context() context.Context { return context.Background() }

func playStream(t testing.TB, p Pipeline, c *playedStream) *ingestStream {
	t.Helper()
	s := &Server{config: testSetup().config, pipeline: p, metrics: newMeters(), recv: newRecvLimit(256 * stages.MiB)}
	st := &ingestStream{
		server: s, ss: c, wire: c, client: &stages.Client{Name: "test"},
		wake: make(chan struct{}, 1), room: make(chan struct{}, 1), finished: make(chan struct{}),
	}
	st.stopped, st.stop = context.WithCancel(t.Context())
	t.Cleanup(st.stop)
	return st
}

// flying is a message in flight of one event.
func flying(owner stages.Owner, deadline time.Time) *stages.Message {
	m := &stages.Message{Kind: stages.Single, Owner: owner, Deadline: deadline}
	m.Arm(1)
	return m
}

// TestExpireLeavesReleasedMessagesAlone: the client goes while overdue messages are answered. Those that were let go
// of may be another call's by now; nothing is done to them, and every message is let go of once.
func TestExpireLeavesReleasedMessagesAlone(t *testing.T) {
	p := &playedPipeline{}
	st := playStream(t, p, &playedStream{fail: errors.New("the client is gone")})
	s := &sender{ingestStream: st, tick: time.NewTimer(0), armed: true}
	st.sending.Store(true) // that is s
	overdue := time.Now().Add(-time.Second)
	first, second := flying(st, overdue), flying(st, overdue)
	for i, m := range []*stages.Message{first, second} {
		m.Seq = uint64(i)
		if _, ok := st.window.push(m); !ok {
			t.Fatal("the window is sealed")
		}
	}
	s.flush() // nothing is answered yet
	s.sleep() // the tick: both are answered, and with the first the client is gone
	if p.released[first] != 1 || st.end.Load() != clientGone {
		t.Fatalf("the first was released %d times, the stream's end is %d", p.released[first], st.end.Load())
	}
	first.Arm(1) // another call has it
	if s.expire() || first.Answered() || len(p.expired) != 2 {
		t.Errorf("a message that was released was answered: %d were", len(p.expired))
	}
	s.abandon()
	for i, m := range []*stages.Message{first, second} {
		if p.released[m] != 1 {
			t.Errorf("message %d was released %d times", i, p.released[m])
		}
	}
}

// TestStatusComesAfterTheAnswers: the stream's age is over, or a drain begins, while the receiver has a message in
// hand that it has already decided to submit. The status, which says that every message was answered, comes after it.
func TestStatusComesAfterTheAnswers(t *testing.T) {
	for _, how := range []int32{aged, drained, clientCut} {
		p, c := &playedPipeline{}, &playedStream{}
		st := playStream(t, p, c)
		s := &sender{ingestStream: st, tick: time.NewTimer(time.Hour), armed: true}
		st.sending.Store(true) // that is s
		ended := false
		p.admit = func() {
			st.finish(how)
			<-st.wake
			s.flush()
			ended = s.complete()
		}
		r := newFrameReader(context.Background(), c, 1<<20, st.server.recv)
		st.take(&r, []byte("x"), noBuffer{})
		if ended {
			t.Fatal("the stream ended with a message in the receiver's hand")
		}
		select {
		case <-st.wake:
		default:
			t.Error("the sender was not told that it can end the stream")
		}
		s.flush()
		if !s.complete() || !slices.Equal(c.told, []string{"answer", "status"}) {
			t.Errorf("the client got %v, want the answer, then the status", c.told)
		}
		// What comes now is refused, and not stored.
		p.admit = func() { t.Error("a message was admitted after the stream's end") }
		st.take(&r, []byte("x"), noBuffer{})
	}
}

// TestStatusComesAfterTheAnswersRace is the same with the goroutines as they are.
func TestStatusComesAfterTheAnswersRace(t *testing.T) {
	for range 300 {
		p, c := &playedPipeline{}, &playedStream{}
		admitted := 0
		p.admit = func() { admitted++ }
		st := playStream(t, p, c)
		go st.finish(aged)
		r := newFrameReader(context.Background(), c, 1<<20, st.server.recv)
		for st.end.Load() == streamOpen && st.awaitRoom() {
			st.take(&r, []byte("x"), noBuffer{})
		}
		select {
		case <-st.finished:
		case <-time.After(patience):
			t.Fatal("the stream did not end")
		}
		// The last one may have been refused and answered too.
		if n := len(c.told) - 1; n < admitted || n > admitted+1 || c.told[n] != "status" {
			t.Fatalf("%d messages were submitted, the client got %d answers", admitted, n)
		}
	}
}

// TestSenderRestarts: a stream whose sender has ended for want of work gets a new one with the next message.
func TestSenderRestarts(t *testing.T) {
	g := start(t, nil)
	s, err := g.client().IngestEventStream(g.context())
	if err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		if err := s.Send(request("x")); err != nil {
			t.Fatal(err)
		}
		if a, err := s.Recv(); err != nil || !a.Success {
			t.Fatalf("round %d: %v, %v", round, a, err)
		}
		g.eventually("the idle sender has ended", func() bool {
			return !goroutineIn("(*ingestStream).send(")
		})
	}
}

// goroutineIn reports whether a goroutine is in the function.
func goroutineIn(function string) bool {
	stacks := make([]byte, 1<<20)
	return strings.Contains(string(stacks[:runtime.Stack(stacks, true)]), function)
}

// TestRetireRace: a sender that ends for want of work, and a message that comes meanwhile. Whoever is first, there is
// one sender that sees the message.
func TestRetireRace(t *testing.T) {
	p, c := &playedPipeline{}, &playedStream{answered: make(chan struct{}, 1)}
	stays := 0
	const rounds = 1000
	for round := range rounds {
		st := playStream(t, p, c)
		st.sending.Store(true)
		retiring := make(chan bool, 1)
		var started, begin atomic.Bool
		go func() {
			s := &sender{ingestStream: st}
			started.Store(true)
			for !begin.Load() { // runs already, so that it is as fast as the push
			}
			gone := s.retire()
			retiring <- gone
			if !gone {
				st.send()
			}
		}()
		m := flying(nil, time.Now().Add(patience)) // without an owner: only its push pokes
		settle(m, stages.Verdict{Outcome: stages.Acknowledged})
		for !started.Load() {
			runtime.Gosched()
		}
		begin.Store(true)
		for range 4 * (round % 64) { // either comes first in some rounds
			begin.Load()
		}
		st.push(m, true)
		select {
		case <-c.answered:
		case <-time.After(patience):
			t.Fatalf("round %d: the message has no answer; the old sender ended: %v", round, <-retiring)
		}
		if !<-retiring {
			stays++
		}
		st.finish(clientDone)
		select {
		case <-st.finished:
		case <-time.After(patience):
			t.Fatalf("round %d: the stream did not end", round)
		}
	}
	t.Logf("in %d of %d rounds the old sender went on", stays, rounds)
}
