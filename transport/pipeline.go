package transport

// What the handlers need of the pipeline, and the steps that all four ingest
// methods share: from a frame to a message in the pipeline, or to its refusal.

import (
	"context"
	"time"

	"github.com/event-gateway/event-gateway/pipeline"
	"github.com/event-gateway/event-gateway/stages"
)

// Pipeline is the part of pipeline.Pipeline that the handlers use; see there for what each method promises.
type Pipeline interface {
	NewClient(name string) *stages.Client
	Lane() pipeline.Lane
	Receive(client *stages.Client, frame []byte, buffer stages.Freer, kind stages.Kind, n int) *stages.Message
	ReceiveRecords(client *stages.Client, records []stages.Record, o stages.RecordOptions) *stages.Message
	Admit(ctx context.Context, m *stages.Message, wait time.Duration) *stages.Verdict
	Submit(lane pipeline.Lane, m *stages.Message)
	Refuse(m *stages.Message, v stages.Verdict)
	Reject(m *stages.Message, v stages.Verdict)
	Expire(m *stages.Message, reason stages.Reason)
	Abandon(m *stages.Message)
	Release(m *stages.Message)
	StartDrain()
	Cutoff() <-chan struct{}
}

// receive turns a frame into a message of the pipeline. A verdict says that the frame is to be refused as a whole;
// the message then counts as one event.
func (s *Server) receive(client *stages.Client, frame []byte, owner stages.Freer, batch bool) (*stages.Message, *stages.Verdict) {
	if !batch {
		return s.pipeline.Receive(client, frame, owner, stages.Single, 1), nil
	}
	events, wantResults, ok := stages.Scan(frame)
	var v *refusal
	switch {
	case !ok: // decode refuses it, so that all malformed messages are answered alike
		return s.pipeline.Receive(client, frame, owner, stages.Malformed, 1), nil
	case events == 0:
		v = refuse(stages.EmptyBatch, "the batch has no events; send at least one")
	case events > s.config.MaxBatchEvents:
		v = refuse(stages.TooManyEvents, "the batch has %d events; MAX_BATCH_EVENTS allows %d", events, s.config.MaxBatchEvents)
	default:
		m := s.pipeline.Receive(client, frame, owner, stages.Batch, events)
		m.WantResults = wantResults
		return m, nil
	}
	return s.pipeline.Receive(client, frame, owner, stages.Malformed, 1), &v.verdict
}

// receiveRefused is receive for a message whose bytes were not taken.
func (s *Server) receiveRefused(client *stages.Client) *stages.Message {
	return s.pipeline.Receive(client, nil, noBuffer{}, stages.Malformed, 1)
}

// deadline is when a message admitted at now must be answered: DELIVERY_TIMEOUT from then, or earlier if the
// caller's own deadline is nearer.
func (s *Server) deadline(ctx context.Context, now time.Time) time.Time {
	limit := now.Add(s.config.DeliveryTimeout)
	if callers, ok := callersDeadline(ctx, now); ok && callers.Before(limit) {
		return callers
	}
	return limit
}

// callersDeadline is when a call must be answered because of its caller's deadline, if it has one. A client that
// reaches that hears nothing of what is sent then, so it is max(10 ms, 5 % of what is left) before.
func callersDeadline(ctx context.Context, now time.Time) (time.Time, bool) {
	callers, ok := ctx.Deadline()
	if !ok {
		return time.Time{}, false
	}
	return callers.Add(-max(10*time.Millisecond, callers.Sub(now)/20)), true
}
