package main

// End to end: a member of a group whose client does not read. Its stream ends at
// SEND_TIMEOUT, and the others get what it was not sent, and only that.

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

// groupMember collects the ids that it is sent.
type groupMember struct {
	stream gatewayv1.EventGateway_SubscribeEventsClient
	// deaf: from the next event on it reads nothing until hear is closed.
	deaf atomic.Bool
	hear chan struct{}
	mu   sync.Mutex // guards the following
	ids  []string
}

func (m *groupMember) had() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.ids)
}

// read takes what comes until the stream ends, and says how.
func (m *groupMember) read() error {
	for {
		ev, err := m.stream.Recv()
		if err != nil {
			return err
		}
		m.mu.Lock()
		m.ids = append(m.ids, ev.Id)
		m.mu.Unlock()
		if m.deaf.Load() {
			<-m.hear
		}
	}
}

// join subscribes with a group; the client's window is the smallest.
func (p *process) join(ctx context.Context) *groupMember {
	p.t.Helper()
	conn, err := grpc.NewClient(p.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithStaticStreamWindowSize(64<<10))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = conn.Close() })
	stream, err := gatewayv1.NewEventGatewayClient(conn).SubscribeEvents(ctx, &gatewayv1.SubscribeRequest{GroupId: "g"})
	if err == nil {
		_, err = stream.Header()
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return &groupMember{stream: stream, hear: make(chan struct{})}
}

func TestAMemberThatDoesNotRead(t *testing.T) {
	p := startGateway(t, "EMBEDDED_DATA_DIR="+t.TempDir(), "SEND_TIMEOUT=1s").ready()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	written, client := 0, p.client()
	write := func(n, size int) {
		batch := &gatewayv1.IngestEventBatchRequest{}
		for range n {
			batch.Events = append(batch.Events, &eventv1.Event{Id: fmt.Sprint(written), Source: "/s", Type: "t", PartitionKey: fmt.Sprint(written), Data: make([]byte, size)})
			written++
		}
		within, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		if answer, err := client.IngestEventBatch(within, batch); err != nil || answer.Succeeded != int32(n) {
			t.Fatal(answer, err)
		}
	}
	deaf, reads := p.join(ctx), p.join(ctx)
	ended := make(chan error, 1)
	go func() { ended <- deaf.read() }()
	go func() { _ = reads.read() }()
	p.eventually("both have partitions", func() bool {
		write(10, 10)
		return deaf.had() > 0 && reads.had() > 0
	})
	before := deaf.had()
	deaf.deaf.Store(true)
	write(1000, 2000) // its part of it is more than its window
	late := p.join(ctx)
	go func() { _ = late.read() }()
	p.eventually("the deaf member's stream has been ended", func() bool {
		_, text := p.get("/metrics")
		return strings.Contains(text, "gateway_subscribers{kind=\"group\"} 2")
	})
	close(deaf.hear)
	select {
	case err := <-ended:
		if got := reasonOf(err); got != "ResourceExhausted SLOW_CLIENT" {
			t.Errorf("the member that did not read: %s", got)
		}
	case <-time.After(patience):
		t.Fatal("the member that did not read has no end")
	}
	sent := deaf.had() - before
	write(100, 10)
	p.eventually("all events", func() bool { return deaf.had()+reads.had()+late.had() >= written })
	times := map[string]int{}
	for _, m := range []*groupMember{deaf, reads, late} {
		m.mu.Lock()
		for _, id := range m.ids {
			times[id]++
		}
		m.mu.Unlock()
	}
	for id, n := range times {
		if n > 1 {
			t.Errorf("event %s came %d times", id, n)
		}
	}
	if len(times) != written {
		t.Errorf("%d of %d events came", len(times), written)
	}
	if sent == 0 || sent > 200 {
		t.Errorf("the member that did not read was sent %d events", sent)
	}
}
