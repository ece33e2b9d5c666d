//go:build faults

package faults

// What the fake broker must have in common with Apache Kafka, so that what is
// shown against the one holds of the other: a producer's epoch belongs to each
// partition, and what is sent again under the old one is known there.

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/event-gateway/event-gateway/faults/rig"
)

func TestEpochsArePerPartition(t *testing.T) {
	for _, on := range []broker{fake, apache1} {
		t.Run(string(on), func(t *testing.T) {
			var b *rig.Broker
			if on == fake {
				b = rig.StartFake(t, t.TempDir(), 1, false)
			} else {
				b = rig.StartApache(t, 1, false)
			}
			b.Admin(func(ctx context.Context, adm *kadm.Client) error {
				_, err := adm.CreateTopic(ctx, 2, 1, nil, topic)
				return err
			})
			send := sendBatches(t, b)
			first := send(0, 0, 0)
			send(1, 1, 0) // the next epoch, which partition 0 has not seen
			if again := send(0, 0, 0); again != first {
				t.Errorf("sent again under its epoch, a batch that is at offset %d is stored at %d, too", first, again)
			}
			if next := send(0, 0, 1); next != first+1 {
				t.Errorf("the next sequence of the old epoch is at offset %d, want %d", next, first+1)
			}
			if fresh := send(0, 1, 0); fresh != first+2 {
				t.Errorf("the first batch of the next epoch is at offset %d, want %d", fresh, first+2)
			}
		})
	}
}

// sendBatches returns a function that produces one record as an idempotent producer and returns its offset.
func sendBatches(t *testing.T, b *rig.Broker) func(partition int32, epoch int16, sequence int32) int64 {
	client := b.Client(kgo.RecordPartitioner(kgo.ManualPartitioner()))
	t.Cleanup(client.Close)
	ctx, cancel := context.WithTimeout(context.Background(), rig.Patience)
	t.Cleanup(cancel)
	id, err := kmsg.NewPtrInitProducerIDRequest().RequestWith(ctx, client)
	if err != nil || id.ErrorCode != 0 {
		t.Fatalf("a producer id: %v %v", err, kerr.ErrorForCode(id.ErrorCode))
	}
	return func(partition int32, epoch int16, sequence int32) int64 {
		t.Helper()
		request := kmsg.NewPtrProduceRequest()
		request.Acks, request.TimeoutMillis = -1, 5000
		part := kmsg.NewProduceRequestTopicPartition()
		part.Partition, part.Records = partition, rawBatch(id.ProducerID, epoch, sequence)
		of := kmsg.NewProduceRequestTopic()
		of.Topic, of.TopicID, of.Partitions = topic, topicID(t, client), append(of.Partitions, part)
		request.Topics = append(request.Topics, of)
		response, err := request.RequestWith(ctx, client)
		if err != nil {
			t.Fatal(err)
		}
		answer := response.Topics[0].Partitions[0]
		if answer.ErrorCode != 0 {
			t.Errorf("partition %d, epoch %d, sequence %d: %v", partition, epoch, sequence, kerr.ErrorForCode(answer.ErrorCode))
		}
		return answer.BaseOffset
	}
}

func topicID(t *testing.T, client *kgo.Client) [16]byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), rig.Patience)
	defer cancel()
	details, err := kadm.NewClient(client).ListTopics(ctx, topic)
	if err != nil {
		t.Fatal(err)
	}
	return details[topic].ID
}

// rawBatch is a batch with one record, written by hand: a client would not send one again under an old epoch on
// demand.
func rawBatch(id int64, epoch int16, sequence int32) []byte {
	record := kmsg.Record{Value: []byte("v")}
	body := record.AppendTo(nil)[1:] // without the length, which is one byte
	record.Length = int32(len(body))
	batch := kmsg.RecordBatch{PartitionLeaderEpoch: -1, Magic: 2, ProducerID: id, ProducerEpoch: epoch, FirstSequence: sequence,
		NumRecords: 1, Records: record.AppendTo(nil)}
	batch.Length = int32(len(batch.AppendTo(nil)) - 12) // what follows the length
	raw := batch.AppendTo(nil)
	return withCRC(raw)
}

func withCRC(batch []byte) []byte {
	binary.BigEndian.PutUint32(batch[17:], crc32.Checksum(batch[21:], crc32.MakeTable(crc32.Castagnoli)))
	return batch
}
