//go:build faults

package rig

// Clients that use the API badly, though correctly: streams whose answers
// nobody reads, streams that only stay open, streams that are reset at once.
// What they send is in the ledger like everything else.

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"golang.org/x/time/rate"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/event-gateway/event-gateway/faults/ledger"
	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

// misuser is a client without a loop of its own.
func misuser(t testing.TB, l *ledger.Ledger, address, name string, conn *grpc.ClientConn) *client {
	t.Helper()
	r := &Running{t: t, conf: Load{Address: address, Keys: 1}.withDefaults(), ledger: l, stop: make(chan struct{})}
	return &client{run: r, conn: conn, api: gatewayv1.NewEventGatewayClient(conn), limit: rate.NewLimiter(rate.Inf, 1),
		random: rand.New(rand.NewPCG(l.Seed, 1)), producer: l.Producer(name, ledger.Stream, 1, 200)}
}

func dial(t testing.TB, address string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// plain is the message of one event.
func plain(ev *ledger.Event) *gatewayv1.IngestEventRequest {
	return &gatewayv1.IngestEventRequest{Event: &eventv1.Event{Id: ev.ID, Source: "/faults/" + ev.ID, Type: "load",
		PartitionKey: ev.Key, Data: ev.Data}}
}

// NeverRead runs n streams that send as fast as they can and read nothing until they are ended, or the time is over.
// It returns how each ended.
func NeverRead(t testing.TB, l *ledger.Ledger, address string, n int, within time.Duration) (reasons []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	reasons = make([]string, n)
	var streams sync.WaitGroup
	for i := range n {
		c := misuser(t, l, address, fmt.Sprintf("deaf%d", i), dial(t, address))
		streams.Go(func() { reasons[i] = c.neverRead(ctx) })
	}
	streams.Wait()
	return reasons
}

// neverRead sends until the stream is ended, and only then reads what has come.
func (c *client) neverRead(ctx context.Context) (reason string) {
	call, err := c.api.IngestEventStream(ctx)
	if err != nil {
		return err.Error()
	}
	var waiting []ledger.Event
	for err == nil {
		ev := c.producer.Next(false)
		waiting = append(waiting, ev)
		err = call.Send(plain(&ev))
	}
	for i := range waiting {
		answer, err := call.Recv()
		if err == nil {
			c.answered(&waiting[i], answer, 0)
			continue
		}
		if why, _ := info(err); why != nil {
			reason = why.Reason
		} else {
			reason = err.Error()
		}
		for _, ev := range waiting[i:] {
			c.producer.GiveUp(ev.Sending, "STREAM_END_"+reason)
		}
		return reason
	}
	return "all answers came"
}

// Idle opens n streams over connections of at most perConn streams, sends one event over each, and leaves them
// open. It returns when all are answered; closing ends them in order and returns how many did not end with OK.
func Idle(t testing.TB, l *ledger.Ledger, address string, n, perConn int) (closing func() (bad int)) {
	t.Helper()
	type idle struct {
		c    *client
		call gatewayv1.EventGateway_IngestEventStreamClient
	}
	all := make([]idle, 0, n)
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	var conn *grpc.ClientConn
	for i := range n {
		if i%perConn == 0 {
			conn = dial(t, address)
		}
		c := misuser(t, l, address, fmt.Sprintf("idle%d", i), conn)
		call, err := c.api.IngestEventStream(ctx)
		if err != nil {
			t.Fatalf("idle stream %d: %v", i, err)
		}
		ev := c.producer.Next(false)
		if err := call.Send(plain(&ev)); err != nil {
			t.Fatalf("idle stream %d: %v", i, err)
		}
		answer, err := call.Recv()
		if err != nil {
			t.Fatalf("idle stream %d: %v", i, err)
		}
		c.answered(&ev, answer, 0)
		all = append(all, idle{c, call})
	}
	return func() (bad int) {
		for _, one := range all {
			_ = one.call.CloseSend()
		}
		for _, one := range all {
			if _, err := one.call.Recv(); err == nil || err.Error() != "EOF" {
				bad++
			}
		}
		return bad
	}
}

// Churn opens perSecond streams a second for that long, sends one event over each and resets it within
// milliseconds. It returns how many there were.
func Churn(t testing.TB, l *ledger.Ledger, address string, perSecond int, lasting time.Duration) (streams int) {
	t.Helper()
	const workers = 16
	ctx, cancel := context.WithTimeout(context.Background(), lasting)
	defer cancel()
	limit := rate.NewLimiter(rate.Limit(perSecond), perSecond/20+1)
	var work sync.WaitGroup
	counts := [workers]int{}
	for i := range workers {
		c := misuser(t, l, address, fmt.Sprintf("churn%d", i), dial(t, address))
		work.Go(func() {
			for limit.Wait(ctx) == nil {
				c.openAndReset()
				counts[i]++
			}
		})
	}
	work.Wait()
	for _, n := range counts {
		streams += n
	}
	return streams
}

func (c *client) openAndReset() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c.producer.NewStream()
	call, err := c.api.IngestEventStream(ctx)
	if err != nil {
		c.complain(-1, "a stream cannot be opened: %v", err)
		return
	}
	ev := c.producer.Next(false)
	if call.Send(plain(&ev)) == nil && c.random.IntN(2) == 0 {
		pause(ctx, time.Duration(c.random.IntN(3000))*time.Microsecond)
	}
	c.producer.GiveUp(ev.Sending, "RESET")
}
