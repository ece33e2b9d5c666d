package stages

// What the tests share: encoded events, messages with their owner, and events
// in the state in which a stage meets them.

import (
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sample is a usual event: 10 fields and about 450 bytes, like the figures in DESIGN.md.
func sample() *eventv1.Event {
	return &eventv1.Event{
		Id:              "018f2d1e-7c3a-7b61-9a3e-2f6c1d0b8a55",
		Source:          "/shop/checkout",
		Type:            "order.created",
		Subject:         "order/4711",
		Data:            make([]byte, 220),
		DataContentType: "application/json",
		DataSchema:      "https://schemas.example.org/order/3",
		Timestamp:       &timestamppb.Timestamp{Seconds: 1_700_000_000, Nanos: 5},
		Metadata: map[string]string{
			"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
		},
		PartitionKey: "customer-42",
	}
}

// encode is the deterministic wire form.
func encode(tb testing.TB, m proto.Message) []byte {
	tb.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// field appends a length-delimited field.
func field(b []byte, number protowire.Number, value string) []byte {
	return protowire.AppendString(protowire.AppendTag(b, number, protowire.BytesType), value)
}

// request is encoded events as field 1 of a request, single or batch.
func request(events ...[]byte) []byte {
	var b []byte
	for _, ev := range events {
		b = field(b, 1, string(ev))
	}
	return b
}

// countingOwner counts the calls of Completed.
type countingOwner struct{ completed atomic.Int32 }

func (o *countingOwner) Completed(*Message) { o.completed.Add(1) }

// newMessage is an armed message of n events.
func newMessage(kind Kind, frame []byte, n int) *Message {
	m := &Message{Kind: kind, Frame: frame, Client: &Client{Name: "test"}, Owner: &countingOwner{}, Received: time.Unix(1, 0)}
	m.Arm(n)
	return m
}

// batchMessage is a batch as transport submits it.
func batchMessage(tb testing.TB, frame []byte) *Message {
	tb.Helper()
	n, _, ok := Scan(frame)
	if !ok {
		tb.Fatalf("Scan refuses % x", frame)
	}
	return newMessage(Batch, frame, n)
}

// liveEvents are the n events of one message, decoded and valid.
func liveEvents(n int) []*Event {
	m := newMessage(Batch, nil, n)
	events := make([]*Event, n)
	for i := range events {
		events[i] = &Event{Msg: m, Index: i, Size: 100}
		events[i].Source.Value, events[i].Type.Value = []byte("s"), []byte("t")
	}
	return events
}

// mustRefuse checks an event's refusal; detail may be nil for none.
func mustRefuse(t *testing.T, ev *Event, at StageID, reason Reason, detail *Detail) {
	t.Helper()
	v := ev.Verdict
	if v.Outcome != Refused || v.Reason != reason || v.Stage != at {
		t.Fatalf("the event is %v at %v (%v), want refused at %v (%v)", v.Outcome, v.Stage, v.Reason, at, reason)
	}
	switch {
	case (v.Detail == nil) != (detail == nil):
		t.Fatalf("detail %+v, want %+v", v.Detail, detail)
	case detail != nil && !reflect.DeepEqual(v.Detail, detail):
		t.Fatalf("detail %+v, want %+v", *v.Detail, *detail)
	}
}

// together runs the functions at once: none begins before all are running.
func together(acts ...func()) {
	var ready atomic.Int32
	var running sync.WaitGroup
	for _, act := range acts {
		running.Go(func() {
			ready.Add(1)
			for int(ready.Load()) < len(acts) {
				runtime.Gosched()
			}
			act()
		})
	}
	running.Wait()
}

// lockstep runs the functions for 0 to n-1, each number at the same instant in
// all of them, give or take some nanoseconds that vary from one to the next.
func lockstep(n int, acts ...func(i int)) {
	var arrived atomic.Int64
	var running sync.WaitGroup
	for a, act := range acts {
		running.Go(func() {
			for i := range n {
				arrived.Add(1)
				for spins := 0; arrived.Load() < int64((i+1)*len(acts)); spins++ {
					if spins > 200 { // the other one has no processor
						runtime.Gosched()
					}
				}
				for range i >> (4 * a) & 15 {
					arrived.Load()
				}
				act(i)
			}
		})
	}
	running.Wait()
}

// mustLive checks that no stage has ended the event.
func mustLive(t *testing.T, ev *Event) {
	t.Helper()
	if !ev.Live() {
		t.Fatalf("the event was ended: %v %v %+v", ev.Verdict.Outcome, ev.Verdict.Reason, ev.Verdict.Detail)
	}
}

// hand and acknowledge move one event.
func hand(m *Message, i int) bool        { return m.Hand(just(i)).Has(i) }
func acknowledge(m *Message, i int) bool { return m.WinAcknowledged(just(i)).Has(i) }
