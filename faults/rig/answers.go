//go:build faults || kafka

package rig

// What an answer means. The rules of the API are checked here on every single
// one: what the client reads must not contradict itself.

import (
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/event-gateway/event-gateway/faults/ledger"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

const outcomeUnknown = "OUTCOME_UNKNOWN"

func (c *client) complain(seq int, text string, args ...any) {
	id := c.producer.Name
	if seq >= 0 {
		id = c.producer.ID(seq)
	}
	c.run.ledger.Complain(ledger.Violation{Property: "P2", Kind: ledger.Contradiction, Method: c.producer.Method, ID: id,
		Text: fmt.Sprintf(text, args...)})
}

// answered notes an event's own response.
func (c *client) answered(ev *ledger.Event, r *gatewayv1.IngestEventResponse, wave int64) {
	// What is refused before it is decoded has no id in its answer: its place answers for it.
	unread := r.EventId == "" && r.Outcome == gatewayv1.Outcome_OUTCOME_REFUSED
	success := r.Outcome == gatewayv1.Outcome_OUTCOME_ACKNOWLEDGED
	switch {
	case r.EventId != ev.ID && !unread:
		c.complain(ev.Seq, "its place was answered for %q", r.EventId)
	case r.Success != success, r.Success != (r.Reason == "" && r.Code == 0),
		(r.Outcome == gatewayv1.Outcome_OUTCOME_UNKNOWN) != (r.Reason == outcomeUnknown):
		c.complain(ev.Seq, "the answer contradicts itself: %v", r)
	}
	switch r.Outcome {
	case gatewayv1.Outcome_OUTCOME_ACKNOWLEDGED:
		c.producer.Acknowledge(ev.Sending, ledger.Position{Partition: r.Partition, Offset: r.Offset})
		for was := c.acked.Load(); was < wave && !c.acked.CompareAndSwap(was, wave); was = c.acked.Load() {
		}
	case gatewayv1.Outcome_OUTCOME_REFUSED:
		c.producer.Refuse(ev.Sending, r.Reason)
		if r.RetryDelay != nil {
			c.repeat(ev.Seq, r.RetryDelay.AsDuration())
		}
	case gatewayv1.Outcome_OUTCOME_UNKNOWN:
		c.producer.Doubt(ev.Sending, r.Reason)
		c.repeat(ev.Seq, 100*time.Millisecond)
	default:
		c.complain(ev.Seq, "answered %v, which nothing here can lead to", r.Outcome)
	}
}

func (c *client) answeredBatch(sent message, r *gatewayv1.IngestEventBatchResponse) {
	if len(r.Results) != len(sent.events) || int(r.Succeeded)+len(r.Failures) != len(sent.events) {
		c.complain(sent.events[0].Seq, "a batch of %d has %d results, %d succeeded, %d failures",
			len(sent.events), len(r.Results), r.Succeeded, len(r.Failures))
		for _, ev := range sent.events {
			c.producer.GiveUp(ev.Sending, "SHORT_ANSWER")
		}
		return
	}
	for i := range sent.events {
		c.answered(&sent.events[i], r.Results[i], sent.wave)
	}
}

// repeat sends it again later, if the scenario wants that. A client would wait as long as it was told; here
// half a second is enough.
func (c *client) repeat(seq int, delay time.Duration) {
	if !c.run.conf.Resend {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.again = append(c.again, retry{seq, time.Now().Add(min(delay, 500*time.Millisecond))})
}

// info is the ErrorInfo of a status; nil = the status did not come from the gateway's handlers.
func info(err error) (found *errdetails.ErrorInfo, retry bool) {
	for _, detail := range status.Convert(err).Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			found = d
		case *errdetails.RetryInfo:
			retry = true
		}
	}
	return found, retry
}

// failed notes the status of a unary call.
func (c *client) failed(s ledger.Sending, err error) {
	why, retry := info(err)
	switch {
	case why == nil:
		c.broken(s, err)
	case why.Reason == outcomeUnknown:
		c.producer.Doubt(s, why.Reason)
		c.repeat(s.Seq, 100*time.Millisecond)
	default:
		c.producer.Refuse(s, why.Reason)
		if retry {
			c.repeat(s.Seq, 500*time.Millisecond)
		}
	}
}

// cutOff notes what a stream's end left without an answer. A stream that the gateway ends in order answers
// everything that it has read; what is left was never read and is refused by the end itself.
func (c *client) cutOff(s ledger.Sending, err error) {
	why, _ := info(err)
	switch {
	case errors.Is(err, io.EOF):
		c.complain(s.Seq, "the stream ended with OK and without an answer to it")
		c.producer.GiveUp(s, "EOF")
	case why != nil && (why.Reason == "DRAINING" || why.Reason == "STREAM_AGE"):
		c.producer.Refuse(s, "STREAM_END_"+why.Reason)
		c.repeat(s.Seq, 50*time.Millisecond)
	case why != nil:
		c.producer.GiveUp(s, "STREAM_END_"+why.Reason)
		c.repeat(s.Seq, 50*time.Millisecond)
	default:
		c.broken(s, err)
	}
}

// broken notes that the connection, the process or the client's own patience ended first.
func (c *client) broken(s ledger.Sending, err error) {
	code := status.Code(err)
	if code == codes.ResourceExhausted || code == codes.Unknown {
		c.complain(s.Seq, "a status without ErrorInfo: %v", err)
	}
	c.producer.GiveUp(s, "NO_ANSWER_"+code.String())
	c.repeat(s.Seq, 50*time.Millisecond)
}
