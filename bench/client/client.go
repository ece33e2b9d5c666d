// Package client connects the programs that the gateway is measured beside to Kafka, all with the same options.
package client

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// NewProducer has those options of the gateway's producer (kafka/options.go) that count for speed. Partitions are the
// caller's to choose, unless more says otherwise. maxBuffered bounds the records that are not acknowledged.
func NewProducer(brokers []string, maxBuffered int, more ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(brokers...),
		kgo.DisableClientMetrics(),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.RequiredAcks(kgo.AllISRAcks()), // and idempotent, which is franz-go's default
		kgo.ProducerLinger(0),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerBatchMaxBytes(1_048_588), // Kafka's default of max.message.bytes, which the gateway reads
		kgo.MaxBufferedRecords(maxBuffered),
		kgo.RecordDeliveryTimeout(25 * time.Second),
	}, more...)...)
}

// CountPartitions asks the cluster, for at most ten seconds.
func CountPartitions(ctx context.Context, cl *kgo.Client, topic string) (uint32, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	topics, err := kadm.NewClient(cl).ListTopics(ctx, topic)
	if err != nil {
		return 0, err
	}
	if err := topics.Error(); err != nil {
		return 0, fmt.Errorf("topic %s: %w", topic, err)
	}
	return uint32(len(topics[topic].Partitions)), nil
}
