package cli

// A publishing caller (--unary): calls one after the other, each answered
// before the next one is made. The flow:
//
//	source -> call -> answer, or the status of the call -> counts, latency
//	            ^                                            |
//	            +--------- resend queue (only --resend) <----+
//
// What a status says of the events:
//
//	with the gateway's ErrorInfo       refused, or unknown (OUTCOME_UNKNOWN), with the reason in it
//	without, a code that says no       refused, with the code as its reason: whoever answered has not passed it on
//	without, any other code            no answer: the events may be stored
//	the call never got a connection    not sent: the same message is tried again

import (
	"context"
	"time"

	"google.golang.org/genproto/googleapis/rpc/code"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

const (
	errorDomain   = "eventgateway"
	reasonUnknown = "OUTCOME_UNKNOWN"
)

// caller makes the calls of one stream's events; all of it belongs to one goroutine.
type caller struct {
	*stream
	message frame
	// peer is set by grpc when a call got a connection.
	peer    peer.Peer
	options []grpc.CallOption
	// silent: the last call was not answered by a gateway, so working goes on from before it.
	silent bool
}

func newCaller(s *stream) *caller {
	c := &caller{stream: s}
	c.options = append(callOptions(), grpc.Peer(&c.peer))
	return c
}

// run publishes until the source is empty and everything is answered, or until it must give up.
func (c *caller) run(ctx context.Context) {
	defer c.abandonAgain()
	for {
		p, ok := c.build(nil)
		if !ok || !c.deliver(ctx, p) {
			return
		}
	}
}

// deliver calls until the message has been sent, and books what became of it; false: this caller is to end.
func (c *caller) deliver(ctx context.Context, p pending) bool {
	for {
		err := c.call(ctx, p)
		if err == nil {
			c.answeredAt(c.pace.free)
			c.count(p, c.pace.free)
			if c.answered != nil {
				c.answered(c.answer.raw)
			}
			p.buffer.Free()
			return true
		}
		if c.peer.Addr != nil {
			goOn := c.settleStatus(ctx, p, err)
			p.buffer.Free()
			return goOn
		}
		c.silent = true
		c.failure(err)
		if !c.pause(ctx, err) {
			c.unsent(p)
			return false
		}
	}
}

// call makes one call. Afterwards pace.free is when it ended.
func (c *caller) call(ctx context.Context, p pending) error {
	now := c.now()
	if !c.silent {
		c.working.Store(now)
	}
	c.sentAt[p.slot].Store(now)
	c.pace.handed(p.due, now)
	c.message.buffer, c.message.events = p.buffer, p.events
	c.peer.Addr = nil
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	err := c.conn.Invoke(ctx, c.method, &c.message, &c.answer, c.options...)
	c.pace.free = c.now()
	return err
}

// answeredAt notes that a gateway lives.
func (c *caller) answeredAt(now int64) {
	c.silent = false
	c.heard.Store(now)
}

// settleStatus books the events of a call that ended with a status; false: this caller is to end.
func (c *caller) settleStatus(ctx context.Context, p pending, err error) bool {
	result, byGateway := resultOf(err)
	c.failedAll(verdict{outcome: result.GetOutcome(), reason: []byte(result.GetReason()),
		retry: result.GetRetryDelay().AsDuration()}, p)
	if c.answered != nil && result != nil {
		raw, _ := proto.Marshal(result) // cannot fail: its strings come from a decoded message
		c.answered(raw)
	}
	if byGateway {
		c.answeredAt(c.pace.free)
		return true
	}
	c.silent = true
	c.failure(err)
	return c.pause(ctx, err)
}

// pause waits after an error that no gateway has explained; false: it is time to give up or to stop.
func (c *caller) pause(ctx context.Context, err error) bool {
	late := status.Code(err) == codes.DeadlineExceeded
	last := max(c.working.Load(), c.heard.Load())
	if !late && !canReconnect(err) || c.now()-last >= int64(c.timeout) {
		c.giveUp()
		return false
	}
	if late { // it has waited long enough
		return true
	}
	select {
	case <-time.After(reconnectDelay):
	case <-c.stop.Done():
	case <-ctx.Done():
	}
	return c.stop.Err() == nil && ctx.Err() == nil
}

// unsent takes back a message that was never sent. One that is being sent again had its outcome before.
func (c *caller) unsent(p pending) {
	if p.again {
		c.lost(p)
		return
	}
	c.tally.sent.Add(-int64(p.events))
	p.buffer.Free()
}

// resultOf is what the status of a call says of each of its events; nil: nothing, they may be stored. byGateway
// says that a gateway has written the status.
func resultOf(err error) (result *gatewayv1.IngestEventResponse, byGateway bool) {
	st := status.Convert(err)
	result = &gatewayv1.IngestEventResponse{Outcome: gatewayv1.Outcome_OUTCOME_REFUSED, Code: int32(st.Code()),
		ErrorMessage: st.Message()}
	for _, detail := range st.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() != errorDomain {
				continue
			}
			byGateway = true
			result.Reason, result.Stage, result.EventId = d.GetReason(), d.GetMetadata()["stage"], d.GetMetadata()["event_id"]
			if d.GetReason() == reasonUnknown {
				result.Outcome = gatewayv1.Outcome_OUTCOME_UNKNOWN
			}
		case *errdetails.RetryInfo:
			result.RetryDelay = d.GetRetryDelay()
		}
	}
	if byGateway {
		return result, true
	}
	switch st.Code() {
	case codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.PermissionDenied, codes.Unauthenticated,
		codes.FailedPrecondition, codes.OutOfRange, codes.Unimplemented:
		result.Reason = code.Code(st.Code()).String()
		return result, false
	}
	return nil, false
}
