package main

// Building the gateway from its parts and starting them, in the order that
// main.go shows.

import (
	"context"
	"fmt"
	"io"
	"os"
	"reflect"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/rs/zerolog"
	"google.golang.org/grpc/grpclog"

	"github.com/event-gateway/event-gateway/kafka"
	"github.com/event-gateway/event-gateway/kafka/registry"
	"github.com/event-gateway/event-gateway/pipeline"
	"github.com/event-gateway/event-gateway/stages"
	"github.com/event-gateway/event-gateway/stages/schema"
	"github.com/event-gateway/event-gateway/transport"
)

// gateway is the running process. Its parts are written by start, before anything else looks at them, and
// stay as they are.
type gateway struct {
	cfg *config
	log *logs

	topics   *stages.Topics
	breaker  *stages.Breaker
	pipeline *pipeline.Pipeline
	embedded *kafka.Embedded  // nil unless the gateway is its own broker
	producer *kafka.Producer  // nil unless SINK=kafka
	readers  *kafka.Readers   // like producer
	registry *registry.Client // nil unless SCHEMA_VALIDATION_ENABLED
	schemas  *schema.Cache    // like registry
	server   *transport.Server
	admin    *transport.Admin

	draining atomic.Bool
	// failed gets the first error of a server that stopped by itself.
	failed chan error
	// serving ends with both servers; watching, which follows readiness, with stopWatching.
	serving, watching sync.WaitGroup
	stopWatching      context.CancelFunc
}

func newGateway(cfg *config, log *logs) *gateway {
	return &gateway{cfg: cfg, log: log, failed: make(chan error, 2), stopWatching: func() {}}
}

// start brings everything up; after an error, halt takes down what is up.
func (g *gateway) start() error {
	grpclog.SetLoggerV2(grpcLogs{g.log})
	g.topics = stages.NewTopics(g.cfg.kafka.Topics()...)
	g.breaker = stages.NewBreaker(g.cfg.stages.BreakerOpenAfter, g.breakerChanged)
	if err := g.openSchemas(); err != nil {
		return err
	}
	parts := g.parts()
	p, err := pipeline.New(g.cfg.pipeline, parts)
	if err != nil {
		return err
	}
	sink, err := g.openSink(p)
	if err != nil {
		return err
	}
	p.Start(sink)
	g.pipeline = p
	if err := g.openReading(); err != nil {
		return err
	}
	services := transport.Services{Schemas: g.schemaService(&parts), Reading: g.reading(), Topics: g.topics}
	if g.server, err = transport.New(g.cfg.transport, p, services, nil); err != nil {
		return err
	}
	g.admin, err = transport.NewAdmin(g.cfg.transport, transport.AdminParts{Ready: g.ready, Metrics: g.metrics()})
	if err != nil {
		return err
	}
	g.run(g.server.Serve)
	g.run(g.admin.Serve)
	ctx, stop := context.WithCancel(context.Background())
	g.stopWatching = stop
	g.watching.Go(func() { g.watchReadiness(ctx) })
	return nil
}

// parts are what the graph works with.
func (g *gateway) parts() pipeline.Parts {
	parts := pipeline.Parts{
		Stages: g.cfg.stages, Topics: g.topics, Breaker: g.breaker, Log: g.log,
		RecordSize: g.cfg.kafka.RecordFormat.EncodedSize,
		Letters:    stages.NewDeadLetters(g.cfg.stages, g.topics.Named(g.cfg.kafka.DLQTopic)),
	}
	if rules := g.cfg.rules; rules.Len() > 0 {
		parts.Rules = func(m stages.Memory) stages.Rules { return rules.NewWorker(g.topics, m) }
	}
	if cache := g.schemas; cache != nil {
		parts.Schemas = func(wake func()) stages.Schemas { return cache.NewWorker(wake) }
	}
	return parts
}

