package main

// The end. drain() is the orderly one:
//
//	1 not ready: /ready 503, grpc.health NOT_SERVING
//	2 SHUTDOWN_GRACE: still serving, while load balancers take notice
//	3 source: nothing more is read; every record in flight gets its outcome, offsets are committed, the group is left;
//	  meanwhile gRPC: GOAWAY, streams are no longer read, every event in flight gets its outcome, connections close
//	4 pipeline idle: also what nobody waits for any more has been settled
//	5 Kafka client flushed
//	6 halt: readers, source, workers, Kafka client, janitor, embedded broker, HTTP server, in this order
//
// When the time for 2 to 5 is over, everything in flight is answered at once:
// refused DRAINING if it was not handed to Kafka, else unknown; exit code 3.
// When nothing is in flight then, clients have not read their answers: that is
// theirs, connections are closed, and the exit code stays 0.

import (
	"context"
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

// hardEnd is the part of SHUTDOWN_TIMEOUT that is kept for answering what is left and for halting: a
// tenth, but at most 2 s; both take milliseconds unless clients do not read.
func hardEnd(total time.Duration) time.Duration { return min(total/10, 2*time.Second) }

// drain stops the gateway and returns the exit code.
func (g *gateway) drain() int {
	total := g.cfg.process.ShutdownTimeout
	began := time.Now()
	last, cancelLast := context.WithDeadline(context.Background(), began.Add(total))
	defer cancelLast()
	ctx, cancel := context.WithDeadline(last, began.Add(total-hardEnd(total)))
	defer cancel()

	g.draining.Store(true)
	g.stopWatching()
	g.watching.Wait()
	g.server.SetServing(false)
	_ = g.step("grace", func() error { return g.grace(ctx) })
	code := exitStopped
	source := g.drainSource(ctx)
	err := g.step("streams and calls answered", func() error { return g.server.Drain(ctx) })
	if err != nil && g.pipeline.InFlight() == 0 {
		// Every event has its outcome, and time has not run out on Kafka: only clients that do not read are waited for.
		g.log.Warn().Msg("clients have not read their last answers in the time for the drain: closing their connections")
		g.server.Stop()
		ctx, err = last, nil
	}
	if ended := <-source; err == nil {
		err = ended
	}
	if err == nil {
		err = g.step("pipeline idle", func() error { return g.pipeline.AwaitIdle(ctx) })
	}
	if err == nil && g.producer != nil {
		err = g.step("kafka flushed", func() error { return g.producer.Flush(ctx) })
	}
	if err != nil {
		g.cutOff(last)
		code = exitDrainTimeout
	}
	_ = g.step("halted", func() error { return g.haltWithin(last) })
	totals := g.pipeline.Totals(stages.FromGRPC)
	line := g.log.Info()
	if code != exitStopped {
		line = g.log.Warn()
	}
	for outcome := stages.Acknowledged; outcome < stages.Outcomes; outcome++ {
		line = line.Uint64(outcome.String(), totals.Outcomes[outcome])
	}
	line.Uint64("accepted", totals.Accepted).Dur("took_ms", time.Since(began)).Int("exit_code", code).Msg("gateway stopped")
	return code
}

// drainSource ends the source beside the streams: neither is to wait for the other's Kafka, or clients.
func (g *gateway) drainSource(ctx context.Context) <-chan error {
	ended := make(chan error, 1)
	if g.source == nil {
		ended <- nil
		return ended
	}
	go func() { ended <- g.step("source stopped", func() error { return g.source.Drain(ctx) }) }()
	return ended
}

// grace waits for load balancers, unless something has failed already.
func (g *gateway) grace(ctx context.Context) error {
	select {
	case <-time.After(g.cfg.process.ShutdownGrace):
	case err := <-g.failed:
		return err
	case <-ctx.Done():
	}
	return nil
}

// step runs one step of the drain and logs its time.
func (g *gateway) step(name string, run func() error) error {
	began := time.Now()
	err := run()
	line := g.log.Info()
	if err != nil {
		line = g.log.Warn().Err(err)
	}
	line.Str("step", name).Dur("took_ms", time.Since(began)).Int64("in_flight", g.pipeline.InFlight()).Msg("drain")
	return err
}

// cutOff is the hard end: everything in flight is answered now.
func (g *gateway) cutOff(ctx context.Context) {
	left := g.pipeline.InFlight()
	// Clients that do not read their answers must not take the time of those that do.
	within, cancel := context.WithTimeout(ctx, hardEnd(g.cfg.process.ShutdownTimeout)/2)
	defer cancel()
	refused, unknown := g.pipeline.ExpireAll(within)
	g.log.Warn().Int64("in_flight", left).Int("refused", refused).Int("unknown", unknown).
		Msg("the time for the drain is over: events that were not handed to Kafka were refused, the others are unknown")
	_ = g.server.Drain(within) // lets the answers out
}

// haltWithin halts, but does not wait for it longer than ctx: every event has its outcome, and the process
// ends either way. The goroutine owns the halt; when ctx ends first it is left to the end of the process.
func (g *gateway) haltWithin(ctx context.Context) error {
	halted := make(chan struct{})
	go func() {
		defer close(halted)
		g.halt()
	}()
	select {
	case <-halted:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// halt takes down whatever is up.
func (g *gateway) halt() {
	g.stopWatching()
	g.watching.Wait()
	if g.server != nil {
		g.server.Stop()
	}
	if g.readers != nil {
		g.readers.Close()
	}
	if g.source != nil {
		g.source.Close()
	}
	if g.pipeline != nil {
		g.pipeline.Stop()
	}
	if g.producer != nil {
		g.producer.Close()
	}
	if g.pipeline != nil {
		g.pipeline.Close()
	}
	if g.schemas != nil {
		g.schemas.Close()
		g.registry.Close()
	}
	if g.embedded != nil {
		if err := g.embedded.Close(); err != nil {
			g.log.Error().Err(err).Msg("closing the embedded broker")
		}
	}
	if g.admin != nil {
		// A scrape that is under way may end; nothing waits for one that hangs.
		ctx, cancel := context.WithTimeout(context.Background(), 250*time.Millisecond)
		defer cancel()
		if err := g.admin.Shutdown(ctx); err != nil {
			g.log.Debug().Err(err).Msg("closing the HTTP server")
		}
	}
	g.serving.Wait()
}
