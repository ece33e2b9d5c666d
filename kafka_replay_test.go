//go:build kafka

package main

// Replays of topics in Apache Kafka.

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/event-gateway/event-gateway/kafka/kafkatest"
	eventv1 "github.com/event-gateway/event-gateway/proto/event/v1"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

// writeReplayed writes n events to each of 3 partitions, one each 100 ms from begin on, and each up to 20 s late: as
// several gateways would whose Kafka was away now and then. It gives their times, by id.
func writeReplayed(t *testing.T, c *kafkatest.Cluster, topic string, n int, begin time.Time) map[string]time.Time {
	t.Helper()
	client := c.Client(kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	times := map[string]time.Time{}
	for i := 0; i < n; i += 100 {
		var records []*kgo.Record
		for j := i; j < min(i+100, n); j++ {
			for p := range int32(3) {
				at := begin.Add(time.Duration(j)*100*time.Millisecond - time.Duration(rand.IntN(20_000))*time.Millisecond)
				one := replayRecord(p, j, at.Truncate(time.Millisecond))
				records, times[string(one.Value)] = append(records, one), one.Timestamp
			}
		}
		if err := client.ProduceSync(t.Context(), records...).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	return times
}

// replayRecord is event i of a partition.
func replayRecord(partition int32, i int, at time.Time) *kgo.Record {
	id := fmt.Appendf(nil, "%d/%d", partition, i)
	return &kgo.Record{Partition: partition, Timestamp: at, Value: id, Headers: []kgo.RecordHeader{
		{Key: "ce_specversion", Value: []byte("1.0")}, {Key: "ce_id", Value: id},
		{Key: "ce_source", Value: []byte("/test")}, {Key: "ce_type", Value: []byte("t")},
	}}
}

// Transactions that were given up are not there, and the marks of transactions hold nobody up, at the end least of all.
func TestKafkaReplayOfTransactions(t *testing.T) {
	c := kafkatest.Shared(t)
	topic, begin, times := c.Topic(3), time.Now().Truncate(time.Millisecond), map[string]time.Time{}
	client := c.Client(kgo.DefaultProduceTopic(topic), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionalID(topic))
	for i := range 20 {
		err := client.BeginTransaction()
		if err == nil {
			err = client.ProduceSync(t.Context(), replayRecord(0, i, time.Time{}), replayRecord(1, i, time.Time{})).FirstErr()
		}
		if err == nil {
			err = client.EndTransaction(t.Context(), kgo.TransactionEndTry(i%2 == 0))
		}
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			times[fmt.Sprintf("0/%d", i)], times[fmt.Sprintf("1/%d", i)] = begin, begin
		}
	}
	p := gatewayOn(t, c, topic)
	events, last, err := replay(t, p, &gatewayv1.ReplayRequest{Start: timestamppb.New(begin)})
	if err != nil || !last.Done {
		t.Fatal(last, err)
	}
	mustReplay(t, times, events, begin, time.Now())
}

// Any range gives exactly its events, and whoever goes on from the position of a replay that broke off misses none.
func TestKafkaReplay(t *testing.T) {
	const n = 5000
	c := kafkatest.Shared(t)
	topic := c.Topic(3, "segment.bytes", "1048576")
	begin := time.Now().Add(-time.Hour)
	times := writeReplayed(t, c, topic, n, begin)
	p := gatewayOn(t, c, topic, "REPLAY_RATE_LIMIT=1000000", "REPLAY_BATCH_SIZE=100")
	for range 5 {
		from := begin.Add(time.Duration(rand.IntN(n*100)) * time.Millisecond)
		to := from.Add(time.Duration(rand.IntN(n*50)+1000) * time.Millisecond)
		events, last, err := replay(t, p, &gatewayv1.ReplayRequest{Start: timestamppb.New(from), End: timestamppb.New(to)})
		if err != nil {
			t.Fatal(err)
		}
		mustReplay(t, times, events, from, to)
		if !last.Done || last.Position.AsTime().After(to) {
			t.Errorf("%v", last)
		}
	}
	got, from := map[string]bool{}, begin.Add(-time.Minute)
	for rounds := 0; ; rounds++ {
		position, done := someOfAReplay(t, p, from, 1+rand.IntN(30), got)
		if done {
			break
		}
		if from = position; rounds > 10_000 {
			t.Fatal("the position does not move")
		}
	}
	if len(got) != len(times) {
		t.Errorf("%d different events of %d", len(got), len(times))
	}
}

// mustReplay fails unless events are those between two times, once, in the order of each partition.
func mustReplay(t *testing.T, times map[string]time.Time, events []*eventv1.Event, from, to time.Time) {
	t.Helper()
	due := 0
	for _, at := range times {
		if !at.Before(from.Truncate(time.Millisecond)) && at.Before(to.Truncate(time.Millisecond)) {
			due++
		}
	}
	seen, next := map[string]bool{}, map[int]int{}
	for _, ev := range events {
		at, there := times[ev.Id]
		var partition, i int
		_, _ = fmt.Sscanf(ev.Id, "%d/%d", &partition, &i)
		if !there || seen[ev.Id] || i < next[partition] || at.Before(from.Truncate(time.Millisecond)) || !at.Before(to) {
			t.Fatalf("%s of %v: not of the range from %v to %v, or twice, or behind %d", ev.Id, at, from, to, next[partition])
		}
		seen[ev.Id], next[partition] = true, i
	}
	if len(events) != due {
		t.Fatalf("%d events of %d", len(events), due)
	}
}

// someOfAReplay breaks off a replay after some pages.
func someOfAReplay(t *testing.T, p *process, from time.Time, pages int, got map[string]bool) (position time.Time, done bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context()) // else each holds its reader, of which one client may have sixteen
	defer cancel()
	stream, err := gatewayv1.NewEventGatewayClient(dialGateway(t, p)).ReplayEvents(ctx, &gatewayv1.ReplayRequest{Start: timestamppb.New(from)})
	if err != nil {
		t.Fatal(err)
	}
	for range pages {
		page, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		for _, ev := range page.Events {
			got[ev.Id] = true
		}
		if position, done = page.Progress.Position.AsTime(), page.Progress.Done; done {
			break
		}
	}
	return position, done
}

