package stages

// A dry run: what the gateway would make of an event, and say to it, now. The
// stages up to transform run one after the other on the caller's goroutine;
// nothing is charged, counted or produced.

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
)

// DryRunParts are what a dry run works with: those of the graph.
type DryRunParts struct {
	Config     Config
	Topics     *Topics
	Letters    DeadLetters
	RecordSize RecordSizer
	// Rules and Schemas make instances for the dry run; nil: there are none.
	Rules   func(Memory) Rules
	Schemas func(wake func()) Schemas
}

// DryRun is used by one goroutine at a time.
type DryRun struct {
	decoder   *Decoder
	validate  *Validate
	transform *Transform
	// woken gets a token when a schema was fetched.
	woken chan struct{}
}

// NewDryRun returns a dry run.
func NewDryRun(parts DryRunParts) *DryRun {
	d := &DryRun{decoder: NewDecoder(parts.Config, parts.Letters, 0), woken: make(chan struct{}, 1)}
	v := ValidateParts{Letters: parts.Letters, RecordSize: parts.RecordSize}
	t := TransformParts{Letters: parts.Letters, RecordSize: parts.RecordSize}
	if parts.Rules != nil || parts.Schemas != nil {
		t.Memory = heap{}
	}
	if parts.Rules != nil {
		v.RecordSize, t.Rules = nil, parts.Rules(t.Memory)
	}
	d.validate = NewValidate(parts.Topics, v)
	if parts.Schemas != nil {
		d.validate.UseSchemas(parts.Schemas(d.wake))
	}
	d.transform = NewTransform(parts.Topics, t)
	return d
}

// heap is memory that nobody counts: a dry run has one event.
type heap struct{}

func (heap) Begin() {}

func (heap) Take(_ *Event, n int) []byte { return make([]byte, n) }

func (d *DryRun) wake() {
	d.validate.Again()
	select {
	case d.woken <- struct{}{}:
	default:
	}
}

// Run returns the event as it would go to batch: Live with a topic and a partition, or ended, or Dead. frame is an
// IngestEventRequest. The error is ctx's, when a schema did not come in time.
func (d *DryRun) Run(ctx context.Context, frame []byte, client *Client) (*Event, error) {
	m := NewMessage(1)
	m.Frame, m.Kind, m.Client, m.Received = frame, Single, client, time.Now()
	m.Entered = m.Received
	m.Arm(1)
	d.decoder.Start(m)
	ev := &Event{}
	d.decoder.Next(ev)
	burst := []*Event{ev}
	d.validate.Process(burst)
	for kept := d.validate.Kept() > 0; kept; kept = d.validate.Resume() == nil {
		select {
		case <-d.woken:
		case <-ctx.Done():
			d.validate.Drop()
			return nil, fmt.Errorf("waiting for the event's schema: %w", ctx.Err())
		}
	}
	d.validate.Drop()
	d.transform.Process(burst)
	return ev, nil
}

// Proto is the event as the generated type, with its id and time, as a subscriber would get it.
func (e *Event) Proto() *eventv1.Event {
	p := &eventv1.Event{
		Id: string(e.ID.Value), Source: string(e.Source.Value), Type: string(e.Type.Value), Subject: string(e.Subject.Value),
		Data: e.Data, DataContentType: string(e.DataContentType.Value), DataSchema: string(e.DataSchema.Value),
		Timestamp: timestamppb.New(e.Time()), PartitionKey: string(e.PartitionKey.Value),
	}
	for i := range e.Metadata {
		if p.Metadata == nil {
			p.Metadata = make(map[string]string, len(e.Metadata))
		}
		p.Metadata[string(e.Metadata[i].Name)] = string(e.Metadata[i].Value)
	}
	return p
}
