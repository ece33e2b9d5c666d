//go:build faults || kafka

package rig

// Replays, read to their end.

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/event-gateway/event-gateway/faults/ledger"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

// Replay reads what was received from from to until, exclusive, whole milliseconds, and keeps what comes. It fails the
// test when it does not end in order, or its progress is not what came.
func Replay(t testing.TB, l *ledger.Ledger, address string, from, until time.Time, partition func(string) int32, within time.Duration) *ledger.Received {
	t.Helper()
	r := l.Subscriber("replay", partition)
	r.From, r.Until = from.UnixMilli(), until.UnixMilli()
	r.Begin(ledger.Opening{})
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	stream, err := gatewayv1.NewEventGatewayClient(conn).ReplayEvents(ctx, &gatewayv1.ReplayRequest{
		Start: timestamppb.New(time.UnixMilli(r.From)), End: timestamppb.New(time.UnixMilli(r.Until)),
	})
	progress := &gatewayv1.ReplayResponse_Progress{}
	for err == nil {
		var page *gatewayv1.ReplayResponse
		if page, err = stream.Recv(); err == nil {
			for _, ev := range page.Events {
				r.Add(ev.Id, ev.PartitionKey, ev.Data)
			}
			progress = page.Progress
		}
	}
	if !errors.Is(err, io.EOF) || !progress.Done || int(progress.Matched) != r.Total() {
		t.Errorf("the replay ends with %v; %d events came, progress %v", err, r.Total(), progress)
	}
	return r
}
