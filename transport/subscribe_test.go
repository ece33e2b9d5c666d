package transport

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
	"github.com/event-gateway/event-gateway/stages"
)

// subscriptions serves subscriptions as a test says.
type subscriptions struct {
	stages.Reading
	subscribe func(context.Context, *stages.Subscription) error
}

func (f *subscriptions) Subscribe(ctx context.Context, s *stages.Subscription) error {
	return f.subscribe(ctx, s)
}

// storedOf is an event as it is read back, with n bytes of data.
func storedOf(t testing.TB, id string, n int) *stages.Delivery {
	t.Helper()
	ev := &eventv1.Event{Id: id, Source: "/s", Type: "t", Data: make([]byte, n), Cursor: "after " + id}
	frame, err := proto.Marshal(ev)
	if err != nil {
		t.Fatal(err)
	}
	return &stages.Delivery{Event: ev, Frame: frame}
}

// reader starts a gateway whose subscriptions are served by serve.
func reader(t testing.TB, change func(*setup), serve func(context.Context, *stages.Subscription) error) gatewayv1.EventGatewayClient {
	t.Helper()
	g := start(t, func(c *setup) {
		c.services.Reading = &subscriptions{subscribe: serve}
		if change != nil {
			change(c)
		}
	})
	return gatewayv1.NewEventGatewayClient(g.dial())
}

// Whatever is wrong with a request is said with a reason and the field.
func TestSubscribeRequestsThatAreRefused(t *testing.T) {
	client := reader(t, nil, func(context.Context, *stages.Subscription) error {
		t.Error("a bad request was served")
		return nil
	})
	for name, c := range map[string]struct {
		request *gatewayv1.SubscribeRequest
		reason  stages.Reason
		field   string
	}{
		"two starts":             {&gatewayv1.SubscribeRequest{Cursor: "x", StartTimestamp: 1}, stages.InvalidRequest, "cursor"},
		"earliest and a cursor":  {&gatewayv1.SubscribeRequest{Cursor: "x", Start: gatewayv1.SubscribeRequest_START_EARLIEST}, stages.InvalidRequest, "start"},
		"earliest and a time":    {&gatewayv1.SubscribeRequest{StartTimestamp: 1, Start: gatewayv1.SubscribeRequest_START_EARLIEST}, stages.InvalidRequest, "start"},
		"start in the future":    {&gatewayv1.SubscribeRequest{StartTimestamp: time.Now().Add(time.Hour).Unix()}, stages.InvalidRequest, "start_timestamp"},
		"start before 1970":      {&gatewayv1.SubscribeRequest{StartTimestamp: -1}, stages.InvalidRequest, "start_timestamp"},
		"start that is none":     {&gatewayv1.SubscribeRequest{Start: 9}, stages.InvalidRequest, "start"},
		"cursor with a group":    {&gatewayv1.SubscribeRequest{Cursor: "x", GroupId: "g"}, stages.InvalidRequest, "cursor"},
		"group with a blank":     {&gatewayv1.SubscribeRequest{GroupId: "a b"}, stages.InvalidRequest, "group_id"},
		"group with a long name": {&gatewayv1.SubscribeRequest{GroupId: strings.Repeat("g", 129)}, stages.InvalidRequest, "group_id"},
		"filter":                 {&gatewayv1.SubscribeRequest{Filter: "type =="}, stages.InvalidFilter, "filter"},
		"filter that is a text":  {&gatewayv1.SubscribeRequest{Filter: "type"}, stages.InvalidFilter, "filter"},
		"too many types":         {&gatewayv1.SubscribeRequest{EventTypes: make([]string, 101)}, stages.InvalidFilter, "event_types"},
		"request too large":      {&gatewayv1.SubscribeRequest{Filter: strings.Repeat("x", 70<<10)}, stages.InvalidRequest, ""},
	} {
		stream, err := client.SubscribeEvents(t.Context(), c.request)
		if err != nil {
			t.Fatal(err)
		}
		_, err = stream.Recv()
		if got := statusOf(err); got.reason != c.reason.String() || got.code != codes.Code(c.reason.Code()) {
			t.Errorf("%s: %v, want %v", name, err, c.reason)
		}
		if c.field != "" && badFieldOf(err) != c.field && !strings.HasPrefix(badFieldOf(err), c.field+"[") {
			t.Errorf("%s: the status names the field %q, want %q", name, badFieldOf(err), c.field)
		}
	}
}

func badFieldOf(err error) string {
	st, _ := status.FromError(err)
	for _, d := range st.Details() {
		if bad, ok := d.(*errdetails.BadRequest); ok {
			return bad.FieldViolations[0].Field
		}
	}
	return ""
}

