package cli

// One publishing stream: a sender and a receiver that share a bounded window
// of unanswered messages. The flow:
//
//	source -> sender -> window (a channel: FIFO and bound in one) -> receiver -> counts, latency
//	             ^                                                       |
//	             +---------------- resend queue (only --resend) <--------+
//
// Answers come in request order, so the receiver matches each answer with the
// oldest entry of the window.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/status"
)

// job is what all streams of one run share.
type job struct {
	method string
	// batch is the most events in a message; single says that the method takes messages of one event.
	batch  int
	single bool
	// window is the most unanswered messages of a stream.
	window int
	// interval is the nanoseconds between two events of one stream on the schedule; 0 = no schedule.
	interval float64
	timeout  time.Duration
	resend   bool
	begin    time.Time
	// heard is when any caller last had an answer from a gateway (only --unary).
	heard atomic.Int64
	// stop is done when no new events are to be sent.
	stop context.Context
	// answered gets each raw answer; nil for everything but a single event.
	answered func(raw []byte)
	// giveUp stops all streams when one cannot go on: what they share is the gateway.
	giveUp func()
	// failure hears why a stream broke; safe for concurrent use.
	failure func(error)
}

func (j *job) now() int64 { return int64(time.Since(j.begin)) }

// stream is one of the run's streams. The sender goroutine owns source, scratch, block, exhausted, pace and slot;
// the receiver owns answer and latency until the session's end. With --unary it is what a caller sends, and the
// caller is both.
type stream struct {
	*job
	conn   *grpc.ClientConn
	source source

	scratch   []byte
	block     []byte
	exhausted bool // source has no more
	pace      pace

	answer answer
	tally  tally
	window chan pending
	// sentAt is written by the sender once the message has its place in the window (the wait for that is
	// not latency) and read by the receiver with the answer. Two more than the window holds: one entry
	// may be in the receiver's hands, one in the sender's.
	sentAt  []atomic.Int64
	slot    int
	working atomic.Int64 // when the last answer came, or the window was last empty

	mu    sync.Mutex
	again []retry       // guarded by mu
	wake  chan struct{} // capacity 1: the receiver has changed again or the window
}

// pending is a message that was sent and not answered.
type pending struct {
	// due is when it should have been sent by the schedule; 0 = there is none, and sentAt[slot] says when
	// it was.
	due int64
	// first is when its oldest event was first sent.
	first  int64
	slot   int
	events int
	// again: its events were sent before.
	again bool
	// buffer is kept only to send again.
	buffer mem.Buffer
}

// retry is an event to send again.
type retry struct {
	due, first int64
	event      []byte
	last       verdict
}

func newStream(j *job, conn *grpc.ClientConn, src source) *stream {
	return &stream{job: j, conn: conn, source: src, wake: make(chan struct{}, 1), pace: newPace(j.interval),
		answer: answer{batch: !j.single, keep: j.answered != nil}, tally: newTally(), sentAt: make([]atomic.Int64, j.window+2)}
}

var errNoAnswer = errors.New("no answer came in time")

// reconnectDelay is short: whoever publishes wants to go on, and a stream costs the gateway little.
const reconnectDelay = 250 * time.Millisecond

// run publishes until the source is empty and everything is answered, or until it must give up. A
// stream that breaks is opened again; what was unanswered on it is counted, or sent again.
func (s *stream) run(ctx context.Context) {
	s.working.Store(s.now())
	defer s.abandonAgain()
	for {
		err := s.session(ctx)
		s.settle()
		if err == nil && !s.done() {
			err = status.Error(codes.Unavailable, "the gateway ended the stream")
		}
		if err != nil {
			s.failure(err)
		}
		if s.done() || ctx.Err() != nil {
			return
		}
		if !canReconnect(err) || s.now()-s.working.Load() > int64(s.timeout) {
			s.giveUp()
			return
		}
		select {
		case <-time.After(reconnectDelay):
		case <-s.stop.Done():
		case <-ctx.Done():
		}
	}
}

// callOptions are those of every stream and call.
func callOptions() []grpc.CallOption {
	return []grpc.CallOption{grpc.ForceCodecV2(rawCodec{}), grpc.MaxCallRecvMsgSize(math.MaxInt32)}
}

func canReconnect(err error) bool {
	switch status.Code(err) {
	case codes.Unavailable, codes.Canceled, codes.Unknown, codes.Internal, codes.ResourceExhausted:
		return true
	}
	return false
}

// done reports whether nothing is left to send.
func (s *stream) done() bool {
	if s.stop.Err() != nil {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.exhausted && len(s.again) == 0
}

// session is the life of one gRPC stream.
func (s *stream) session(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.window = make(chan pending, s.job.window)
	client, err := s.conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, s.method, callOptions()...)
	if err != nil {
		return err
	}
	broken := make(chan struct{})
	received := error(nil)
	var group sync.WaitGroup
	group.Go(func() {
		defer close(broken)
		received = s.receive(client)
	})
	group.Go(func() { s.watch(broken, cancel) })
	s.send(client, broken)
	_ = client.CloseSend() // never fails: it says so itself
	group.Wait()
	if cause := context.Cause(ctx); errors.Is(cause, errNoAnswer) {
		return status.Errorf(codes.DeadlineExceeded, "%v: nothing for %v", cause, s.timeout)
	}
	return received
}

