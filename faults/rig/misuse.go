//go:build faults || kafka

package rig

// Clients that use the API badly, though correctly: streams whose answers
// nobody reads, streams that only stay open, streams that are reset at once.
// What they send is in the ledger like everything else.

import (
	"context"
	"errors"
	"fmt"
	"io"
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

// dial has the flow-control windows of HTTP/2 itself; grpc-go would let them grow to 16 MiB of unread answers.
func dial(t testing.TB, address string) *grpc.ClientConn {
	t.Helper()
	const window = 64<<10 - 1
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithStaticStreamWindowSize(window), grpc.WithStaticConnWindowSize(window))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// plain is the message of one event.
func plain(ev *ledger.Event) *gatewayv1.IngestEventRequest {
	return &gatewayv1.IngestEventRequest{Event: &eventv1.Event{Id: ev.ID, Source: "/faults/" + ev.ID, Type: "load",
		PartitionKey: ev.Key, Data: ev.Data}}
}

// Deaf are streams that send as fast as they can and read nothing until they are told to.
type Deaf struct {
	streams sync.WaitGroup
	read    chan struct{}
	ends    []string
}

// NeverRead starts n of them.
func NeverRead(t testing.TB, l *ledger.Ledger, address string, n int) *Deaf {
	t.Helper()
	d := &Deaf{read: make(chan struct{}), ends: make([]string, n)}
	for i := range n {
		c := misuser(t, l, address, fmt.Sprintf("deaf%d", i), dial(t, address))
		d.streams.Go(func() {
			defer func() { _ = c.conn.Close() }()
			d.ends[i] = c.deaf(d.read)
		})
	}
	return d
}

// Read lets them read what has come, to the streams' ends, and returns the reason of each.
func (d *Deaf) Read() (reasons []string) {
	close(d.read)
	d.streams.Wait()
	return d.ends
}

// deaf sends until the stream is ended. With nobody reading, not even the end arrives: it waits behind the answers.
func (c *client) deaf(read <-chan struct{}) (reason string) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*Patience)
	defer cancel()
	call, err := c.api.IngestEventStream(ctx)
	if err != nil {
		return err.Error()
	}
	var mu sync.Mutex
	var waiting []ledger.Event
	var sender sync.WaitGroup
	sender.Go(func() {
		for err := error(nil); err == nil; {
			ev := c.producer.Next(false)
			mu.Lock()
			waiting = append(waiting, ev)
			mu.Unlock()
			err = call.Send(plain(&ev))
		}
	})
	<-read
	for i := 0; ; i++ {
		answer, err := call.Recv()
		if err != nil {
			reason = err.Error()
			if why, _ := info(err); why != nil {
				reason = why.Reason
			}
			sender.Wait()
			for _, ev := range waiting[i:] {
				c.cutOff(ev.Sending, err)
			}
			return reason
		}
		mu.Lock()
		ev := waiting[i]
		mu.Unlock()
		c.answered(&ev, answer, 0)
	}
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
			if _, err := one.call.Recv(); !errors.Is(err, io.EOF) {
				bad++
			}
		}
		for _, one := range all {
			_ = one.c.conn.Close()
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
			defer func() { _ = c.conn.Close() }()
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
