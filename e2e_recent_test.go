package main

// End to end: the event that was just acknowledged is there by its id, and a
// retry is answered with the position of the first sending.

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/event-gateway/event-gateway/kafka"
	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

// client is a gRPC client of the gateway.
func (p *process) client() gatewayv1.EventGatewayClient {
	p.t.Helper()
	conn, err := grpc.NewClient(p.grpc, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { _ = conn.Close() })
	return gatewayv1.NewEventGatewayClient(conn)
}

// reasonOf is the code of a status and the reason in its ErrorInfo.
func reasonOf(err error) string {
	st := status.Convert(err)
	for _, d := range st.Details() {
		if info, ok := d.(*errdetails.ErrorInfo); ok {
			return fmt.Sprint(st.Code(), " ", info.Reason)
		}
	}
	return fmt.Sprint(st)
}

func TestGetEventIsWhatASubscriberGets(t *testing.T) {
	port := freePort(t)
	p := startGateway(t, "EMBEDDED_DATA_DIR="+t.TempDir(), "EMBEDDED_KAFKA_PORT="+port, "EVENT_STORE_CAPACITY=100",
		`TRANSFORM_0_MATCH=type startsWith "shaped."`, `TRANSFORM_0_SET=metadata.shaped="yes"; subject=id+" rewritten"`).ready()
	c := p.client()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	batch := &gatewayv1.IngestEventBatchRequest{}
	for i := range 50 { // quiet: none of these is reported by itself
		kind := "plain"
		if i%2 == 0 {
			kind = "shaped.event"
		}
		batch.Events = append(batch.Events, &eventv1.Event{Id: fmt.Sprint("batch-", i), Source: "/s", Type: kind, Subject: "42",
			PartitionKey: fmt.Sprint(i), Data: []byte(fmt.Sprint("data ", i)), Metadata: map[string]string{"a": "b"}})
	}
	if a, err := c.IngestEventBatch(ctx, batch); err != nil || a.Succeeded != 50 {
		t.Fatalf("%v, %v", a, err)
	}
	for range 5 {
		if _, err := c.IngestEvent(ctx, &gatewayv1.IngestEventRequest{Event: &eventv1.Event{Source: "/s", Type: "plain"}}); err != nil {
			t.Fatal(err)
		}
	}
	records := readBack(t, port)
	if len(records) != 55 {
		t.Fatalf("%d records", len(records))
	}
	for _, r := range records {
		want, err := kafka.EventFromRecord(r)
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.GetEvent(ctx, &gatewayv1.GetEventRequest{Id: want.Id})
		if err != nil || !proto.Equal(got, want) {
			t.Fatalf("%v\n got %v\nwant %v", err, got, want)
		}
	}
	publish(t, p, 0, "--count", "100", "--keys", "20")
	if _, err := c.GetEvent(ctx, &gatewayv1.GetEventRequest{Id: "batch-1"}); reasonOf(err) != codes.NotFound.String()+" EVENT_NOT_FOUND" {
		t.Errorf("after 100 others: %v", reasonOf(err))
	}
}

func TestARetryIsADuplicate(t *testing.T) {
	port := freePort(t)
	p := startGateway(t, "EMBEDDED_DATA_DIR="+t.TempDir(), "EMBEDDED_KAFKA_PORT="+port, "DEDUPE_WINDOW=1h", "EVENT_STORE_CAPACITY=0").ready()
	c := p.client()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ingest := func() *gatewayv1.IngestEventResponse {
		t.Helper()
		a, err := c.IngestEvent(ctx, &gatewayv1.IngestEventRequest{Event: &eventv1.Event{Id: "one", Source: "/s", Type: "t", PartitionKey: "k"}})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	first, again := ingest(), ingest()
	if first.Outcome != gatewayv1.Outcome_OUTCOME_ACKNOWLEDGED || again.Outcome != gatewayv1.Outcome_OUTCOME_DUPLICATE || !again.Success {
		t.Fatalf("%v, then %v", first, again)
	}
	if first.Topic != again.Topic || first.Partition != again.Partition || first.Offset != again.Offset {
		t.Errorf("%v, then %v", first, again)
	}
	// A batch twice, all at once: each id is stored once, whoever comes first.
	batch := &gatewayv1.IngestEventBatchRequest{WantResults: true}
	for i := range 200 {
		batch.Events = append(batch.Events, &eventv1.Event{Id: fmt.Sprint("batch-", i%100), Source: "/s", Type: "t", PartitionKey: fmt.Sprint(i % 7)})
	}
	a, err := c.IngestEventBatch(ctx, batch)
	if err != nil || a.Succeeded != 200 || len(a.Duplicates) != 100 {
		t.Fatalf("%v, %v", a, err)
	}
	for i := range 100 {
		if one, two := a.Results[i], a.Results[i+100]; one.Partition != two.Partition || one.Offset != two.Offset {
			t.Errorf("%v, then %v", one, two)
		}
	}
	if n := len(readBack(t, port)); n != 101 {
		t.Errorf("%d records", n)
	}
	checkIdentity(t, p, 202)
	if _, err := c.GetEvent(ctx, &gatewayv1.GetEventRequest{Id: "one"}); reasonOf(err) != codes.FailedPrecondition.String()+" STORE_DISABLED" {
		t.Errorf("EVENT_STORE_CAPACITY=0: %v", reasonOf(err))
	}
}
