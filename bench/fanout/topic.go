package main

// The embedded broker with a topic, the one who writes to it, and the consumers that read it without a gateway.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/caarlos0/env/v11"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/event-gateway/event-gateway/bench/client"
	"github.com/event-gateway/event-gateway/kafka"
)

const (
	topicName  = "events"
	partitions = 3
	// dataBytes makes an event of about 450 bytes.
	dataBytes = 370
)

// topic is the broker, and a client that writes.
type topic struct {
	config *kafka.Config
	broker *kafka.Embedded
	writer *kgo.Client
	data   []byte
}

// openTopic starts the broker in an empty folder.
func openTopic(ctx context.Context, dir string) (t *topic, err error) {
	t = &topic{config: &kafka.Config{}, data: bytes.Repeat([]byte("x"), dataBytes)}
	if err := env.ParseWithOptions(t.config, env.Options{Environment: map[string]string{}}); err != nil { // the defaults
		return nil, err
	}
	t.config.EmbeddedDataDir = dir
	if t.broker, err = kafka.StartEmbedded(t.config, nil); err != nil {
		return nil, err
	}
	if t.writer, err = client.NewProducer(t.broker.Seeds(), 4*window*chunk, kgo.Dialer(t.broker.Dial)); err != nil {
		return nil, errors.Join(err, t.broker.Close())
	}
	if _, err := kadm.NewClient(t.writer).CreateTopic(ctx, partitions, 1, nil, topicName); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *topic) close() {
	t.writer.Close()
	_ = t.broker.Close() // its folder is thrown away
}

// produce writes n records like those of the gateway, from number first on, and waits until the broker has them.
func (t *topic) produce(ctx context.Context, first int64, n int) error {
	now := time.Now()
	text := []byte(now.UTC().Format(time.RFC3339Nano))
	records := make([]*kgo.Record, n)
	for i := range records {
		number := first + int64(i)
		key := fmt.Appendf(nil, "key-%d", number%1000)
		records[i] = &kgo.Record{Topic: topicName, Partition: int32(number % partitions), Key: key, Value: t.data, Timestamp: now,
			Headers: []kgo.RecordHeader{{Key: "ce_specversion", Value: []byte("1.0")}, {Key: "ce_id", Value: fmt.Appendf(nil, "0123456789-%012d", number)},
				{Key: "ce_source", Value: []byte("bench/source")}, {Key: "ce_type", Value: []byte("bench.event.happened")},
				{Key: "ce_time", Value: text}, {Key: "ce_partitionkey", Value: key}}}
	}
	return t.writer.ProduceSync(ctx, records...).FirstErr()
}

// consume opens n franz-go consumers with their defaults, each with the whole topic, from its end on. They reach the broker in
// memory, as the gateway does: a network would cost each of them more.
func (t *topic) consume(ctx context.Context, n int, r *round) (end func(), err error) {
	listed, err := kadm.NewClient(t.writer).ListEndOffsets(ctx, topicName)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, err
	}
	from := map[int32]kgo.Offset{}
	listed.Each(func(o kadm.ListedOffset) { from[o.Partition] = kgo.NewOffset().At(o.Offset) })
	ctx, cancel := context.WithCancel(ctx)
	var running sync.WaitGroup
	end = func() { cancel(); running.Wait() }
	for i := range n {
		consumer, err := kgo.NewClient(kgo.SeedBrokers(t.broker.Seeds()...), kgo.Dialer(t.broker.Dial), kgo.DisableClientMetrics(),
			kgo.ClientID("consumer-"+strconv.Itoa(i)), kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topicName: from}))
		if err != nil {
			end()
			return nil, err
		}
		running.Go(func() {
			defer consumer.Close()
			for ctx.Err() == nil {
				fetches := consumer.PollFetches(ctx)
				if err := fetches.Err(); err != nil && ctx.Err() == nil {
					r.failed(fmt.Errorf("consumer %d: %w", i, err))
					return
				}
				r.readers[i].took(fetches.NumRecords())
			}
		})
	}
	return end, nil
}
