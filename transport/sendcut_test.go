package transport

// What is unread when the gateway ends a call: grpc-go keeps it, with the status behind it, until the client reads or
// the connection ends. So it stays on the account, and a client whose calls are cut one after the other is cut itself.

import (
	"context"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
	"github.com/event-gateway/event-gateway/stages"
)

const (
	cutSize   = 200 << 10 // of an event for subscribers
	cutEvents = 5000      // of a batch
	cutRoom   = 4 << 20   // of all answers; one connection may have it alone
)

// deafCalls are calls whose client never reads.
type deafCalls struct {
	method string
	// messages of each call, which stays open behind them.
	message  []byte
	messages int
	// least and most is what one of them leaves unread, in bytes: its first answer, which grpc-go always takes.
	least, most int64
	// each is how many there are in a round.
	each int
}

func TestUnreadAnswersOfCutCallsStayCounted(t *testing.T) {
	batch := batchRequest(cutEvents)
	batch.WantResults = true
	subscriptions := deafCalls{subscribeMethod, framed(t, &gatewayv1.SubscribeRequest{}), 1, cutSize, cutSize * 5 / 4, 4}
	batches := deafCalls{batchStreamMethod, framed(t, batch), 2, cutEvents * 20, cutEvents * 30, 5}
	aged := batches // an answer that blocks ends with SLOW_CLIENT
	aged.messages = 1
	slowClient := func(c *Config) { c.SendTimeout = 300 * time.Millisecond }
	streamAge := func(c *Config) { c.MaxConnectionAge = 300 * time.Millisecond }
	for _, c := range []struct {
		name  string
		calls deafCalls
		bound func(*Config)
	}{
		{"subscriptions SLOW_CLIENT", subscriptions, slowClient},
		{"subscriptions STREAM_AGE", subscriptions, streamAge},
		{"batch streams SLOW_CLIENT", batches, slowClient},
		{"batch streams STREAM_AGE", aged, streamAge},
	} {
		t.Run(c.name, func(t *testing.T) { cutRounds(t, &c.calls, c.bound) })
	}
}

// cutRounds makes rounds of calls until their connection is cut.
func cutRounds(t *testing.T, calls *deafCalls, bound func(*Config)) {
	g := start(t, func(c *setup) {
		// A connection waits less long than its calls, which the last ones of them must not end before.
		c.config.SendTimeout = 200 * time.Millisecond
		big := storedOf(t, "x", cutSize)
		c.services.Reading = &bothWays{subscribe: func(_ context.Context, s *stages.Subscription) error {
			err := s.Begun()
			for err == nil {
				err = s.Deliver([]*stages.Delivery{big})
			}
			return err
		}}
	})
	g.server.config.SendTimeout = patience
	bound(&g.server.config)
	g.server.send.room = cutRoom
	deaf := g.rawHTTP2()
	defer func() { _ = deaf.conn.Close() }()
	deaf.shut()
	cut := func() bool { return g.server.send.cut.Load() > 0 }
	made := 0
	for !cut() {
		if int64(made)*calls.least > 2*cutRoom {
			t.Fatalf("%d calls were ended, and the connection that reads nothing goes on", made)
		}
		for range calls.each {
			deaf.leaveUnread(uint32(2*made+1), calls)
			made++
		}
		g.eventually("calls ended", func() bool { return cut() || g.ended(calls.method) == made })
		collectGarbage()
		if held := g.server.send.held.Load(); !cut() && (held < int64(made)*calls.least || held > int64(made)*calls.most) {
			t.Fatalf("%d bytes held of %d calls that left %d to %d each unread", held, made, calls.least, calls.most)
		}
	}
	if most := int64(made+calls.each) * calls.most; most < cutRoom { // those of the last round have one more that blocks
		t.Errorf("cut after %d calls, which had %d bytes at most", made, most)
	}
	g.good()
	g.nothingHeld()
}

// leaveUnread makes a call.
func (c *rawConn) leaveUnread(id uint32, calls *deafCalls) {
	var quit atomic.Bool
	c.open(id, calls.method)
	for range calls.messages {
		c.send(id, calls.message, &quit)
	}
}

// ended is how many calls of the method have ended.
func (g *gateway) ended(method string) (n int) {
	var b strings.Builder
	g.server.WriteMetrics(&b)
	name := method[strings.LastIndexByte(method, '/')+1:]
	for line := range strings.Lines(b.String()) {
		if !strings.HasPrefix(line, "gateway_grpc_calls_total{method=") || !strings.Contains(line, name+`"`) {
			continue
		}
		value, err := strconv.Atoi(strings.TrimSpace(line[strings.LastIndexByte(line, ' '):]))
		if err != nil {
			g.t.Fatal(err)
		}
		n += value
	}
	return n
}
