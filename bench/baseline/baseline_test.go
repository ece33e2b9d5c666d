package main

// The baseline over real connections: what it answers is what Kafka holds, in order, in the format of the gateway.

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/event-gateway/event-gateway/bench/client"
	"github.com/event-gateway/event-gateway/bench/discard"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start serves the baseline over the given broker and returns a client of it.
func start(t *testing.T, broker string) gatewayv1.EventGatewayClient {
	t.Helper()
	cl, err := client.NewProducer([]string{broker}, maxBuffered)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	partitions, err := client.CountPartitions(t.Context(), cl, "events")
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := newServer(&ingest{client: cl, topic: "events", partitions: partitions})
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		server.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return gatewayv1.NewEventGatewayClient(conn)
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func event(i, size int) *eventv1.Event {
	return &eventv1.Event{
		Id: fmt.Sprint(i), Source: "/test", Type: "t", Data: bytes.Repeat([]byte{byte(i)}, size),
		PartitionKey: fmt.Sprint("key-", i%7),
	}
}

func TestBatchStreamAcknowledgesWhatArrived(t *testing.T) {
	broker, err := discard.Start("127.0.0.1:0", "events", 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = broker.Close() })
	stream, err := start(t, broker.Addr()).IngestEventBatchStream(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	const batches, size = 300, 100 // more batches than a window holds
	go func() {
		for b := range batches {
			request := &gatewayv1.IngestEventBatchRequest{}
			for i := range size {
				request.Events = append(request.Events, event(b*size+i, b*10)) // from one frame to many
			}
			if b == 5 {
				request.Events[17].Source = ""
				request.Events[3].Cursor = "c"
			}
			if err := stream.Send(request); err != nil {
				return // Recv says why
			}
		}
		_ = stream.CloseSend()
	}()
	acked := int64(0)
	for b := range batches {
		answer, err := stream.Recv()
		if err != nil {
			t.Fatalf("answer %d: %v", b, err)
		}
		acked += int64(answer.Succeeded)
		var failed []int32
		for _, f := range answer.Failures {
			failed = append(failed, f.Index)
		}
		want := []int32(nil)
		if b == 5 {
			want = []int32{3, 17}
		}
		if !slices.Equal(failed, want) || int(answer.Succeeded) != size-len(want) {
			t.Fatalf("answer %d: %d succeeded, failures %v, want %v", b, answer.Succeeded, failed, want)
		}
	}
	received := int64(0)
	for _, n := range broker.Received() {
		received += n
	}
	if received != acked || acked != batches*size-2 {
		t.Errorf("received %d, acknowledged %d, sent %d with 2 bad", received, acked, batches*size)
	}
}

func TestCallsAcknowledgeWhatArrived(t *testing.T) {
	broker, err := discard.Start("127.0.0.1:0", "events", 3)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = broker.Close() })
	client, ctx := start(t, broker.Addr()), testContext(t)
	one, err := client.IngestEvent(ctx, &gatewayv1.IngestEventRequest{Event: event(0, 100)})
	if err != nil || one.Outcome != gatewayv1.Outcome_OUTCOME_ACKNOWLEDGED {
		t.Fatalf("%v, %v", one, err)
	}
	many, err := client.IngestEventBatch(ctx, &gatewayv1.IngestEventBatchRequest{Events: []*eventv1.Event{event(1, 100), {}, event(2, 100)}})
	if err != nil || many.Succeeded != 2 || len(many.Failures) != 1 || many.Failures[0].Index != 1 {
		t.Fatalf("%v, %v", many, err)
	}
	total := int64(0)
	for _, n := range broker.Received() {
		total += n
	}
	if total != 3 {
		t.Errorf("the broker has %d events, want 3", total)
	}
}

func TestRecordsAreTheEvents(t *testing.T) {
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(5, "events"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	addr := cluster.ListenAddrs()[0]
	stream, err := start(t, addr).IngestEventStream(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	const n = 200
	full := &eventv1.Event{
		Id: "full", Source: "/s", Type: "t", Subject: "sub", Data: []byte("{}"), DataContentType: "application/json",
		DataSchema: "urn:x", Timestamp: timestamppb.New(time.Date(2024, 2, 29, 1, 2, 3, 4000, time.UTC)),
		Metadata: map[string]string{"traceparent": "00-1-2-03", "tenant": "a", "X-Y": "b", "id": "c"}, PartitionKey: "k",
	}
	go func() {
		for i := range n {
			_ = stream.Send(&gatewayv1.IngestEventRequest{Event: event(i, i*50)})
		}
		_ = stream.Send(&gatewayv1.IngestEventRequest{Event: full})
		_ = stream.Send(&gatewayv1.IngestEventRequest{})
		_ = stream.CloseSend()
	}()
	for i := range n + 1 {
		answer, err := stream.Recv()
		if err != nil || !answer.Success || (i < n && answer.EventId != fmt.Sprint(i)) {
			t.Fatalf("answer %d: %v, %v", i, answer, err)
		}
	}
	if answer, err := stream.Recv(); err != nil || answer.Outcome != gatewayv1.Outcome_OUTCOME_REFUSED {
		t.Fatalf("answer to no event: %v, %v", answer, err)
	}
	records := readAll(t, addr, n+1)
	for i := range n {
		want := event(i, i*50)
		r := records[want.Id]
		if r == nil || !bytes.Equal(r.Value, want.Data) || string(r.Key) != want.PartitionKey {
			t.Fatalf("event %d is stored as %v", i, r)
		}
	}
	got := map[string]string{}
	for _, h := range records["full"].Headers {
		got[h.Key] = string(h.Value)
	}
	want := map[string]string{
		"ce_specversion": "1.0", "ce_id": "full", "ce_source": "/s", "ce_type": "t", "ce_subject": "sub",
		"ce_time": "2024-02-29T01:02:03.000004Z", "content-type": "application/json", "ce_dataschema": "urn:x",
		"ce_partitionkey": "k", "traceparent": "00-1-2-03", "ce_tenant": "a", "md_X-Y": "b", "md_id": "c",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("headers %v, want %v", got, want)
	}
}

// readAll reads n records back by event id and holds their partitions against Kafka's own partitioner.
func readAll(t *testing.T, addr string, n int) map[string]*kgo.Record {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.ConsumeTopics("events"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	kafkas := kgo.StickyKeyPartitioner(nil).ForTopic("events")
	records := map[string]*kgo.Record{}
	for len(records) < n {
		fetches := cl.PollFetches(testContext(t))
		if err := fetches.Err(); err != nil {
			t.Fatalf("read %d of %d: %v", len(records), n, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if want := kafkas.Partition(r, 5); want != int(r.Partition) {
				t.Errorf("key %q in partition %d, want %d", r.Key, r.Partition, want)
			}
			records[string(header(r, "ce_id"))] = r
		})
	}
	return records
}

// A message that is not protobuf is answered and the stream goes on.
func TestScanRefuses(t *testing.T) {
	good, err := proto.Marshal(&gatewayv1.IngestEventRequest{Event: event(1, 10)})
	if err != nil {
		t.Fatal(err)
	}
	for name, p := range map[string][]byte{
		"nothing": {}, "truncated": good[:len(good)-1], "a group's end": {0x0c}, "not UTF-8": {0x0a, 3, 0x12, 1, 0xff},
		"a field cut off": {0x0a, 2, 0x12, 9},
	} {
		m := &message{data: p}
		if err := m.scan("events", time.Now()); err == nil {
			t.Errorf("%s: scanned to %d records", name, len(m.records))
		}
	}
}
