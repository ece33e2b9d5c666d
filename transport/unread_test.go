package transport

// A client that has stopped reading must not hold up a drain: its events have
// their outcomes, and only it keeps its connection open.

import (
	"testing"
	"time"

	"google.golang.org/grpc"

	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
	"github.com/event-gateway/event-gateway/stages"
)

func TestDrainDoesNotWaitForUnreadAnswers(t *testing.T) {
	g := start(t, func(c *setup) { c.config.SendTimeout = 400 * time.Millisecond })
	// The stream's flow-control window stays shut, so its last answers and its status stay in the gateway.
	deaf, err := unreadStream(g)
	if err != nil {
		t.Fatal(err)
	}
	g.eventually("stream cut", func() bool { return g.server.streams.count() == 0 })
	begin := time.Now()
	if err := g.server.Drain(g.context()); err != nil {
		t.Errorf("drain: %v", err)
	}
	if took := time.Since(begin); took > patience/4 {
		t.Errorf("the drain took %v", took)
	}
	<-deaf
	if n := g.pipeline.Totals(stages.FromGRPC).Outcomes[stages.Unknown]; n != 0 {
		t.Errorf("%d events unknown", n)
	}
}

// unreadStream is a stream that sends and never reads; the channel closes when it cannot send any more.
func unreadStream(g *gateway) (ended <-chan struct{}, err error) {
	s, err := gatewayv1.NewEventGatewayClient(g.dial(grpc.WithStaticStreamWindowSize(64 << 10))).IngestEventBatchStream(g.context())
	if err != nil {
		return nil, err
	}
	r := batchRequest(2000)
	r.WantResults = true
	done := make(chan struct{})
	go func() {
		defer close(done)
		for s.Send(r) == nil {
		}
	}()
	g.eventually("a stream", func() bool { return g.server.streams.count() == 1 })
	return done, nil
}
