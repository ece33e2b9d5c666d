//go:build faults || kafka

package rig

// Subscribers that come and go.

import (
	"context"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

const (
	// churnConns are shared by the calls, but every churnOwn-th call has a connection of its own.
	churnConns, churnOwn = 8, 20
	// churnEvents and churnTime are when a subscriber leaves.
	churnEvents, churnTime = 5, 100 * time.Millisecond
)

// ComeAndGo opens that many subscriptions a second, each of which ends soon after. reasons counts the ends: "" by the
// subscriber itself, others by the gateway.
func ComeAndGo(t testing.TB, address string, perSecond int, lasts time.Duration, request func(n int) *gatewayv1.SubscribeRequest) (opened int, reasons map[string]int) {
	t.Helper()
	dial := func() *grpc.ClientConn {
		conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
		if err != nil {
			t.Error(err)
		}
		return conn
	}
	var conns []*grpc.ClientConn
	for range churnConns {
		conns = append(conns, dial())
	}
	var mu sync.Mutex
	reasons = map[string]int{}
	var calls sync.WaitGroup
	tick := time.NewTicker(time.Second / time.Duration(perSecond))
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < lasts; <-tick.C {
		n := opened
		opened++
		calls.Go(func() {
			conn := conns[n%churnConns]
			if n%churnOwn == 0 {
				conn = dial()
				defer func() { _ = conn.Close() }()
			}
			reason := visit(conn, request(n))
			mu.Lock()
			defer mu.Unlock()
			reasons[reason]++
		})
	}
	calls.Wait()
	for _, conn := range conns {
		_ = conn.Close() // nothing is left to fail
	}
	return opened, reasons
}

// visit is one subscription; reason is why the gateway ended it.
func visit(conn *grpc.ClientConn, request *gatewayv1.SubscribeRequest) (reason string) {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	stream, err := gatewayv1.NewEventGatewayClient(conn).SubscribeEvents(ctx, request)
	if err == nil {
		_, err = stream.Header()
	}
	leave := time.AfterFunc(churnTime, cancel)
	defer leave.Stop()
	for n := 0; err == nil && n < churnEvents; n++ {
		_, err = stream.Recv()
	}
	if err == nil || ctx.Err() != nil {
		return ""
	}
	if why, _ := info(err); why != nil {
		return why.Reason
	}
	return "without a reason: " + status.Code(err).String()
}
