package stages

// A dry run says what the gateway would.

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/protobuf/proto"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
)

func dryRun(t *testing.T, parts DryRunParts, event *eventv1.Event) *Event {
	t.Helper()
	parts.Config = Config{MaxEventBytes: 10_000}
	if parts.Topics == nil {
		parts.Topics = NewTopics("orders")
		parts.Topics.Default.SetPartitions(1)
	}
	ev, err := NewDryRun(parts).Run(t.Context(), request(encode(t, event)), &Client{Name: "c"})
	if err != nil {
		t.Fatal(err)
	}
	return ev
}

func TestDryRun(t *testing.T) {
	sent := sample()
	ev := dryRun(t, DryRunParts{}, sent)
	if mustLive(t, ev); ev.Topic.Name != "orders" || !proto.Equal(ev.Proto(), sent) {
		t.Fatalf("to %v: %v", ev.Topic, ev.Proto())
	}
	ev = dryRun(t, DryRunParts{}, &eventv1.Event{Source: "s", Type: "t"})
	if p := ev.Proto(); len(p.Id) != 36 || !p.Timestamp.IsValid() || p.Timestamp.Seconds == 0 {
		t.Fatalf("without id and time: %v", p)
	}
	mustRefuse(t, dryRun(t, DryRunParts{}, &eventv1.Event{Source: "s"}), AtValidate, InvalidEvent,
		&Detail{Field: "type", Message: "is required: say what happened, for example order.created"})
	ev = dryRun(t, DryRunParts{Rules: func(m Memory) Rules {
		return ruleFunc(func(ev *Event) bool {
			ev.Data = m.Take(ev, 3)
			copy(ev.Data, "new")
			return true
		})
	}}, sent)
	if mustLive(t, ev); string(ev.Data) != "new" {
		t.Fatalf("data %q", ev.Data)
	}
	letters := lettersOn(AtValidate)
	letters.Topic.SetPartitions(1)
	if ev = dryRun(t, DryRunParts{Letters: letters}, &eventv1.Event{Source: "s"}); !ev.Dead || ev.Letter.Verdict.Reason != InvalidEvent {
		t.Fatalf("not dead: %+v", ev.Verdict)
	}
}

// A dry run waits for the schema, as long as its caller does.
func TestDryRunWaitsForSchemas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fetched atomic.Bool
		schemas := func(wake func()) Schemas {
			return schemaFunc(func(ev *Event) bool {
				if !fetched.Load() {
					time.AfterFunc(time.Minute, func() {
						fetched.Store(true)
						wake()
					})
					return true
				}
				ev.Refuse(AtValidate, SchemaViolation, nil)
				return false
			})
		}
		parts := DryRunParts{Config: Config{MaxEventBytes: 10_000}, Topics: NewTopics("orders"), Schemas: schemas}
		d := NewDryRun(parts)
		frame := request(encode(t, sample()))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := d.Run(ctx, frame, &Client{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("a caller that leaves gets %v", err)
		}
		time.Sleep(2 * time.Minute) // of the bubble's clock
		fetched.Store(false)
		ev, err := d.Run(t.Context(), frame, &Client{})
		if err != nil {
			t.Fatal(err)
		}
		mustRefuse(t, ev, AtValidate, SchemaViolation, nil)
	})
}

type schemaFunc func(*Event) bool

func (f schemaFunc) Check(ev *Event) bool { return f(ev) }
