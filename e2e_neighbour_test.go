package main

// A caller who leaves while its event is with the Kafka client harms nobody:
// franz-go fails every record of a partition when the context of the first one
// ends, so no caller's context may get that far.

import (
	"context"
	"syscall"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

func TestACallerWhoLeavesHarmsNobody(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "events"))
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	p := startGateway(t, "KAFKA_BROKERS="+cluster.ListenAddrs()[0]).ready()
	conn, err := grpc.NewClient(p.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	// A definite answer to every attempt: the client keeps the records and may give them up whenever it has a reason.
	fault := cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Err: kerr.NotLeaderForPartition, Count: -1})
	send := func(ctx context.Context, id string) <-chan error {
		answered := make(chan error, 1)
		go func() {
			_, err := gatewayv1.NewEventGatewayClient(conn).IngestEvent(ctx, &gatewayv1.IngestEventRequest{
				Event: &eventv1.Event{Id: id, Source: "/test", Type: "test.done", PartitionKey: "k"},
			})
			answered <- err
		}()
		return answered
	}
	attempts := func(more int) {
		t.Helper()
		if err := fault.Wait(ctx, fault.Hits()+more); err != nil {
			t.Fatalf("waiting for %d more attempts to produce: %v", more, err)
		}
	}
	leavers, leave := context.WithCancel(ctx)
	defer leave()
	left := send(leavers, "leaver")
	attempts(1) // it is with the Kafka client
	stays := send(ctx, "stays")
	attempts(2)
	leave()
	if err := <-left; err == nil {
		t.Error("the call that its caller left was answered")
	}
	attempts(3)
	fault.Remove()
	if err := <-stays; err != nil {
		t.Errorf("the neighbour of a caller who left: %v", err)
	}
	checkIdentity(t, p, 2)
	p.signal(syscall.SIGTERM)
	if end := p.line("gateway stopped"); end["acknowledged"] != 2.0 {
		t.Errorf("not both are acknowledged: %v", end)
	}
}
