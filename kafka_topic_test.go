//go:build kafka

package main

// The topic as the gateway finds it: its limits, formats, and what others do to it at run time.

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/event-gateway/event-gateway/kafka/kafkatest"
	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

// TestKafkaEventTooLarge: an event above the topic's max.message.bytes is refused by itself, before Kafka
// sees it.
func TestKafkaEventTooLarge(t *testing.T) {
	c := kafkatest.Shared(t)
	const partitions, limit = 2, 20_000
	topic := c.Topic(partitions, "max.message.bytes", fmt.Sprint(limit))
	p := gatewayOn(t, c, topic)
	l := newLedger(t, p)
	l.unary(traffic{name: "fits", keys: 3, size: limit - 1000, count: 20}, false)
	l.stream(traffic{name: "stream", keys: 3, size: 1000, mixed: true, count: 400})
	l.batchStream(traffic{name: "batches", keys: 3, size: 1000, mixed: true, batch: 40, count: 10})
	l.unary(traffic{name: "unary", keys: 3, size: 1000, mixed: true, count: 80}, false)
	l.senders.Wait()
	large := (400 + 40*10 + 80) / 8 // 40,000 bytes each
	v := l.judge(t, readTopic(t, c, topic), partitions)
	if l.why["EVENT_TOO_LARGE"] != large || l.count(refused) != large || v.stored != len(l.events)-large {
		t.Errorf("%d of %d are too large: %+v, %s", large, len(l.events), v, l.reasons())
	}
}

// TestKafkaFormats: what subscribers read is the same event in every codec and in both formats.
func TestKafkaFormats(t *testing.T) {
	c := kafkatest.Shared(t)
	for i, codec := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		format := []string{"binary", "event"}[i%2]
		p, topic := kafkaGateway(t, c, "KAFKA_COMPRESSION="+codec, "KAFKA_RECORD_FORMAT="+format)
		l := newLedger(t, p)
		l.stream(traffic{name: "stream", keys: 10, size: 200, mixed: true, bad: 10, count: 300})
		l.batchStream(traffic{name: "batches", keys: 10, size: 200, mixed: true, batch: 50, count: 10})
		l.senders.Wait()
		if v := l.judge(t, readTopic(t, c, topic), 3); v.stored != 300-30+500 {
			t.Errorf("%s, %s: %+v, %s", codec, format, v, l.reasons())
		}
	}
}

// TestKafkaTopicChanges: partitions are added, then the topic is deleted and made anew, under load.
func TestKafkaTopicChanges(t *testing.T) {
	c := kafkatest.Shared(t)
	const before, added = 2, 3
	p, topic := kafkaGateway(t, c, fmt.Sprintf("KAFKA_NUM_PARTITIONS=%d", before))
	admin := kadm.NewClient(c.Client())
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	l, stop := newLedger(t, p), make(chan struct{})
	l.stream(traffic{name: "stream", keys: 40, size: 100, every: 2 * time.Millisecond, stop: stop})
	l.unary(traffic{name: "unary", keys: 40, size: 100, every: 2 * time.Millisecond, stop: stop}, false)
	l.more(100, "before partitions are added")
	if _, err := admin.CreatePartitions(ctx, added, topic); err != nil {
		t.Fatal(err)
	}
	eventually(t, "an event in each new partition", func() bool { return len(l.partitions()) == before+added })
	l.more(100, "after partitions were added")

	// What is in the old topic is gone with it; from here on another ledger counts.
	close(stop)
	l.senders.Wait()
	if l.count(acknowledged) != len(l.events) {
		t.Errorf("growth costs events: %s", l.reasons())
	}
	checkGrowth(t, readTopic(t, c, topic), before, before+added)

	stop = make(chan struct{})
	old := newLedger(t, p)
	old.unary(traffic{name: "old", keys: 40, size: 100, every: 2 * time.Millisecond, stop: stop}, false)
	old.more(100, "before the topic is deleted")
	resp, err := admin.DeleteTopic(ctx, topic)
	if err = errors.Join(err, resp.Err); err != nil {
		t.Fatal(err)
	}
	eventually(t, "TOPIC_NOT_FOUND", func() bool { old.mu.Lock(); defer old.mu.Unlock(); return old.why["TOPIC_NOT_FOUND"] > 0 })
	eventually(t, "the topic is created again", func() bool {
		created, err := admin.CreateTopic(ctx, before, 1, nil, topic)
		return err == nil && created.Err == nil
	})
	old.more(100, "in the new topic")
	close(stop)
	old.senders.Wait()
	t.Log(old.reasons())
	if n := old.count(unknown); n > 2 { // what was under way when the topic went
		t.Errorf("%d unknown: %s", n, old.reasons())
	}
	checkRecreated(t, old, readTopic(t, c, topic))
}

// partitions are those with an acknowledged event.
func (l *ledger) partitions() map[int32]bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	found := map[int32]bool{}
	for _, s := range l.events {
		if s.outcome == gatewayv1.Outcome_OUTCOME_ACKNOWLEDGED {
			found[s.partition] = true
		}
	}
	return found
}

// checkGrowth: a key is in its old partition or in its new one.
func checkGrowth(t *testing.T, records []*kgo.Record, before, after int) {
	t.Helper()
	hasher := kgo.StickyKeyPartitioner(nil).ForTopic("")
	for _, r := range records {
		old, now := hasher.Partition(&kgo.Record{Key: r.Key}, before), hasher.Partition(&kgo.Record{Key: r.Key}, after)
		if int(r.Partition) != old && int(r.Partition) != now {
			t.Errorf("%s with key %s is in partition %d; before it was %d, now it is %d", eventID(r), r.Key, r.Partition, old, now)
		}
	}
}

// checkRecreated: the new topic holds the last acknowledged events, each where it was acknowledged.
func checkRecreated(t *testing.T, l *ledger, records []*kgo.Record) {
	t.Helper()
	if len(records) < 100 {
		t.Errorf("the new topic holds %d events", len(records))
	}
	for _, r := range records {
		s := l.events[eventID(r)]
		if s == nil || s.outcome == refused || s.outcome == acknowledged && (s.partition != r.Partition || s.offset != r.Offset) {
			t.Errorf("offset %d of partition %d of the new topic holds %+v", r.Offset, r.Partition, s)
		}
	}
}
