package transport

// Events that subscribers and replays do not take count as any other answers do.

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
	"github.com/event-gateway/event-gateway/stages"
)

const (
	subscribeMethod = "/gateway.v1.EventGateway/SubscribeEvents"
	replayMethod    = "/gateway.v1.EventGateway/ReplayEvents"
)

// reads opens a call that reads back and never takes anything.
func (c *rawConn) reads(id uint32, method string, request []byte) {
	var quit atomic.Bool
	c.open(id, method)
	c.send(id, request, &quit)
	c.endStream(id)
}

// What is on its way to readers that take nothing is charged, by events and by the pages of replays, and given back when
// they have gone.
func TestUnreadEventsAreCharged(t *testing.T) {
	const size = 200 << 10
	deliver := func(_ context.Context, s *stages.Subscription) error {
		err := s.Begun()
		for err == nil {
			err = s.Deliver([]*stages.Delivery{storedOf(t, "x", size)})
		}
		return err
	}
	page := func(_ context.Context, r *stages.Replay) (err error) {
		for err == nil {
			err = r.Page([]*stages.Delivery{storedOf(t, "x", size)}, stages.ReplayProgress{Position: time.Unix(1, 0)})
		}
		return err
	}
	for method, request := range map[string]proto.Message{
		subscribeMethod: &gatewayv1.SubscribeRequest{},
		replayMethod:    &gatewayv1.ReplayRequest{Start: ago(time.Minute)},
	} {
		t.Run(method, func(t *testing.T) {
			g := startStore(t, func(c *setup) { c.services.Reading = &bothWays{deliver, page} }, nil)
			deaf := g.rawHTTP2()
			deaf.shut()
			deaf.reads(1, method, framed(t, request))
			g.eventually("the event is charged", func() bool { return g.server.send.held.Load() >= size })
			_ = deaf.conn.Close()
			g.eventually("nothing held", func() bool { return g.server.send.held.Load() == 0 && g.server.send.holders.Load() == 0 })

			c := g.client()
			ctx, cancel := context.WithCancel(t.Context())
			stream, err := c.SubscribeEvents(ctx, &gatewayv1.SubscribeRequest{})
			if err != nil {
				t.Fatal(err)
			}
			for range 100 { // many times what may be on its way
				if _, err := stream.Recv(); err != nil {
					t.Fatal(err)
				}
			}
			cancel()
			g.nothingHeld() // while the connection lives
		})
	}
}

// A connection whose calls take nothing is cut when they hold more than its share, and only it.
func TestUnreadEventsAreBounded(t *testing.T) {
	const size, room = 200 << 10, 2 << 20
	deliver := func(_ context.Context, s *stages.Subscription) error {
		err := s.Begun()
		for err == nil {
			err = s.Deliver([]*stages.Delivery{storedOf(t, "x", size)})
		}
		return err
	}
	g := startStore(t, func(c *setup) {
		c.services.Reading = &bothWays{subscribe: deliver}
		c.config.SendTimeout = 300 * time.Millisecond
	}, nil)
	g.server.send.room = room
	g.server.config.SendTimeout = patience // the calls' own bound must not be first
	deaf := g.rawHTTP2()
	deaf.shut()
	request := framed(t, &gatewayv1.SubscribeRequest{})
	for i := range uint32(20) { // twice the room
		deaf.reads(2*i+1, subscribeMethod, request)
	}
	g.eventually("the connection was cut", func() bool { return g.server.send.cut.Load() > 0 })
	g.good()
	g.eventually("nothing held", func() bool { return g.server.send.held.Load() == 0 && g.server.send.holders.Load() == 0 })
	_ = deaf.conn.Close()
}

// bothWays is a stages.Reading that does what the test says.
type bothWays struct {
	subscribe func(context.Context, *stages.Subscription) error
	replay    func(context.Context, *stages.Replay) error
}

func (b *bothWays) Subscribe(ctx context.Context, s *stages.Subscription) error {
	return b.subscribe(ctx, s)
}
func (b *bothWays) Replay(ctx context.Context, r *stages.Replay) error { return b.replay(ctx, r) }