// disturbed is how a replay of some seconds ends under which something happens to its topic.
func disturbed(t *testing.T, happens func(adm *kadm.Client, topic string) error) error {
	t.Helper()
	c := kafkatest.Shared(t)
	topic, begin := c.Topic(3), time.Now().Add(-time.Hour)
	writeReplayed(t, c, topic, 20_000, begin)
	p := gatewayOn(t, c, topic, "REPLAY_RATE_LIMIT=5000", "REPLAY_BATCH_SIZE=100")
	stream, err := gatewayv1.NewEventGatewayClient(dialGateway(t, p)).ReplayEvents(t.Context(), &gatewayv1.ReplayRequest{Start: timestamppb.New(begin.Add(-time.Minute))})
	if err == nil {
		_, err = stream.Recv()
	}
	if err == nil {
		err = happens(kadm.NewClient(c.Client()), topic)
	}
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := stream.Recv(); err != nil {
			return err
		}
	}
}

func TestKafkaRetentionPassesAReplay(t *testing.T) {
	err := disturbed(t, func(adm *kadm.Client, topic string) error {
		offsets := kadm.Offsets{}
		for partition := range int32(3) {
			offsets.AddOffset(topic, partition, 19_000, -1)
		}
		deleted, err := adm.DeleteRecords(t.Context(), offsets)
		return errors.Join(err, deleted.Error())
	})
	if info := errorInfo(t, err, codes.OutOfRange); info.Reason != "EVENTS_EXPIRED" || info.Metadata["position"] == "" {
		t.Errorf("%v", info)
	}
}

func TestKafkaTopicDeletedUnderAReplay(t *testing.T) {
	err := disturbed(t, func(adm *kadm.Client, topic string) error {
		_, err := adm.DeleteTopic(t.Context(), topic)
		return err
	})
	if info := errorInfo(t, err, codes.FailedPrecondition); info.Reason != "TOPIC_NOT_FOUND" && info.Reason != "TOPIC_RECREATED" {
		t.Errorf("%v", info)
	}
}
