package transport

// The unary ingest methods: one message in, one answer or a status out.

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/event-gateway/event-gateway/stages"
)

// requestTime bounds how long a unary call may take to send its request. A call that has not is only holding one
// of its connection's streams.
const requestTime = 30 * time.Second

// slot is where a unary call waits for its answer.
type slot struct {
	// done takes one token; Completed is called once for each submission.
	done  chan struct{}
	timer *time.Timer
}

// Completed wakes the call.
func (s *slot) Completed(*stages.Message) { s.done <- struct{}{} }

var slots = sync.Pool{New: func() any {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return &slot{done: make(chan struct{}, 1), timer: t}
}}

// unary handles one call of IngestEvent or IngestEventBatch.
func (s *Server) unary(ss grpc.ServerStream, batch bool) error {
	ctx := ss.Context()
	w, ok := wireOf(ctx)
	if !ok {
		return errNoWire
	}
	if s.draining() {
		return reasonStatus(stages.Draining, "").Err()
	}
	client := s.clientOf(ctx)
	defer client.Unhold()
	r := newFrameReader(ctx, w, int(s.config.MaxMessageBytes), s.recv)
	defer r.close()
	callers, limited := callersDeadline(ctx, time.Now())
	r.patience = s.config.AdmissionTimeout
	if limited {
		r.deadline = callers
	}

	frame, owner, err := s.arrive(&r)
	if err != nil {
		return s.unreadable(client, err)
	}
	m, refused := s.receive(client, frame, owner, batch)
	m.Deadline = s.deadline(ctx, m.Received)
	if refused == nil {
		refused = s.pipeline.Admit(ctx, m, max(0, min(r.patience-r.waited, time.Until(m.Deadline))))
	}
	r.admitted()
	if refused != nil {
		s.pipeline.Reject(m, *refused)
		return verdictStatus(*refused, client).Err()
	}
	m.Deadline = s.deadline(ctx, m.Entered)
	if err := s.await(ctx, m); err != nil {
		return err
	}
	defer s.pipeline.Release(m)
	if (!batch || m.Kind == stages.Malformed) && !succeeded(m.Outcome(0)) {
		return resultStatus(m, 0).Err()
	}
	encoded := encodeSingle
	if batch {
		encoded = encodeBatch
	}
	return r.answer(ss, encoded(m))
}

// await submits m and waits until every event of it is answered. With an error nobody waits for m any more, and
// it must not be touched.
func (s *Server) await(ctx context.Context, m *stages.Message) error {
	w := slots.Get().(*slot)
	m.Owner = w
	w.timer.Reset(time.Until(m.Deadline))
	s.pipeline.Submit(s.pipeline.Lane(), m)
	select {
	case <-w.done:
	case <-w.timer.C:
		s.pipeline.Expire(m, stages.NotSent)
		<-w.done
	case <-s.pipeline.Cutoff():
		s.pipeline.Expire(m, stages.Draining)
		<-w.done
	case <-ctx.Done():
		// Completed may still come, so this slot is not used again.
		w.timer.Stop()
		s.pipeline.Abandon(m)
		return status.FromContextError(ctx.Err()).Err()
	}
	w.timer.Stop() // since Go 1.23 no stale tick stays in C
	slots.Put(w)
	return nil
}

// arrive reads the call's message in bounded time: a drain, requestTime or the caller's deadline end the call until
// it is there as a whole. Such an end is the error.
func (s *Server) arrive(r *frameReader) ([]byte, stages.Freer, error) {
	c := s.open.add(r.wire)
	if c == nil {
		return nil, nil, reasonStatus(stages.Draining, "").Err()
	}
	defer s.open.remove(c)
	bound := requestTime
	if !r.deadline.IsZero() {
		bound = max(0, min(bound, time.Until(r.deadline)))
	}
	watch := time.AfterFunc(bound, func() { c.end(r.late(bound)) })
	defer watch.Stop()
	frame, owner, err := s.onlyMessage(r)
	var refused *refusal
	if err != nil && !errors.As(err, &refused) { // the call ends either way; this says why
		if st := c.ended(); st != nil {
			err = st.Err()
		}
		return nil, nil, err
	}
	if st := c.arrived(); st != nil {
		if err == nil {
			owner.Free()
		}
		return nil, nil, st.Err()
	}
	return frame, owner, err
}

// late is the status of a call whose message has not arrived within bound: it is the gateway's fault if its receive
// memory is why it was not read.
func (r *frameReader) late(bound time.Duration) *status.Status {
	switch {
	case r.limit.holdsUp(r.charge):
		return reasonStatus(stages.Overloaded, receiveMemoryTaken)
	case bound < requestTime:
		return reasonStatus(stages.NotSent, "the request had not arrived as a whole when the caller's deadline came")
	}
	return reasonStatus(stages.SlowClient, fmt.Sprintf("the request did not arrive within %v", bound))
}

// onlyMessage reads the one message of a unary call and makes sure that there is no second one.
func (s *Server) onlyMessage(r *frameReader) ([]byte, stages.Freer, error) {
	frame, owner, err := r.next()
	if errors.Is(err, io.EOF) {
		return nil, nil, errNoMessage
	}
	if err != nil {
		return nil, nil, err
	}
	switch err := r.wire.ReadMessageHeader(r.header[:]); {
	case errors.Is(err, io.EOF):
		return frame, owner, nil
	case err != nil:
		owner.Free()
		return nil, nil, readError(err)
	}
	owner.Free()
	return nil, nil, refuse(stages.MalformedEvent, "the call has more than one request message; it takes exactly one")
}

// unreadable is the status of a call whose message could not be taken. A message that was refused counts as one
// event; one that never came as a whole does not.
func (s *Server) unreadable(client *stages.Client, err error) error {
	if errors.Is(err, errCut) || errors.Is(err, errNoMessage) {
		return reasonStatus(stages.MalformedEvent, err.Error()).Err()
	}
	var r *refusal
	if !errors.As(err, &r) {
		return goneStatus(err)
	}
	s.pipeline.Reject(s.receiveRefused(client), r.verdict)
	return verdictStatus(r.verdict, client).Err()
}

var errNoMessage = errors.New("the call ended without a request message; it takes exactly one")

// goneStatus is how a call ends whose client is gone: nobody reads it.
func goneStatus(err error) error {
	if st, ok := status.FromError(err); ok && st.Code() != codes.OK {
		return err
	}
	return status.Error(codes.Canceled, "the client is gone")
}
