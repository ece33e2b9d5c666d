package transport

// The streaming ingest methods: messages in, one answer each, in request
// order.
//
// The handler's goroutine is the receiver: it reads frames and submits them.
// A second goroutine, the sender, exists only while messages are in flight (and
// a moment longer): it waits for the oldest one, sends what is ready, expires
// what is overdue, and is the only one to end the stream. So an idle stream is one
// goroutine that waits in a read.
//
// A lost wake-up is impossible. The last event of a message is answered by
// taking the message's pending count to 0, and then Completed loads head; it wakes the
// sender if head is this message. The sender first stores head, then asks whether
// that message is answered, and only then sleeps. All four are sequentially consistent
// atomics (Go memory model), so in their one order either the sender's store comes
// before the completer's load, which then sees it and wakes the sender, or the load came
// first, and with it the count of 0, which the sender then sees.
// A message is submitted before it is pushed, so Completed may even come before the
// sender can see the message: then push finds the window empty, or the sender's next
// store of head comes after the push. In the first case the receiver wakes the sender.

import (
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/event-gateway/event-gateway/pipeline"
	"github.com/event-gateway/event-gateway/stages"
)

const (
	// sweepTick is how coarsely overdue messages are found.
	sweepTick = 50 * time.Millisecond
	// senderLinger is how many ticks a sender without work waits for more before it ends: a second.
	senderLinger = 20
)

// How a stream ends; the first of these wins.
const (
	streamOpen int32 = iota
	// clientDone: the client closed its side; everything is answered, then OK.
	clientDone
	// clientCut: it did so in the middle of a message; the same, then MALFORMED_EVENT.
	clientCut
	// drained, aged: the gateway ends it; everything is answered, then DRAINING or STREAM_AGE.
	drained
	aged
	// clientGone: nobody reads answers any more.
	clientGone
	// slow: the client leaves its answers unread.
	slow
)

// ingestStream is one streaming call.
type ingestStream struct {
	server *Server
	ss     grpc.ServerStream
	wire   wire
	out    *outbox // nil in calls that are not counted
	client *stages.Client
	lane   pipeline.Lane
	batch  bool
	window window

	// end is how the stream ends, streamOpen until that is known.
	end atomic.Int32
	// stopped ends the receiver's waits (for memory, for the window) when the stream is to end.
	stopped context.Context
	stop    context.CancelFunc

	// taking: the receiver is between looking whether the stream is open and pushing; see sender.complete.
	taking atomic.Bool
	// sending: a sender goroutine exists.
	sending atomic.Bool
	// wake tells the sender to look again, room the receiver that the window has moved.
	wake, room chan struct{}
	// finished is closed when the sender has ended the stream; final is its status from then on.
	finished chan struct{}
	final    *status.Status
	// writes is odd while the sender is in SendMsg; the watchdog sees whether it moves.
	writes atomic.Uint64
}

// stream handles one call of IngestEventStream or IngestEventBatchStream.
func (s *Server) stream(ss grpc.ServerStream, batch bool) error {
	ctx := ss.Context()
	w, ok := wireOf(ctx)
	if !ok {
		return errNoWire
	}
	st := &ingestStream{
		server: s, ss: ss, wire: w, batch: batch, lane: s.pipeline.Lane(),
		wake: make(chan struct{}, 1), room: make(chan struct{}, 1), finished: make(chan struct{}),
	}
	if charge := recvStreamOf(ctx); charge != nil {
		st.out = &outbox{&charge.out}
	}
	st.stopped, st.stop = context.WithCancel(ctx)
	defer st.stop()
	if !s.streams.add(st) {
		return reasonStatus(stages.Draining, "").Err()
	}
	defer s.streams.remove(st)
	if age := s.streamAge(); age > 0 {
		timer := time.AfterFunc(age, func() { st.finish(aged) })
		defer timer.Stop()
	}
	st.client = s.clientOf(ctx)
	defer st.client.Unhold()
	return st.run()
}

// run is the receiver: the stream from its first to its last message.
func (st *ingestStream) run() error {
	r := newFrameReader(st.ss.Context(), st.wire, int(st.server.config.MaxMessageBytes), st.server.recv)
	r.stopped = st.stopped
	defer r.close()
	for st.end.Load() == streamOpen && st.awaitRoom() {
		frame, owner, err := r.next()
		var refused *refusal
		switch {
		case err == nil:
			st.take(&r, frame, owner)
			continue
		case errors.As(err, &refused):
			m := st.server.receiveRefused(st.client)
			r.admitted()
			st.refuse(m, refused.verdict)
			continue
		case errors.Is(err, io.EOF):
			st.finish(clientDone)
		case errors.Is(err, errCut):
			st.finish(clientCut)
		case r.stopped.Err() != nil && st.ss.Context().Err() == nil: // the wait for memory was ended; so will be the stream
		default:
			st.finish(clientGone)
		}
		break
	}
	if st.ss.Context().Err() != nil {
		st.finish(clientGone)
	}
	<-st.finished
	return st.final.Err()
}

