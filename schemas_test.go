package main

import (
	"errors"
	"testing"
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

// dryRules stand in for rules.
type dryRules func(ev *stages.Event)

func (f dryRules) Apply(ev *stages.Event) bool { f(ev); return false }

func dryService(rule func(*stages.Event), panics chan<- any) *schemaService {
	topics := stages.NewTopics("events")
	topics.Default.SetPartitions(1)
	return &schemaService{
		parts: stages.DryRunParts{Config: stages.Config{MaxEventBytes: 1000}, Topics: topics,
			Rules: func(stages.Memory) stages.Rules { return dryRules(rule) }},
		turn: make(chan struct{}, 1), patience: time.Millisecond, panicked: func(value any, _ []byte) { panics <- value },
	}
}

// anEvent is an IngestEventRequest with source s and type t.
var anEvent = []byte("\x0a\x06\x12\x01s\x1a\x01t")

// Dry runs run beside the graph: one at a time, and a panic in one is its own.
func TestDryRunsTakeTurns(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	s := dryService(func(*stages.Event) { entered <- struct{}{}; <-leave }, nil)
	first := make(chan error, 1)
	go func() {
		_, err := s.DryRun(t.Context(), anEvent, &stages.Client{}, "", 0)
		first <- err
	}()
	<-entered
	_, err := s.DryRun(t.Context(), anEvent, &stages.Client{}, "", 0)
	var refused *stages.Refusal
	if !errors.As(err, &refused) || refused.Reason != stages.Overloaded {
		t.Errorf("a second dry run: %v", err)
	}
	leave <- struct{}{}
	if err := <-first; err != nil {
		t.Error(err)
	}
}

func TestPanicInADryRun(t *testing.T) {
	panics := make(chan any, 2)
	s := dryService(func(*stages.Event) { panic("a broken rule") }, panics)
	for range 2 { // the turn is given back
		_, err := s.DryRun(t.Context(), anEvent, &stages.Client{}, "", 0)
		var refused *stages.Refusal
		if !errors.As(err, &refused) || refused.Reason != stages.InternalError {
			t.Fatal(err)
		}
	}
	if len(panics) != 2 {
		t.Errorf("%d panics were logged", len(panics))
	}
	if _, err := s.DryRun(t.Context(), anEvent, &stages.Client{}, "a subject", 0); err == nil {
		t.Error("a schema was chosen without a registry")
	}
}
