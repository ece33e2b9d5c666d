package main

// A client that has stopped reading costs the gateway the time for its drain,
// and not the exit code: every event has its outcome.

import (
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

func TestUnreadAnswersDoNotFailTheDrain(t *testing.T) {
	// The client is never cut for its slowness here, so the drain's time runs out on it.
	p := startGateway(t, "SINK=discard", "SEND_TIMEOUT=1h", "SHUTDOWN_TIMEOUT=2s", "RATE_LIMIT_ENABLED=false").ready()
	conn, err := grpc.NewClient(p.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStaticStreamWindowSize(64<<10))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	deaf, err := gatewayv1.NewEventGatewayClient(conn).IngestEventStream(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		request := &gatewayv1.IngestEventRequest{Event: &eventv1.Event{Type: "t", Source: "/s", Data: make([]byte, 1000)}}
		for deaf.Send(request) == nil {
		}
	}()
	held := ""
	p.eventually("answers that nobody reads", func() bool {
		_, text := p.get("/metrics")
		last := held
		for line := range strings.Lines(text) {
			if value, ok := strings.CutPrefix(line, "gateway_messages_in_flight "); ok {
				held = strings.TrimSpace(value)
			}
		}
		return held == last && held != "0"
	})
	began := time.Now()
	p.signal(syscall.SIGTERM)
	code := p.exit()
	end := p.line("gateway stopped")
	if took := time.Since(began); code != 0 || end["unknown"] != 0.0 || took > 4*time.Second {
		t.Errorf("exit code %d after %v: %v", code, took, end)
	}
	<-sent
}
