//go:build faults || kafka

package rig

// The reader: every record of a topic, straight from the broker, uncommitted
// ones too, from the first offset to the end that was there when it began.

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/event-gateway/event-gateway/faults/ledger"
	"github.com/event-gateway/event-gateway/kafka"
)

// Read visits every record of the topic, each partition in the order of its offsets. A record that is no event
// is visited with an id that says so.
func (b *Broker) Read(topic string, within time.Duration, visit func(ledger.Record)) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	client := b.Client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchIsolationLevel(kgo.ReadUncommitted()), kgo.FetchMaxWait(100*time.Millisecond))
	defer client.Close()
	adm := kadm.NewClient(client)
	ends, err := listed(ctx, adm.ListEndOffsets, topic)
	if err != nil {
		return err
	}
	starts, err := listed(ctx, adm.ListStartOffsets, topic)
	if err != nil {
		return err
	}
	open := map[int32]int64{} // partitions that are not at their end yet
	for partition, end := range ends {
		if starts[partition] < end {
			open[partition] = end
		}
	}
	for len(open) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return fmt.Errorf("reading %s back, partitions not at their end: %v: %w", topic, open, err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			visit(record(r))
			if r.Offset+1 >= open[r.Partition] {
				delete(open, r.Partition)
			}
		})
	}
	return nil
}

// Bounds are the first offsets and the ends of the partitions of the topic.
func (b *Broker) Bounds(topic string) (starts, ends map[int32]int64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	client, err := b.client()
	if err != nil {
		return nil, nil, err
	}
	adm := kadm.NewClient(client)
	defer adm.Close()
	if starts, err = listed(ctx, adm.ListStartOffsets, topic); err == nil {
		ends, err = listed(ctx, adm.ListEndOffsets, topic)
	}
	return starts, ends, err
}

// Starts are the first offsets that the partitions of the topic still have.
func (b *Broker) Starts(topic string) (starts map[int32]int64) {
	b.t.Helper()
	b.Admin(func(ctx context.Context, adm *kadm.Client) (err error) {
		starts, err = listed(ctx, adm.ListStartOffsets, topic)
		return err
	})
	return starts
}

func record(r *kgo.Record) ledger.Record {
	to := ledger.Record{Position: ledger.Position{Partition: r.Partition, Offset: r.Offset}, Key: string(r.Key), Millis: r.Timestamp.UnixMilli()}
	ev, err := kafka.EventFromRecord(r)
	if err != nil {
		to.ID = "not an event: " + err.Error()
		return to
	}
	to.ID, to.Data = ev.Id, ev.Data
	return to
}

func listed(ctx context.Context, list func(context.Context, ...string) (kadm.ListedOffsets, error), topic string) (map[int32]int64, error) {
	offsets, err := list(ctx, topic)
	if err == nil {
		err = offsets.Error()
	}
	at := map[int32]int64{}
	offsets.Each(func(o kadm.ListedOffset) { at[o.Partition] = o.Offset })
	return at, err
}

// PartitionOf is Kafka's hash of a key.
func PartitionOf(partitions int) func(key string) int32 {
	hasher := kgo.StickyKeyPartitioner(nil).ForTopic("") // with a key, it never keeps state
	return func(key string) int32 {
		return int32(hasher.Partition(&kgo.Record{Key: []byte(key)}, partitions))
	}
}
