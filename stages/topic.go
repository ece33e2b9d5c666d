package stages

// Topics and partitions as the graph sees them. The Kafka side writes the
// partition count and limits, transform reads them, batch and the retirer
// keep the bytes in flight of each partition.

import "sync/atomic"

// Topic is one topic that the gateway may write to. Created once at start;
// safe for concurrent use.
type Topic struct {
	Name string
	// Index is unique among the topics of one gateway, starting at 0; it takes part in choosing the
	// batch worker, so that equal partition numbers of many topics do not meet on one worker.
	Index int

	partitions atomic.Pointer[[]*Partition]
	// maxMessageBytes is the topic's max.message.bytes; 0 = not known yet.
	maxMessageBytes atomic.Int64
	refusal         atomic.Uint32
}

// NewTopic returns a topic whose partitions are not known yet.
func NewTopic(name string, index int) *Topic {
	t := &Topic{Name: name, Index: index}
	none := []*Partition{}
	t.partitions.Store(&none)
	return t
}

// Partitions are those of the last metadata; empty before the first one. The
// slice must not be changed.
func (t *Topic) Partitions() []*Partition { return *t.partitions.Load() }

// SetPartitions makes the count n. Existing Partition values stay the same
// objects, since events in flight point at them. Called by one goroutine at a
// time (the Kafka side). A smaller n happens only when a topic was recreated.
func (t *Topic) SetPartitions(n int) {
	old := t.Partitions()
	if n == len(old) {
		return
	}
	next := make([]*Partition, n)
	copied := copy(next, old)
	for i := copied; i < n; i++ {
		next[i] = &Partition{Topic: t, ID: int32(i)}
	}
	t.partitions.Store(&next)
}

// MaxMessageBytes is the topic's max.message.bytes, or 0 while it is not known.
func (t *Topic) MaxMessageBytes() int { return int(t.maxMessageBytes.Load()) }

// SetMaxMessageBytes is called when the topic's configuration was read.
func (t *Topic) SetMaxMessageBytes(n int) { t.maxMessageBytes.Store(int64(n)) }

// Refusal is why the topic takes no events at present (TopicNotFound,
// TopicRecreated, KafkaUnauthorized), or NoReason.
func (t *Topic) Refusal() Reason { return Reason(t.refusal.Load()) }

// SetRefusal makes transform refuse the topic's events; NoReason ends that.
func (t *Topic) SetRefusal(r Reason) { t.refusal.Store(uint32(r)) }

// Partition is one topic-partition.
type Partition struct {
	Topic *Topic
	ID    int32

	_ [128]byte // inflight is written by two goroutines for every burst: keep it off the read-only line
	// inflight is the bytes between batch and retirement: added by the one batch worker of the
	// partition, taken off by the retirer.
	inflight atomic.Int64
	_        [120]byte
	// open is the batch that is being filled; only the one batch worker of the partition touches it.
	open *RecordBatch
	_    [120]byte
}

// Inflight is the bytes between batch and retirement.
func (p *Partition) Inflight() int64 { return p.inflight.Load() }

// AddInflight changes the bytes between batch and retirement.
func (p *Partition) AddInflight(n int64) { p.inflight.Add(n) }
