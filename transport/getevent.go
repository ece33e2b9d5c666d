package transport

// GetEvent: one of the events that this instance has in memory, by its id. The
// request is read like those of the ingest methods, so that whatever is sent is
// answered with a reason.

import (
	"context"
	"fmt"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
	"github.com/event-gateway/event-gateway/stages"
)

// Lookup has recent events. Safe for concurrent use.
type Lookup interface {
	// Find appends the newest event with the id to b, as an encoded event.v1.Event, which may have unknown fields.
	// False: it is not there.
	Find(id string, b []byte) (event []byte, ok bool)
}

func (s *Server) getEvent(c schemaCall) (proto.Message, error) {
	if s.Lookup == nil {
		return nil, &stages.Refusal{Reason: stages.StoreDisabled}
	}
	r := &gatewayv1.GetEventRequest{}
	return answerTo(c, r, checkGetEvent(r), s.find)
}

func checkGetEvent(r *gatewayv1.GetEventRequest) func() *stages.Refusal {
	return func() *stages.Refusal {
		switch {
		case r.Id == "":
			return badField("id", "is required")
		case len(r.Id) > stages.MaxAttributeBytes:
			return badField("id", fmt.Sprintf("has %d bytes; an event's id has at most %d", len(r.Id), stages.MaxAttributeBytes))
		}
		return nil
	}
}

// find answers with the event as a subscriber gets it: what the API does not know is left out.
func (s *Server) find(_ context.Context, r *gatewayv1.GetEventRequest) (*eventv1.Event, error) {
	encoded, ok := s.Lookup.Find(r.Id, nil)
	if !ok {
		return nil, &stages.Refusal{Reason: stages.EventNotFound, Detail: &stages.Detail{Message: fmt.Sprintf(
			"no event with the id %q is among the recent ones of this instance", r.Id)}}
	}
	ev := &eventv1.Event{}
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(encoded, ev); err != nil {
		return nil, &stages.Refusal{Reason: stages.InternalError}
	}
	return ev, nil
}