// openSchemas opens the registry, which is not asked before the first event needs a schema.
func (g *gateway) openSchemas() (err error) {
	if !g.cfg.schema.Enabled {
		return nil
	}
	if g.registry, err = registry.New(g.cfg.schema); err != nil {
		return fmt.Errorf("schema registry: %w", err)
	}
	g.schemas = schema.New(g.cfg.schema, g.registry, schema.Options{Topic: g.cfg.kafka.Topic, Failed: func(name string, err error) {
		g.log.limited(zerolog.WarnLevel, "schema", "a schema could not be fetched", "schema", name, "error", err.Error())
	}})
	return nil
}

// schemaService answers for the gRPC service with the graph's own parts.
func (g *gateway) schemaService(parts *pipeline.Parts) *schemaService {
	s := &schemaService{parts: stages.DryRunParts{
		Config: parts.Stages, Topics: parts.Topics, Letters: parts.Letters, RecordSize: parts.RecordSize,
	}, turn: make(chan struct{}, 1), patience: g.cfg.pipeline.AdmissionTimeout, panicked: func(value any, stack []byte) {
		g.log.Error().Interface("panic", value).Bytes("stack", stack).Msg("a dry run panicked")
	}}
	if rules := g.cfg.rules; rules.Len() > 0 {
		s.parts.Rules = func(m stages.Memory) stages.Rules { return rules.NewTrial(g.topics, m) }
	}
	if g.schemas != nil {
		s.cache = g.schemas
		s.registry = registry.NewService(g.registry, g.schemas.Refresh, g.cfg.schema.Registration)
	}
	return s
}

// run serves on a goroutine until the server is stopped.
func (g *gateway) run(serve func() error) {
	g.serving.Go(func() {
		if err := serve(); err != nil {
			g.failed <- err
		}
	})
}

// openSink opens what the produce stage hands over to.
func (g *gateway) openSink(p *pipeline.Pipeline) (stages.Producer, error) {
	partitions := int(g.cfg.kafka.NumPartitions)
	switch g.cfg.process.Sink {
	case sinkDiscard:
		return stages.NewDiscard(g.topics, partitions, p.Report), nil
	case sinkLog:
		return stages.NewLogSink(g.topics, partitions, os.Stdout, p.Report), nil
	}
	var err error
	if g.cfg.kafka.Embedded() {
		if g.embedded, err = kafka.StartEmbedded(&g.cfg.kafka, g.log); err != nil {
			return nil, fmt.Errorf("embedded broker: %w", err)
		}
	}
	g.producer, err = kafka.NewProducer(&g.cfg.kafka, kafka.Parts{
		Topics: g.topics, Breaker: g.breaker, Report: p.Report, Acknowledged: p.Acknowledged, Log: g.log, MaxEvents: p.MaxEvents(),
		DeliveryTimeout: g.cfg.pipeline.DeliveryTimeout, Embedded: g.embedded, Now: p.Now,
	})
	if err != nil {
		return nil, err // not g.producer: a nil *Producer is not a nil Producer
	}
	for _, warning := range g.producer.Warnings() {
		g.log.Warn().Msg(warning)
	}
	return g.producer, nil
}

func (g *gateway) breakerChanged(from, to stages.BreakerState) {
	level := zerolog.WarnLevel
	if to == stages.BreakerClosed {
		level = zerolog.InfoLevel
	}
	g.log.limited(level, "breaker "+to.String(), "circuit breaker changed", "from", from.String(), "to", to.String())
}

// ready says why the gateway should get no traffic now, and what an operator should know all the same.
func (g *gateway) ready() (reasons, warnings []string) {
	if g.draining.Load() {
		reasons = append(reasons, "draining")
	}
	if g.producer != nil {
		if err := g.producer.Ready(); err != nil {
			reasons = append(reasons, err.Error())
		}
		warnings = g.producer.Warnings()
	}
	return reasons, warnings
}

const (
	// How often readiness is looked at: often until Kafka has answered, because a start waits for it.
	readyPoll    = 250 * time.Millisecond
	startingPoll = 10 * time.Millisecond
)

