package kafka

// A batch that nobody can read: who has it before him hears so, nobody else.

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/event-gateway/event-gateway/stages"
)

// poison writes a batch that is no zstd frame, though it says so, and returns its offset.
func (r *readRig) poison(partition int32) int64 {
	r.t.Helper()
	records := bytes.Repeat([]byte("garbage"), 20)
	now := time.Now().UnixMilli()
	raw := (&kmsg.RecordBatch{Length: int32(61 - 12 + len(records)), PartitionLeaderEpoch: -1, Magic: 2, Attributes: 4, FirstTimestamp: now, MaxTimestamp: now,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: 1, Records: records}).AppendTo(nil)
	binary.BigEndian.PutUint32(raw[17:], crc32.Checksum(raw[21:], crc32c))
	one := kmsg.NewProduceRequestTopicPartition()
	one.Partition, one.Records = partition, raw
	of := kmsg.NewProduceRequestTopic()
	of.Topic, of.Partitions = "events", append(of.Partitions, one)
	request := kmsg.NewPtrProduceRequest()
	request.Acks, request.TimeoutMillis, request.Topics = -1, 5000, append(request.Topics, of)
	client, err := kgo.NewClient(kgo.SeedBrokers(r.cluster.ListenAddrs()...), kgo.MaxVersions(kversion.V3_0_0())) // topics by name
	if err != nil {
		r.t.Fatal(err)
	}
	defer client.Close()
	answer, err := client.Request(r.t.Context(), request)
	if err != nil {
		r.t.Fatal(err)
	}
	got := answer.(*kmsg.ProduceResponse).Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
		r.t.Fatal(err)
	}
	return got.BaseOffset
}

// holdFetches lets no fetch get anything until the returned func is called.
func (r *readRig) holdFetches() (release func()) {
	fault := r.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Err: kerr.NotLeaderForPartition, Count: -1})
	return fault.Remove
}

// One resumes before the batch and thereby starts the tail there; another, who begins behind it, shares that tail.
func TestUnreadableBatchEndsThoseBeforeIt(t *testing.T) {
	r := newReadRig(t, 2, nil)
	r.write(0, 0, 10)
	s := r.subscribe(r.readers, stages.Subscription{Start: stages.Start{Earliest: true}}, nil)
	cursor := s.await(t, 10)[4].Cursor
	s.cancel()
	if err := s.end(t); !errors.Is(err, t.Context().Err()) && err == nil {
		t.Fatal("the subscription ended by itself")
	}
	readers := r.open(nil) // whose hub has nothing yet
	at := r.poison(0)
	r.write(0, 20, 30)
	release := r.holdFetches()
	before := r.subscribe(readers, stages.Subscription{Start: stages.Start{Cursor: cursor}}, nil)
	before.started(t)
	behind := r.subscribe(readers, stages.Subscription{}, nil)
	behind.started(t)
	release()
	_ = reasonIs(t, before.end(t), stages.RecordUnreadable)
	if n := len(before.places); n != 5 {
		t.Errorf("%d events came before the batch at offset %d, want 5", n, at)
	}
	r.write(0, 30, 40)
	r.write(1, 0, 5)
	behind.await(t, 15)
	mustSee(t, "behind the batch", behind.places, []int{30, 0}, []int{40, 5}, all)

	// Who insists starts no tail there again: that would end for all who share it.
	behind.cancel()
	<-behind.done
	readers.hub.restart()
	release = r.holdFetches()
	before = r.subscribe(readers, stages.Subscription{Start: stages.Start{Cursor: cursor}}, nil)
	before.started(t)
	if head := readers.hub.newest(); head.at(0) <= at {
		t.Errorf("the tail starts at %d again, where nobody can read offset %d", head.at(0), at)
	}
	release()
	_ = reasonIs(t, before.end(t), stages.RecordUnreadable)
}