// START_LATEST beside another start is no contradiction: there are clients that always set it.
func TestSubscribeLatestBesideAnotherStart(t *testing.T) {
	client := reader(t, nil, func(_ context.Context, s *stages.Subscription) error {
		return &stages.Refusal{Reason: stages.EventsExpired, Info: map[string]string{"start": fmt.Sprint(s.Start.Cursor, s.Start.Time.Unix() == 7, s.Start.Earliest)}}
	})
	for want, r := range map[string]*gatewayv1.SubscribeRequest{
		"xfalse false": {Cursor: "x", Start: gatewayv1.SubscribeRequest_START_LATEST},
		"true false":   {StartTimestamp: 7, Start: gatewayv1.SubscribeRequest_START_LATEST},
	} {
		stream, err := client.SubscribeEvents(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err = stream.Recv(); infoOf(err, "start") != want {
			t.Errorf("%v begins at %q, want %q: %v", r, infoOf(err, "start"), want, err)
		}
	}
}

// The request arrives as it was meant, the header at once, events of all sizes in order, and the error with what it knows.
func TestSubscribe(t *testing.T) {
	var events []*stages.Delivery
	for i := range 300 {
		events = append(events, storedOf(t, string(rune('a'+i%26)), i*i))
	}
	mayGo := make(chan struct{})
	client := reader(t, nil, func(_ context.Context, s *stages.Subscription) error {
		if s.Group != "g" || !s.Start.Earliest || !s.Heartbeat || s.Name == "" {
			t.Errorf("the subscription is %+v", s)
		}
		if wanted, err := s.Match(&eventv1.Event{Type: "t", Source: "/s", Metadata: map[string]string{"x": "1"}}); !wanted || err != nil {
			t.Errorf("the event is not wanted: %v", err)
		}
		if wanted, _ := s.Match(&eventv1.Event{Type: "t", Source: "/s"}); wanted {
			t.Error("an event is wanted that the filter leaves out")
		}
		if err := s.Begun(); err != nil {
			return err
		}
		<-mayGo
		if err := s.Idle("here"); err != nil {
			return err
		}
		if err := s.Deliver(events); err != nil {
			return err
		}
		return &stages.Refusal{Reason: stages.EventsExpired, Info: map[string]string{"earliest_cursor": "c"}}
	})
	stream, err := client.SubscribeEvents(t.Context(), &gatewayv1.SubscribeRequest{EventTypes: []string{"t*"}, Sources: []string{"/s"},
		Filter: `metadata["x"] == "1"`, GroupId: "g", Start: gatewayv1.SubscribeRequest_START_EARLIEST, Heartbeat: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Header(); err != nil { // before any event
		t.Fatal(err)
	}
	close(mayGo)
	beat, err := stream.Recv()
	if err != nil || beat.Cursor != "here" || beat.Type != "" {
		t.Fatalf("%v %v, want a heartbeat", beat, err)
	}
	for i, want := range events {
		ev, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if ev.Id != want.Event.Id || len(ev.Data) != i*i {
			t.Fatalf("event %d is %s with %d bytes", i, ev.Id, len(ev.Data))
		}
	}
	_, err = stream.Recv()
	if got := statusOf(err); got.code != codes.OutOfRange || infoOf(err, "earliest_cursor") != "c" {
		t.Errorf("%v with %q", err, infoOf(err, "earliest_cursor"))
	}
}

// A client that does not read is cut, and finds out with which cursor it can go on; its gateway does not wait for it.
func TestSubscriberThatNeverReads(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	client := reader(t, func(c *setup) { c.config.SendTimeout = 300 * time.Millisecond }, func(_ context.Context, s *stages.Subscription) error {
		err := s.Begun()
		for err == nil {
			err = s.Deliver([]*stages.Delivery{storedOf(t, "x", 1000)})
		}
		ended <- err
		return err
	})
	stream, err := client.SubscribeEvents(t.Context(), &gatewayv1.SubscribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err == nil {
			t.Error("the subscription ended without an error")
		}
	case <-time.After(patience):
		t.Fatal("the subscription goes on although nobody reads")
	}
	for err == nil {
		_, err = stream.Recv()
	}
	if got := statusOf(err); got.reason != stages.SlowClient.String() || infoOf(err, "cursor") != "after x" {
		t.Errorf("%v with %q, want SLOW_CLIENT with the last cursor", err, infoOf(err, "cursor"))
	}
}

// A subscription ends with its client, with the age of its stream, and with a drain.
func TestSubscriptionsEnd(t *testing.T) {
	t.Parallel()
	ended := make(chan error, 1)
	serve := func(ctx context.Context, s *stages.Subscription) error {
		if err := s.Begun(); err != nil {
			return err
		}
		<-ctx.Done()
		ended <- ctx.Err()
		return context.Cause(ctx)
	}
	t.Run("client", func(t *testing.T) {
		client := reader(t, nil, serve)
		ctx, cancel := context.WithCancel(t.Context())
		stream, err := client.SubscribeEvents(ctx, &gatewayv1.SubscribeRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Header(); err != nil {
			t.Fatal(err)
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	t.Run("age", func(t *testing.T) {
		client := reader(t, func(c *setup) { c.config.MaxConnectionAge = time.Second }, serve)
		stream, err := client.SubscribeEvents(t.Context(), &gatewayv1.SubscribeRequest{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = stream.Recv()
		if got := statusOf(err); got.reason != stages.StreamAge.String() {
			t.Error(err)
		}
		if err := <-ended; err == nil {
			t.Error("the subscription goes on")
		}
	})
	t.Run("drain", func(t *testing.T) {
		g := start(t, func(c *setup) { c.services.Reading = &subscriptions{subscribe: serve} })
		stream, err := gatewayv1.NewEventGatewayClient(g.dial()).SubscribeEvents(t.Context(), &gatewayv1.SubscribeRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Header(); err != nil {
			t.Fatal(err)
		}
		if err := g.server.Drain(t.Context()); err != nil {
			t.Error(err)
		}
		_, err = stream.Recv()
		if got := statusOf(err); got.reason != stages.Draining.String() {
			t.Error(err)
		}
		if err := <-ended; err == nil {
			t.Error("the subscription goes on")
		}
	})
}

func TestReadingIsDisabledWithoutKafka(t *testing.T) {
	client := gatewayv1.NewEventGatewayClient(start(t, nil).dial())
	stream, err := client.SubscribeEvents(t.Context(), &gatewayv1.SubscribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = stream.Recv(); statusOf(err).reason != stages.ReadingDisabled.String() {
		t.Error(err)
	}
}
