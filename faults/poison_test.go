//go:build faults

package faults

// Batches that Kafka takes and nobody can read: their checksum is right, what it
// is about is not. They are written past the gateway, with a request of their own.

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

const (
	zstdCodec = 4
	// bombBytes is more than readers of the gateway let a batch become (kafka: readBatchBytes), as a batch of a few KB.
	bombBytes = 130 << 20
)

// garbage is no zstd frame.
func garbage() []byte { return bytes.Repeat([]byte("garbage"), 20) }

// bomb is zeros, compressed.
func (x *run) bomb() []byte {
	x.Helper()
	codec, err := kgo.DefaultCompressor(kgo.ZstdCompression())
	if err != nil {
		x.Fatal(err)
	}
	records, _ := codec.Compress(&bytes.Buffer{}, make([]byte, bombBytes))
	return records
}

// batch is a record batch of one record, version 2, whose records are these bytes.
func batch(records []byte) []byte {
	now := time.Now().UnixMilli()
	b := kmsg.RecordBatch{
		Length: int32(61 - 12 + len(records)), PartitionLeaderEpoch: -1, Magic: 2, Attributes: zstdCodec, FirstTimestamp: now, MaxTimestamp: now,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: 1, Records: records,
	}
	raw := b.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}

// poison writes a batch with these records into a partition, and returns where it is.
func (x *run) poison(partition int32, records []byte) (offset int64) {
	x.Helper()
	client := x.broker.Client(kgo.MaxVersions(kversion.V3_0_0())) // topics by name
	defer client.Close()
	one := kmsg.NewProduceRequestTopicPartition()
	one.Partition, one.Records = partition, batch(records)
	of := kmsg.NewProduceRequestTopic()
	of.Topic, of.Partitions = topic, append(of.Partitions, one)
	request := kmsg.NewPtrProduceRequest()
	request.Acks, request.TimeoutMillis, request.Topics = -1, 5000, append(request.Topics, of)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	answer, err := client.Request(ctx, request)
	if err != nil {
		x.Fatal(err)
	}
	got := answer.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
		x.Fatalf("the broker does not take the batch: %v", err)
	}
	return got.BaseOffset
}
