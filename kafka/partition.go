package kafka

// What the producer keeps of each topic and partition besides stages.Topic:
// how many partitions franz-go itself knows, and enough bookkeeping to say
// whether a rejected record was certainly alone in its batch.

import (
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/event-gateway/event-gateway/stages"
)

// topic is one topic that the producer writes to.
type topic struct {
	*stages.Topic
	// known is the partition count that franz-go last partitioned by: the only source of the count. If ours
	// were ahead of it, records for the new partitions would fail; behind it is harmless.
	known atomic.Int32
	// batchBytes is the batch bound that franz-go took over when it first saw the topic; 0 = not yet asked.
	batchBytes atomic.Int32
	// sounding: a sounding is under way (topics.go).
	sounding atomic.Bool
	// stale: franz-go found out that the topic was recreated, and must be told to forget the old one.
	stale atomic.Bool
	// partitions grows with the topic, by the watcher only; elements stay the same objects.
	partitions atomic.Pointer[[]*partition]

	// Owned by the watcher goroutine.

	// id is the topic's id in the last metadata; zero before, and with brokers older than 2.8.
	id [16]byte
	// configured is when the topic's configuration was last read.
	configured time.Time
	// present: the last metadata had the topic. seen: some metadata had it; it is created only before that.
	present, seen bool
}

// grow makes room for n partitions. Must come before stages.Topic.SetPartitions(n).
func (t *topic) grow(n int) {
	old := *t.partitions.Load()
	if n <= len(old) {
		return
	}
	next := append(make([]*partition, 0, n), old...)
	for len(next) < n {
		next = append(next, &partition{})
	}
	t.partitions.Store(&next)
}

// partition is the bookkeeping of one partition.
//
// A record was certainly alone in its batch if nothing else of the partition
// was with franz-go when its promise ran. A batch of two fails like this:
//
//	promise(1): handed 2, settled 0 -> two are out: not alone; failedThrough = 2
//	promise(2): handed 2, settled 1 -> one is out, but 2 <= failedThrough: it may have shared the batch: not alone
//
// Batches that were buffered behind a failed one are failed along with it, in
// the same way. A record handed over after promise(1) has a higher seq.
type partition struct {
	// handed counts the records given to franz-go; written by the one caller of Produce, before the hand-over.
	handed atomic.Uint64
	// clock is the caller's, too, and warmth, which nobody reads.
	clock  timeText
	warmth int
	_      [56]byte // the fields below belong to the promise goroutine

	settled       uint64
	failedThrough uint64
}

// settle notes that n records were acknowledged.
func (p *partition) settle(n int) { p.settled += uint64(n) }

// fail notes that the record seq was not acknowledged, and reports whether it was certainly alone.
func (p *partition) fail(seq uint32) (alone bool) {
	p.settled++
	handed := p.handed.Load()
	number := handed - uint64(uint32(handed)-seq) // seq is its lower half, and it is one of the last 2^32
	out := handed - (p.settled - 1)
	alone = out == 1 && number > p.failedThrough
	p.failedThrough = max(p.failedThrough, handed)
	return alone
}

// partitioner sends every record where transform routed it, and tells the
// topic what franz-go knows. It implements kgo.Partitioner.
type partitioner struct{ topics map[string]*topic }

// ForTopic implements kgo.Partitioner.
func (p partitioner) ForTopic(name string) kgo.TopicPartitioner {
	return topicPartitioner{p.topics[name]}
}

type topicPartitioner struct{ topic *topic }

// RequiresConsistency implements kgo.TopicPartitioner. True: partitions keep
// their numbers also while some have no leader.
func (topicPartitioner) RequiresConsistency(*kgo.Record) bool { return true }

// Partition implements kgo.TopicPartitioner.
func (p topicPartitioner) Partition(r *kgo.Record, n int) int {
	rec, ok := r.Context.(*record)
	if !ok { // a sounding: it only asks for n and is failed here, without reaching Kafka
		if p.topic != nil {
			p.topic.known.Store(int32(n))
		}
		return -1
	}
	if int(r.Partition) >= n {
		rec.costAndFlags |= misplaced
		return -1
	}
	rec.show()
	return int(r.Partition)
}
