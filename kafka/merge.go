package kafka

// Reading a range of offsets of each partition: every partition in its order, and
// all of them together about in the order of time. The flow:
//
//	client -> a queue for each partition -> the oldest head, as soon as every partition that is not done has one
//
// A queue that is full is paused, so that a partition far ahead of the others in
// time does not fill the memory.

import (
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// queuedOverhead is about what a record takes beside its bytes, queuedHeader a header beside its.
const (
	queuedOverhead = 512
	queuedHeader   = 40
)

// merge has the queues of all partitions that are read, in the order of the spans.
type merge struct {
	queues      []*recordQueue
	byPartition map[int32]*recordQueue
	// room is from how many bytes on a queue counts as full.
	room int
}

// recordQueue is what has been read of a partition and not been passed on.
type recordQueue struct {
	partition int32
	records   []*kgo.Record
	bytes     int
	// next is the offset that is expected next, end where the span ends.
	next, end int64
	paused    bool
	// latest is the latest time of what was passed on.
	latest time.Time
}

func newMerge(spans []Span, room int) *merge {
	m := &merge{byPartition: map[int32]*recordQueue{}, room: room}
	for _, s := range spans {
		if s.Start < s.End {
			q := &recordQueue{partition: s.Partition, next: s.Start, end: s.End}
			m.queues, m.byPartition[s.Partition] = append(m.queues, q), q
		}
	}
	return m
}

// offsets are the places where the partitions begin; as says what is to become of one that is not there any more.
func (m *merge) offsets(as kgo.Offset) map[int32]kgo.Offset {
	at := make(map[int32]kgo.Offset, len(m.queues))
	for _, q := range m.queues {
		at[q.partition] = as.At(q.next)
	}
	return at
}

// sizeOf is about what a record takes. Headers count: an event's attributes and metadata are there.
func sizeOf(r *kgo.Record) int {
	n := queuedOverhead + len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += queuedHeader + len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return n
}

// add puts a record into its queue.
func (m *merge) add(r *kgo.Record) {
	q := m.byPartition[r.Partition]
	switch {
	case q == nil || r.Offset < q.next:
	case r.Offset >= q.end:
		q.next = q.end
	default:
		q.next = r.Offset + 1
		if !r.Attrs.IsControl() {
			q.records, q.bytes = append(q.records, r), q.bytes+sizeOf(r)
		}
	}
}

// missing is a queue that others wait for; nil when there is none.
func (m *merge) missing() *recordQueue {
	for _, q := range m.queues {
		if len(q.records) == 0 && q.next < q.end {
			return q
		}
	}
	return nil
}

// ready reports whether it is known which record is the oldest.
func (m *merge) ready() bool { return m.missing() == nil && !m.done() }

// done reports whether all has been read and passed on.
func (m *merge) done() bool {
	for _, q := range m.queues {
		if len(q.records) > 0 || q.next < q.end {
			return false
		}
	}
	return true
}

// pop takes the record with the lowest time off the queues.
func (m *merge) pop() *kgo.Record {
	var oldest *recordQueue
	for _, q := range m.queues {
		if len(q.records) > 0 && (oldest == nil || q.records[0].Timestamp.Before(oldest.records[0].Timestamp)) {
			oldest = q
		}
	}
	r := oldest.records[0]
	oldest.records[0] = nil
	oldest.records, oldest.bytes = oldest.records[1:], oldest.bytes-sizeOf(r)
	if r.Timestamp.After(oldest.latest) {
		oldest.latest = r.Timestamp
	}
	return r
}

// reached is the latest time that every partition that is not done has come to; ok: there is one.
func (m *merge) reached() (t time.Time, ok bool) {
	for _, q := range m.queues {
		at := q.latest
		switch {
		case len(q.records) > 0 && q.records[0].Timestamp.After(at):
			at = q.records[0].Timestamp
		case len(q.records) == 0 && q.next >= q.end:
			continue
		}
		if !ok || at.Before(t) {
			t, ok = at, true
		}
	}
	return t, ok
}

// pause lets the client fetch only what there is room for and what is not read yet.
func (m *merge) pause(client *kgo.Client, topic string) {
	for _, q := range m.queues {
		full := q.next >= q.end || q.bytes >= m.room
		room := q.next < q.end && q.bytes < m.room/2
		switch {
		case full && !q.paused:
			client.PauseFetchPartitions(map[string][]int32{topic: {q.partition}})
			q.paused = true
		case room && q.paused:
			client.ResumeFetchPartitions(map[string][]int32{topic: {q.partition}})
			q.paused = false
		}
	}
}
