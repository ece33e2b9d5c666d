package transport

// SubscribeEvents: the request checked, and a stream for whoever holds the
// stored events to send into.

import (
	"fmt"
	"time"

	"google.golang.org/grpc"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
	"github.com/event-gateway/event-gateway/stages"
	"github.com/event-gateway/event-gateway/stages/filter"
)

const (
	// maxGroup bounds the name of a group, in bytes.
	maxGroup = 128
	// clockSkew is how far a client's clock may be ahead before its start lies in the future.
	clockSkew = 2 * time.Second
)

// subscribe handles a call of SubscribeEvents.
func (s *Server) subscribe(_ any, ss grpc.ServerStream) error {
	rs, end, err := s.reading(ss)
	if err != nil {
		return err
	}
	defer end()
	request := &gatewayv1.SubscribeRequest{}
	if err := rs.request(request); err != nil {
		return rs.status(err)
	}
	give, err := s.filters.take(rs.client.Name, request.Filter)
	if err != nil {
		return rs.status(err)
	}
	defer give()
	sub, err := subscription(request)
	if err != nil {
		return rs.status(err)
	}
	sub.Name = rs.client.Name
	sub.Begun, sub.Deliver = rs.begun, rs.deliver
	sub.Idle = func(cursor string) error { return rs.send(&eventv1.Event{Cursor: cursor}) }
	return rs.status(s.Reading.Subscribe(rs.ctx, sub))
}

// subscription is what a request asks for.
func subscription(r *gatewayv1.SubscribeRequest) (*stages.Subscription, error) {
	start, refused := startOf(r)
	if refused == nil {
		refused = checkGroup(r)
	}
	if refused != nil {
		return nil, refused
	}
	match, err := filter.Compile(r.EventTypes, r.Sources, r.Filter)
	if err != nil {
		return nil, err
	}
	return &stages.Subscription{Start: start, Group: r.GroupId, Match: match, Heartbeat: r.Heartbeat}, nil
}

func startOf(r *gatewayv1.SubscribeRequest) (start stages.Start, refused *stages.Refusal) {
	switch {
	case r.Start == gatewayv1.SubscribeRequest_START_EARLIEST && (r.Cursor != "" || r.StartTimestamp != 0):
		return start, badField("start", "is START_EARLIEST, and cursor or start_timestamp is set too; one of them says where to begin")
	case r.Cursor != "" && r.StartTimestamp != 0:
		return start, badField("cursor", "is set, and start_timestamp too; one of them says where to begin")
	case r.Cursor != "":
		start.Cursor = r.Cursor
	case r.StartTimestamp < 0 || r.StartTimestamp > time.Now().Add(clockSkew).Unix():
		return start, badField("start_timestamp", fmt.Sprintf("is %d, a time of receipt from 0 (1970, UTC) to now is allowed; without it the subscription begins now", r.StartTimestamp))
	case r.StartTimestamp > 0:
		start.Time = time.Unix(r.StartTimestamp, 0)
	case r.Start == gatewayv1.SubscribeRequest_START_EARLIEST:
		start.Earliest = true
	case r.Start != gatewayv1.SubscribeRequest_START_UNSPECIFIED && r.Start != gatewayv1.SubscribeRequest_START_LATEST:
		return start, badField("start", fmt.Sprintf("is %d; START_LATEST and START_EARLIEST are allowed", r.Start))
	}
	return start, nil
}

func checkGroup(r *gatewayv1.SubscribeRequest) *stages.Refusal {
	switch {
	case r.GroupId == "":
		return nil
	case r.Cursor != "":
		return badField("cursor", "is set, and group_id too; the group's committed position says where to begin")
	case len(r.GroupId) > maxGroup:
		return badField("group_id", fmt.Sprintf("has %d bytes, %d are allowed", len(r.GroupId), maxGroup))
	}
	for _, c := range []byte(r.GroupId) {
		if c <= ' ' || c > '~' {
			return badField("group_id", "has a character other than those of printable ASCII without the blank")
		}
	}
	return nil
}