// awaitRoom waits while the window is full. False: the stream is to end.
func (st *ingestStream) awaitRoom() bool {
	for st.window.length() >= st.server.config.StreamWindow {
		select {
		case <-st.room:
		case <-st.stopped.Done():
			return false
		}
	}
	return true
}

// take brings one received message into the pipeline. The receiver waits here while the gateway is full.
func (st *ingestStream) take(r *frameReader, frame []byte, owner stages.Freer) {
	st.taking.Store(true)
	defer st.taken()
	p := st.server.pipeline
	m, refused := st.server.receive(st.client, frame, owner, st.batch)
	if end := st.end.Load(); refused == nil && end != streamOpen {
		refused = &stages.Verdict{Outcome: stages.Refused, Reason: endReason(end), Stage: stages.AtAdmission}
	}
	if refused == nil {
		refused = p.Admit(st.stopped, m, -1)
		if end := st.end.Load(); refused != nil && end != streamOpen && refused.Reason == stages.NotSent {
			refused.Reason = endReason(end)
		}
	}
	r.admitted()
	if refused != nil {
		st.refuse(m, *refused)
		return
	}
	m.Deadline = st.server.deadline(st.ss.Context(), m.Entered)
	m.Seq = st.window.tail // only this goroutine moves it
	m.Owner = st
	p.Submit(st.lane, m)
	st.push(m, true)
}

// taken lets the stream end again, which may have waited for it.
func (st *ingestStream) taken() {
	st.taking.Store(false)
	if st.end.Load() != streamOpen {
		st.poke()
	}
}

// refuse answers a message that does not go into the pipeline.
func (st *ingestStream) refuse(m *stages.Message, v stages.Verdict) {
	m.Owner = nil
	m.Seq = st.window.tail
	st.server.pipeline.Refuse(m, v)
	st.push(m, false)
}

// push puts m into the window and makes sure that a sender will see it.
func (st *ingestStream) push(m *stages.Message, submitted bool) {
	first, ok := st.window.push(m)
	switch {
	case !ok && submitted:
		st.server.pipeline.Abandon(m)
	case !ok: // the stream has its status already; that is the answer
		st.server.pipeline.Release(m)
	case first:
		st.poke()
	}
}

// Completed wakes the sender if m is what it waits for.
func (st *ingestStream) Completed(m *stages.Message) {
	if m.Seq == st.window.head.Load() {
		st.poke()
	}
}

// poke wakes the sender, or starts one. It never blocks.
func (st *ingestStream) poke() {
	select {
	case st.wake <- struct{}{}:
	default:
	}
	if !st.sending.Load() && st.sending.CompareAndSwap(false, true) {
		go st.send()
	}
}

// finish decides how the stream ends, if that is open, and tells both goroutines. A client that is gone or slow
// overrides an orderly end.
func (st *ingestStream) finish(how int32) {
	for {
		end := st.end.Load()
		if end == how || (end != streamOpen && (how < clientGone || end >= clientGone)) {
			return
		}
		if st.end.CompareAndSwap(end, how) {
			st.stop()
			st.poke()
			return
		}
	}
}

// endReason is the reason that a stream which ends that way gives.
func endReason(end int32) stages.Reason {
	switch end {
	case drained:
		return stages.Draining
	case aged:
		return stages.StreamAge
	case slow:
		return stages.SlowClient
	case clientCut:
		return stages.MalformedEvent
	case clientGone:
		return stages.NotSent
	}
	return stages.NoReason
}

// status is the stream's status.
func (st *ingestStream) status() *status.Status {
	switch end := st.end.Load(); end {
	case clientDone:
		return nil
	case clientCut:
		return reasonStatus(stages.MalformedEvent, errCut.Error())
	case clientGone:
		return status.FromContextError(context.Canceled)
	default:
		return reasonStatus(endReason(end), "")
	}
}

// streamSet is all streaming calls of a server, so that a drain can end them.
type streamSet struct {
	mu      sync.Mutex
	streams map[*ingestStream]struct{}
	drained bool
}

// add notes a stream; false when the drain has begun.
func (s *streamSet) add(st *ingestStream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drained {
		return false
	}
	if s.streams == nil {
		s.streams = make(map[*ingestStream]struct{})
	}
	s.streams[st] = struct{}{}
	return true
}

func (s *streamSet) remove(st *ingestStream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams, st)
}

// drain ends every stream, those to come included.
func (s *streamSet) drain() {
	s.mu.Lock()
	s.drained = true
	all := make([]*ingestStream, 0, len(s.streams))
	for st := range s.streams {
		all = append(all, st)
	}
	s.mu.Unlock()
	for _, st := range all {
		st.finish(drained)
	}
}

func (s *streamSet) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.streams)
}
