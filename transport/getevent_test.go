package transport

// GetEvent: the newest event with the id, as a subscriber gets it, and a reason
// for everything else.

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
	"github.com/event-gateway/event-gateway/stages"
)

const getEventMethod = "/gateway.v1.EventGateway/GetEvent"

// lookup is a Lookup of the test's own.
type lookup map[string][]byte

func (l lookup) Find(id string, b []byte) ([]byte, bool) {
	event, ok := l[id]
	return append(b, event...), ok
}

func TestGetEventAnswersWithWhatWasAcknowledged(t *testing.T) {
	g := start(t, func(c *setup) {
		c.pipeline.EventStoreCapacity, c.pipeline.EventStoreBytes = 1000, stages.MiB
	})
	c := gatewayv1.NewEventGatewayClient(g.dial())
	before := time.Now()
	// The same fields that the API does not know, so that it is the gateway that leaves them out.
	sent := &eventv1.Event{Source: "/shop", Type: "order.created", Subject: "42", Data: []byte("data"), DataContentType: "text/plain",
		DataSchema: "urn:x", PartitionKey: "k", Metadata: map[string]string{"a": "1", "b": "2"}}
	sent.ProtoReflect().SetUnknown(protowire.AppendString(protowire.AppendTag(nil, 99, protowire.BytesType), "unknown"))
	answer, err := c.IngestEvent(t.Context(), &gatewayv1.IngestEventRequest{Event: sent})
	if err != nil {
		t.Fatal(err)
	}
	got, err := c.GetEvent(t.Context(), &gatewayv1.GetEventRequest{Id: answer.EventId})
	if err != nil {
		t.Fatal(err)
	}
	if at := got.Timestamp.AsTime(); at.Before(before.Add(-time.Second)) || at.After(time.Now()) {
		t.Errorf("the time of receipt is %v", at)
	}
	sent.ProtoReflect().SetUnknown(nil)
	sent.Id, sent.Timestamp = answer.EventId, got.Timestamp
	if !proto.Equal(got, sent) {
		t.Errorf("got  %v\nsent %v", got, sent)
	}

	for _, data := range []string{"first", "second"} { // the id's latest event
		if _, err := c.IngestEvent(t.Context(), &gatewayv1.IngestEventRequest{Event: &eventv1.Event{Id: "same", Source: data, Type: "t"}}); err != nil {
			t.Fatal(err)
		}
	}
	if got, err = c.GetEvent(t.Context(), &gatewayv1.GetEventRequest{Id: "same"}); err != nil || got.Source != "second" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestGetEventSaysWhyNot(t *testing.T) {
	get := func(g *gateway, id string) error {
		_, err := gatewayv1.NewEventGatewayClient(g.dial()).GetEvent(g.context(), &gatewayv1.GetEventRequest{Id: id})
		return err
	}
	off := start(t, nil)
	mustFail(t, get(off, "x"), codes.FailedPrecondition, "STORE_DISABLED")
	g := start(t, func(c *setup) { c.services.Lookup = lookup{"broken": {0xff}} })
	mustFail(t, get(g, "x"), codes.NotFound, "EVENT_NOT_FOUND")
	mustFail(t, get(g, ""), codes.InvalidArgument, "INVALID_REQUEST")
	mustFail(t, get(g, strings.Repeat("x", 1025)), codes.InvalidArgument, "INVALID_REQUEST")
	mustFail(t, get(g, "broken"), codes.Internal, "INTERNAL")
}

// TestUnreadAnswersOfGetEventAreBounded: events that nobody takes count like other answers, or 256 calls of one connection held 240 MiB
// for as long as it lived.
func TestUnreadAnswersOfGetEventAreBounded(t *testing.T) {
	big := storedOf(t, "big", 800<<10)
	g := start(t, func(c *setup) {
		c.config.SendTimeout = 300 * time.Millisecond
		c.services.Lookup = lookup{"big": big.Frame}
	})
	g.server.send.room = 2 << 20
	deaf := g.rawHTTP2()
	deaf.shut()
	message := framed(t, &gatewayv1.GetEventRequest{Id: "big"})
	var quit atomic.Bool
	for i := range uint32(20) {
		deaf.open(2*i+1, getEventMethod)
		if !deaf.send(2*i+1, message, &quit) {
			break
		}
		deaf.endStream(2*i + 1)
	}
	g.eventually("the connection was cut", func() bool { return g.server.send.cut.Load() > 0 })
	g.good()
	g.nothingHeld()
	_ = deaf.conn.Close()
}
