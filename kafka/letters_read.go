package kafka

// Reading dead letters: every partition in its order, and all of them together
// about in the order of time. The flow:
//
//	client -> a queue for each partition -> the oldest head, as soon as every partition that is not done has one
//
// A queue that is full is paused, so that a partition far ahead of the others in
// time does not fill the memory.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// queueBytes is from where on a partition's queue counts as full.
	queueBytes = 1 << 20
	// queuedOverhead is about what a record takes beside its key and value.
	queuedOverhead = 512
	// fetchBytes bounds the answers of one broker, fetchPartitionBytes a partition's part; a record that is larger
	// comes alone.
	fetchBytes          = 8 << 20
	fetchPartitionBytes = 1 << 20
	// fetchWait is how long a broker may wait for new records. Those that are wanted are there; a fetch that went out
	// while a partition was paused must not hold up the one that takes it in again.
	fetchWait = 100 * time.Millisecond
	// pollRecords is how many records are taken over at once.
	pollRecords = 1000
)

// Read calls each for every record of the spans, one after the other; its error says that the record is no dead
// letter. It ends with the first error of each, with ctx, or when Kafka has nothing to say for the source's Timeout.
func (l *Letters) Read(ctx context.Context, spans []Span, each func(Letter, error) error) error {
	m, at := newMerge(spans)
	if len(at) == 0 {
		return nil
	}
	client, err := kgo.NewClient(append(l.options(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{l.source.Topic: at}),
		kgo.KeepControlRecords(), // the last offset may be one of them
		kgo.FetchMaxBytes(fetchBytes), kgo.FetchMaxPartitionBytes(fetchPartitionBytes), kgo.FetchMaxWait(fetchWait),
	)...)
	if err != nil {
		return fmt.Errorf("reading topic %s: %w", l.source.Topic, err)
	}
	defer client.Close()
	for {
		for m.ready() {
			if err := each(ReadDeadLetter(m.pop())); err != nil {
				return err
			}
		}
		if m.done() {
			return nil
		}
		m.pause(client, l.source.Topic)
		if err := l.poll(ctx, client, m); err != nil {
			return err
		}
	}
}

// poll takes over what has come.
func (l *Letters) poll(ctx context.Context, client *kgo.Client, m *merge) error {
	wait, cancel := context.WithTimeout(ctx, l.source.Timeout)
	defer cancel()
	fetches := client.PollRecords(wait, pollRecords)
	var failure error
	fetches.EachError(func(_ string, partition int32, err error) {
		var loss *kgo.ErrDataLoss
		// What was lost is below the start of the partition: the letters' time was up while they were read.
		if failure == nil && wait.Err() == nil && !errors.As(err, &loss) {
			failure = fmt.Errorf("reading topic %s, partition %d: %w", l.source.Topic, partition, err)
		}
	})
	if failure != nil {
		return failure
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	fetches.EachRecord(m.add)
	if fetches.NumRecords() == 0 {
		return l.idle(ctx, m)
	}
	return nil
}

// idle finds out why nothing has come.
func (l *Letters) idle(ctx context.Context, m *merge) error {
	starts, err := l.offsets(ctx, l.admin.ListStartOffsets)
	if err != nil {
		return err
	}
	gone := false
	for _, q := range m.queues {
		if q.next < q.end && starts[q.partition] >= q.end { // retention was faster
			q.next, gone = q.end, true
		}
	}
	if gone {
		return nil
	}
	q := m.missing()
	return fmt.Errorf("topic %s, partition %d: nothing has come from offset %d on within %v, and the partition should reach up to %d",
		l.source.Topic, q.partition, q.next, l.source.Timeout, q.end-1)
}

// merge has the queues of all partitions that are read, in the order of the spans.
type merge struct {
	queues      []*letterQueue
	byPartition map[int32]*letterQueue
}

// letterQueue is what has been read of a partition and not been passed on.
type letterQueue struct {
	partition int32
	records   []*kgo.Record
	bytes     int
	// next is the offset that is expected next, end where the span ends.
	next, end int64
	paused    bool
}

func newMerge(spans []Span) (*merge, map[int32]kgo.Offset) {
	m := &merge{byPartition: map[int32]*letterQueue{}}
	at := map[int32]kgo.Offset{}
	for _, s := range spans {
		if s.Start < s.End {
			q := &letterQueue{partition: s.Partition, next: s.Start, end: s.End}
			m.queues, m.byPartition[s.Partition] = append(m.queues, q), q
			at[s.Partition] = kgo.NewOffset().At(s.Start)
		}
	}
	return m, at
}

func sizeOf(r *kgo.Record) int { return queuedOverhead + len(r.Key) + len(r.Value) }

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
func (m *merge) missing() *letterQueue {
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
	var oldest *letterQueue
	for _, q := range m.queues {
		if len(q.records) > 0 && (oldest == nil || q.records[0].Timestamp.Before(oldest.records[0].Timestamp)) {
			oldest = q
		}
	}
	r := oldest.records[0]
	oldest.records[0] = nil
	oldest.records, oldest.bytes = oldest.records[1:], oldest.bytes-sizeOf(r)
	return r
}

// pause lets the client fetch only what there is room for and what is not read yet.
func (m *merge) pause(client *kgo.Client, topic string) {
	for _, q := range m.queues {
		full := q.next >= q.end || q.bytes >= queueBytes
		room := q.next < q.end && q.bytes < queueBytes/2
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
