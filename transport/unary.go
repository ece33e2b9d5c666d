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

	frame, owner, err := s.onlyMessage(&r)
	if err != nil {
		return s.unreadable(client, err)
	}
	m, refused := s.receive(client, frame, owner, batch)
	m.Deadline = s.deadline(ctx, m.Received)
	if refused == nil {
		refused = s.pipeline.Admit(ctx, m, min(s.config.AdmissionTimeout, max(time.Until(m.Deadline), 0)))
	}
	r.admitted()
	if refused != nil {
		s.pipeline.Refuse(m, *refused)
		st := verdictStatus(*refused, client)
		s.pipeline.Release(m)
		return st.Err()
	}
	m.Deadline = s.deadline(ctx, time.Now())
	if err := s.await(ctx, m); err != nil {
		return err
	}
	defer s.pipeline.Release(m)
	if r := &m.Results[0]; (!batch || m.Kind == stages.Malformed) && !succeeded(r.Outcome) {
		return resultStatus(m, 0).Err()
	}
	encoded := encodeSingle
	if batch {
		encoded = encodeBatch
	}
	return ss.SendMsg(&answer{encoded(m)})
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

// onlyMessage reads the one message of a unary call and makes sure that there is no second one.
func (s *Server) onlyMessage(r *frameReader) ([]byte, stages.Freer, error) {
	watch := time.AfterFunc(requestTime, func() {
		_ = r.wire.WriteStatus(reasonStatus(stages.SlowClient, fmt.Sprintf("the request did not arrive within %v", requestTime)))
	})
	defer watch.Stop()
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
	m := s.receiveRefused(client)
	s.pipeline.Refuse(m, r.verdict)
	s.pipeline.Release(m)
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