// watch ends a session in which nothing is answered any more.
func (s *stream) watch(broken <-chan struct{}, cancel context.CancelCauseFunc) {
	ticker := time.NewTicker(max(s.timeout/8, time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-broken:
			return
		case <-ticker.C:
			if len(s.window) > 0 && s.now()-s.working.Load() > int64(s.timeout) {
				cancel(errNoAnswer)
				return
			}
		}
	}
}

// send sends until nothing is left, stop, or the stream broke.
func (s *stream) send(client grpc.ClientStream, broken <-chan struct{}) {
	var message frame
	for {
		p, ok := s.build(broken)
		if !ok {
			return
		}
		message.buffer, message.events = p.buffer, p.events
		if !s.resend {
			p.buffer = nil
		}
		if len(s.window) == 0 {
			s.working.Store(s.now())
		}
		s.slot = (s.slot + 1) % len(s.sentAt)
		p.slot = s.slot
		now := s.now()
		s.sentAt[p.slot].Store(now)
		s.pace.handed(p.due, now)
		select {
		case s.window <- p:
		default:
			select {
			case s.window <- p:
			case <-broken:
				s.lost(p)
				return
			}
			s.sentAt[p.slot].Store(s.now())
		}
		err := client.SendMsg(&message)
		if p.due > 0 {
			s.pace.free = s.now()
		}
		if !s.resend {
			message.buffer.Free()
		}
		if err != nil {
			return // the receiver learns why
		}
	}
}

// build makes the next message: events to send again that are due, or new ones at their time.
func (s *stream) build(broken <-chan struct{}) (pending, bool) {
	for s.stop.Err() == nil {
		if p, ok := s.buildAgain(); ok {
			return p, true
		}
		if !s.exhausted {
			if p, ok := s.buildNew(); ok {
				return p, true
			}
			continue
		}
		wait, left := s.nextAgain()
		if !left {
			return pending{}, false
		}
		select {
		case <-s.wake:
		case <-time.After(wait):
		case <-s.stop.Done():
		case <-broken:
			return pending{}, false
		}
	}
	return pending{}, false
}

func (s *stream) buildNew() (pending, bool) {
	count := 0
	s.scratch, count = s.source.next(s.stop, s.scratch[:0], s.batch)
	if count == 0 {
		s.exhausted = true
		return pending{}, false
	}
	p := pending{first: s.now(), events: count, buffer: s.keep(s.scratch)}
	if s.interval > 0 {
		p.due = s.pace.next(count)
		if !s.until(p.due, s.pace.least(count)) {
			return pending{}, false
		}
		p.first = p.due
	}
	s.tally.sent.Add(int64(count))
	return p, true
}

// blockSize is what small messages are cut from: one allocation for about a hundred of them.
const blockSize = 64 << 10

// messagePool is a pool of large messages. grpc's own clears what it hands out: 70 ns an event in
// batches of 100, for memory that is written over at once.
type messagePool struct{ pool sync.Pool }

var messages = &messagePool{}

func (p *messagePool) Get(length int) *[]byte {
	if kept, ok := p.pool.Get().(*[]byte); ok && cap(*kept) >= length {
		*kept = (*kept)[:length]
		return kept
	}
	kept := make([]byte, length, length+length/8) // the next message may be a little longer
	return &kept
}

func (p *messagePool) Put(kept *[]byte) { p.pool.Put(kept) }

// keep copies a message into memory that grpc may hold until it is sent. grpc pools nothing below 1 KiB.
func (s *stream) keep(message []byte) mem.Buffer {
	if !mem.IsBelowBufferPoolingThreshold(len(message)) {
		kept := messages.Get(len(message))
		copy(*kept, message)
		return mem.NewBuffer(kept, messages)
	}
	if len(s.block) < len(message) {
		s.block = make([]byte, blockSize)
	}
	kept := s.block[:len(message):len(message)]
	s.block = s.block[len(message):]
	copy(kept, message)
	return mem.SliceBuffer(kept)
}

// receive matches answers with the window until the stream ends.
func (s *stream) receive(client grpc.ClientStream) error {
	for {
		if err := client.RecvMsg(&s.answer); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		var p pending
		select {
		case p = <-s.window:
		default:
			return status.Error(codes.Internal, "the gateway sent more answers than it got messages")
		}
		now := s.now()
		s.working.Store(now)
		s.count(p, now)
		if s.answered != nil {
			s.answered(s.answer.raw)
		}
		if s.resend {
			if p.buffer != nil {
				p.buffer.Free()
			}
			select {
			case s.wake <- struct{}{}:
			default:
			}
		}
	}
}

// settle deals with what a broken session left unanswered.
func (s *stream) settle() {
	close(s.window)
	for p := range s.window {
		s.lost(p)
	}
}

// lost is a message whose answer will not come: it may be stored or not.
func (s *stream) lost(p pending) {
	s.failedAll(verdict{}, p)
	if s.resend {
		p.buffer.Free()
	}
}

// describe is an error as a person reads it: gRPC's description and its code.
func describe(err error) string {
	if st, ok := status.FromError(err); ok {
		return fmt.Sprintf("%s (%s)", st.Message(), st.Code())
	}
	return err.Error()
}
