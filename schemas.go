package main

// What schema.v1.SchemaService asks: dry runs by the gateway's own stages, and the
// registry, if there is one.

import (
	"context"
	"fmt"

	"github.com/event-gateway/event-gateway/kafka/registry"
	schemav1 "github.com/event-gateway/event-gateway/proto/schema/v1"
	"github.com/event-gateway/event-gateway/stages"
)

// schemaService implements transport.Schemas.
type schemaService struct {
	parts stages.DryRunParts
	// cache has the schemas of dry runs; nil with validation off, like registry.
	cache    dryCache
	registry *registry.Service
}

// dryCache is what dry runs need of a schema.Cache.
type dryCache interface {
	NewTrial(subject string, version int, wake func()) stages.Schemas
}

// DryRun implements transport.Schemas. Every dry run has stages of its own: they are cheap, and a fetch that takes its
// time holds up nobody else.
func (s *schemaService) DryRun(ctx context.Context, frame []byte, client *stages.Client, subject string, version int) (*stages.Event, error) {
	parts := s.parts
	if s.cache != nil {
		parts.Schemas = func(wake func()) stages.Schemas { return s.cache.NewTrial(subject, version, wake) }
	} else if subject != "" {
		return nil, &stages.Refusal{Reason: stages.SchemasDisabled}
	}
	ev, err := stages.NewDryRun(parts).Run(ctx, frame, client)
	if err != nil {
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