// watchReadiness keeps grpc.health in step with ready, and logs the changes.
func (g *gateway) watchReadiness(ctx context.Context) {
	ticker := time.NewTicker(startingPoll)
	defer ticker.Stop()
	began, was := time.Now(), false
	for first := true; ; {
		reasons, _ := g.ready()
		is := len(reasons) == 0
		switch {
		case is && !was:
			g.server.SetServing(true)
			g.log.limited(zerolog.InfoLevel, "ready", "ready", "after", time.Since(began).String())
			if first {
				first = false
				ticker.Reset(readyPoll)
			}
		case !is && was && !g.draining.Load():
			g.server.SetServing(false)
			g.log.limited(zerolog.WarnLevel, "not ready", "not ready", "reasons", reasons)
		}
		was = is
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// metrics are the writers of /metrics.
func (g *gateway) metrics() []func(io.Writer) {
	writers := []func(io.Writer){
		func(w io.Writer) {
			_, _ = fmt.Fprintf(w, "gateway_build_info{version=%q,go_version=%q,environment=%q,sink=%q} 1\n",
				buildVersion(), runtime.Version(), g.cfg.process.Environment, g.cfg.process.Sink)
		},
		g.pipeline.WriteMetrics, g.server.WriteMetrics,
	}
	if g.producer != nil {
		writers = append(writers, g.producer.WriteMetrics)
	}
	if g.readers != nil {
		writers = append(writers, g.readers.WriteMetrics)
	}
	if g.cfg.rules.Len() > 0 {
		writers = append(writers, g.cfg.rules.WriteMetrics)
	}
	if g.schemas != nil {
		writers = append(writers, g.schemas.WriteMetrics)
	}
	return append(writers, metrics.WriteProcessMetrics)
}

// logStart writes the one line that says what has started.
func (g *gateway) logStart(environ map[string]string, took time.Duration) {
	c := g.pipeline.Config()
	effective := decided(g.cfg.pipeline, c)
	settings := map[string]string{}
	for _, s := range g.cfg.settings(environ) {
		// Text is for eyes: only what differs from the default.
		if g.cfg.process.LogFormat == "text" && !s.FromEnvironment {
			continue
		}
		if settings[s.Name] = s.Value; s.Secret && s.Value != "" {
			settings[s.Name] = "***"
		}
		if value, ok := effective[s.Name]; ok {
			settings[s.Name] = value
		}
	}
	workers := map[string]int{
		"decode": c.DecodeWorkers, "validate": c.ValidateWorkers, "ratelimit": c.RateLimitWorkers,
		"transform": c.TransformWorkers, "batch": c.BatchWorkers, "produce": c.ProduceWorkers,
	}
	g.log.Info().Str("version", buildVersion()).Str("environment", g.cfg.process.Environment).
		Stringer("grpc", g.server.Addr()).Stringer("http", g.admin.Addr()).Str("sink", g.cfg.process.Sink).
		Int("gomaxprocs", runtime.GOMAXPROCS(0)).Interface("workers", workers).Interface("settings", settings).
		Dur("took_ms", took).Msg("gateway started")
	if !g.cfg.stages.RateLimitEnabled {
		g.log.Info().Msg("RATE_LIMIT_ENABLED=false: clients are not limited")
	}
	if g.cfg.process.Sink == sinkLog {
		g.log.Info().Str("log_output", g.cfg.process.LogOutput).Msg("SINK=log: stdout has the events, the log goes elsewhere")
	}
}

// decided are the settings for which the gateway has found a value itself, as 0 asks it to.
func decided(asked, effective pipeline.Config) map[string]string {
	values := map[string]string{}
	before, after := reflect.ValueOf(asked), reflect.ValueOf(effective)
	for _, field := range reflect.VisibleFields(before.Type()) {
		value := after.FieldByIndex(field.Index)
		if name := field.Tag.Get("env"); name != "" && !value.Equal(before.FieldByIndex(field.Index)) {
			values[name] = fmt.Sprint(value.Interface())
		}
	}
	return values
}
