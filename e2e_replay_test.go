package main

// Replays end to end: the real binary with its embedded broker.

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

// replay is what a replay of a gateway gives.
func replay(t *testing.T, p *process, r *gatewayv1.ReplayRequest) (events []*eventv1.Event, last *gatewayv1.ReplayResponse_Progress, err error) {
	t.Helper()
	stream, err := gatewayv1.NewEventGatewayClient(dialGateway(t, p)).ReplayEvents(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	for {
		page, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return events, last, nil
		}
		if err != nil {
			return events, last, err
		}
		events, last = append(events, page.Events...), page.Progress
	}
}

// ingest sends a batch of events of one type, and gives the time right before and right after.
func ingest(t *testing.T, p *process, kind string, n int) (before, after time.Time) {
	t.Helper()
	batch := &gatewayv1.IngestEventBatchRequest{}
	for i := range n {
		batch.Events = append(batch.Events, &eventv1.Event{
			Id: fmt.Sprintf("%s-%d", kind, i), Type: kind, Source: "/e2e", PartitionKey: fmt.Sprint(i % 7), Data: fmt.Appendf(nil, `{"n":%d}`, i),
			Metadata: map[string]string{"n": fmt.Sprint(i)},
		})
	}
	before = time.Now().Truncate(time.Millisecond)
	answer, err := gatewayv1.NewEventGatewayClient(dialGateway(t, p)).IngestEventBatch(t.Context(), batch)
	if err != nil || int(answer.Succeeded) != n {
		t.Fatalf("%v, %v", answer, err)
	}
	return before, time.Now().Truncate(time.Millisecond).Add(time.Millisecond)
}

func TestReplayEndToEnd(t *testing.T) {
	port := freePort(t)
	p := startGateway(t, "EMBEDDED_DATA_DIR="+t.TempDir(), "EMBEDDED_KAFKA_PORT="+port, "KAFKA_TOPICS_ALLOWED=again", "REPLAY_BATCH_SIZE=50",
		"REPLAY_RATE_LIMIT=100000", `TRANSFORM_0_MATCH=metadata["replayed_from"] != ""`, `TRANSFORM_0_FILTER=metadata.n != "13"`).ready()
	begin, _ := ingest(t, p, "old", 300)
	before, _ := ingest(t, p, "order.created", 300)
	_, after := ingest(t, p, "order.paid", 200)
	ingest(t, p, "late", 100)

	all := &gatewayv1.ReplayRequest{Start: timestamppb.New(before), End: timestamppb.New(after), EventTypes: []string{"order.*"}}
	events, last, err := replay(t, p, all)
	if err != nil {
		t.Fatal(err)
	}
	seen, key := map[string]bool{}, map[string]int{}
	for _, ev := range events {
		seen[ev.Id] = true
		var n int
		if _, err := fmt.Sscanf(string(ev.Data), `{"n":%d}`, &n); err != nil || !strings.HasPrefix(ev.Type, "order.") || ev.Source != "/e2e" {
			t.Fatalf("%v", ev)
		}
		if n < key[ev.Type+ev.PartitionKey] {
			t.Errorf("%s came after %d of its key", ev.Id, key[ev.Type+ev.PartitionKey])
		}
		key[ev.Type+ev.PartitionKey] = n
	}
	if len(events) != 500 || len(seen) != 500 || !last.Done || last.Matched != 500 || last.Read < 500 {
		t.Fatalf("%d events, %d of them different, %v", len(events), len(seen), last)
	}
	events, last, err = replay(t, p, &gatewayv1.ReplayRequest{Start: timestamppb.New(begin), Filter: `metadata["n"] == "42" && type != "old"`})
	if err != nil || len(events) != 3 || last.Read != 900 || last.Matched != 3 {
		t.Fatalf("%v, %v, %v", events, last, err)
	}

	all.RepublishTopic = "again"
	events, last, err = replay(t, p, all)
	if err != nil || len(events) != 0 || last.Matched != 500 || last.Republished != 498 || last.Filtered != 2 || !last.Done {
		t.Fatalf("%v, %v", last, err)
	}
	again := readEmbedded(t, port, "again")
	for _, r := range again {
		if !strings.HasPrefix(header(r, "md_replayed_from"), "events/") || header(r, "ce_source") != "/e2e" {
			t.Fatalf("%v", r.Headers)
		}
	}
	if len(again) != 498 {
		t.Errorf("%d events in the topic", len(again))
	}
	if _, text := p.get("/metrics"); !strings.Contains(text, `gateway_replay_events_total{what="matched"} 1003`) || !strings.Contains(text, "gateway_replays 0") {
		t.Errorf("metrics:\n%s", text)
	}

	all.RepublishTopic = "events"
	_, _, err = replay(t, p, all)
	if info := errorInfo(t, err, codes.InvalidArgument); info.Reason != "INVALID_REQUEST" {
		t.Errorf("%v", info)
	}
	all.RepublishTopic = "other"
	_, _, err = replay(t, p, all)
	if info := errorInfo(t, err, codes.PermissionDenied); info.Reason != "TOPIC_NOT_ALLOWED" {
		t.Errorf("%v", info)
	}
	_, _, err = replay(t, p, &gatewayv1.ReplayRequest{Start: timestamppb.New(begin), Filter: `int(metadata["n"]) / 0 == 1`})
	if info := errorInfo(t, err, codes.InvalidArgument); info.Reason != "FILTER_LIMIT" {
		t.Errorf("%v", info)
	}
}
