package main

// What schema.v1.SchemaService asks: dry runs by the gateway's own stages, and the
// registry, if there is one.

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/event-gateway/event-gateway/kafka/registry"
	schemav1 "github.com/event-gateway/event-gateway/proto/schema/v1"
	"github.com/event-gateway/event-gateway/stages"
)

// schemaService implements transport.Schemas.
type schemaService struct {
	parts stages.DryRunParts
	// turn is held by the one dry run that is under way. They run beside the graph, on no worker's time and in no
	// budget: two would leave a small machine's graph nothing.
	turn chan struct{}
	// patience is how long a dry run waits for its turn (ADMISSION_TIMEOUT).
	patience time.Duration
	// panicked logs a panic.
	panicked func(value any, stack []byte)
	// cache has the schemas of dry runs; nil with validation off, like registry.
	cache    dryCache
	registry *registry.Service
}

// dryCache is what dry runs need of a schema.Cache.
type dryCache interface {
	NewTrial(subject string, version int, wake func()) stages.Schemas
}

// DryRun implements transport.Schemas. Every dry run has stages of its own, so that nothing of one is left for the next.
func (s *schemaService) DryRun(ctx context.Context, frame []byte, client *stages.Client, subject string, version int) (ev *stages.Event, err error) {
	parts := s.parts
	if s.cache != nil {
		parts.Schemas = func(wake func()) stages.Schemas { return s.cache.NewTrial(subject, version, wake) }
	} else if subject != "" {
		return nil, &stages.Refusal{Reason: stages.SchemasDisabled}
	}
	patience := time.NewTimer(s.patience)
	defer patience.Stop()
	select {
	case s.turn <- struct{}{}:
	case <-patience.C:
		return nil, &stages.Refusal{Reason: stages.Overloaded, Detail: &stages.Detail{Message: "another dry run is under way; they take turns"}}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() {
		<-s.turn
		if value := recover(); value != nil { // the graph would answer INTERNAL and go on, too
			s.panicked(value, debug.Stack())
			ev, err = nil, &stages.Refusal{Reason: stages.InternalError}
		}
	}()
	if ev, err = stages.NewDryRun(parts).Run(ctx, frame, client); err != nil {
		return nil, fmt.Errorf("dry run: %w", err)
	}
	return ev, nil
}

// List implements transport.Schemas.
func (s *schemaService) List(ctx context.Context, r *schemav1.ListSchemasRequest) (*schemav1.ListSchemasResponse, error) {
	if s.registry == nil {
		return nil, &stages.Refusal{Reason: stages.SchemasDisabled}
	}
	return s.registry.List(ctx, r)
}

// Get implements transport.Schemas.
func (s *schemaService) Get(ctx context.Context, r *schemav1.GetSchemaRequest) (*schemav1.GetSchemaResponse, error) {
	if s.registry == nil {
		return nil, &stages.Refusal{Reason: stages.SchemasDisabled}
	}
	return s.registry.Get(ctx, r)
}

// Register implements transport.Schemas.
func (s *schemaService) Register(ctx context.Context, r *schemav1.RegisterSchemaRequest) (*schemav1.RegisterSchemaResponse, error) {
	if s.registry == nil {
		return nil, &stages.Refusal{Reason: stages.SchemasDisabled}
	}
	return s.registry.Register(ctx, r)
}
