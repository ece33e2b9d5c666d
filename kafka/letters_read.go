package kafka

// Reading dead letters: every partition in its order, and all of them together
// about in the order of time (merge.go).

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
	// fetchBytes bounds the answers of one broker, fetchPartitionBytes a partition's part; a record that is larger
	// comes alone.
	fetchBytes          = 8 << 20
	fetchPartitionBytes = 1 << 20
	// fetchWait is how long a broker may wait for new records. Those that are wanted are there; a fetch that went out
	// while a partition was paused must not hold up the one that takes it in again.
	fetchWait = 100 * time.Millisecond
	// pollRecords is how many records are taken over at once.
	pollRecords = 1000
	// letterLook is how long nothing may have come before somebody looks why.
	letterLook = time.Second
)

// letterReading is one Read.
type letterReading struct {
	*Letters
	merge *merge
	// consumer has a client of its own.
	consumer *kgo.Client
	// waited is how long nothing has come.
	waited time.Duration
}

// Read calls each for every record of the spans, one after the other; its error says that the record is no dead
// letter. It ends with the first error of each, with ctx, or when Kafka has nothing to say for the source's Timeout.
func (l *Letters) Read(ctx context.Context, spans []Span, each func(Letter, error) error) error {
	m := newMerge(spans, queueBytes)
	if m.done() {
		return nil
	}
	client, err := kgo.NewClient(append(append(l.options(), fetchBounds(l.holes.batches, fetchBytes, fetchPartitionBytes)...),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{l.source.Topic: m.offsets(kgo.NewOffset())}),
		kgo.KeepControlRecords(), // the last offset may be one of them
		kgo.FetchMaxWait(fetchWait),
	)...)
	if err != nil {
		return fmt.Errorf("reading topic %s: %w", l.source.Topic, err)
	}
	defer client.Close()
	r := &letterReading{Letters: l, merge: m, consumer: client}
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
		if err := r.poll(ctx); err != nil {
			return err
		}
	}
}

// poll takes over what has come.
func (r *letterReading) poll(ctx context.Context) error {
	look := min(letterLook, r.source.Timeout)
	within, cancel := context.WithTimeout(ctx, look)
	defer cancel()
	began := time.Now()
	fetches := r.consumer.PollRecords(within, pollRecords)
	var failure error
	fetches.EachError(func(_ string, partition int32, err error) {
		var loss *kgo.ErrDataLoss
		waitedOut := within.Err() != nil && isContext(err)
		// What was lost is below the start of the partition: the letters' time was up while they were read.
		if failure == nil && !waitedOut && !errors.As(err, &loss) && !errors.Is(err, errAnswerFull) {
			failure = fmt.Errorf("reading topic %s, partition %d: %w", r.source.Topic, partition, err)
		}
	})
	if failure != nil {
		return failure
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	fetches.EachRecord(r.merge.add)
	if fetches.NumRecords() > 0 {
		r.waited = 0
		return nil
	}
	if r.waited += time.Since(began); r.waited >= look {
		return r.idle(ctx)
	}
	return nil
}

// idle finds out why nothing has come.
func (r *letterReading) idle(ctx context.Context) error {
	starts, err := r.offsets(ctx, r.admin.ListStartOffsets)
	if err != nil {
		return err
	}
	gone := false
	for _, q := range r.merge.queues {
		if q.next < q.end && starts[q.partition] >= q.end { // retention was faster
			q.next, gone = q.end, true
		}
	}
	switch {
	case gone || r.skipHoles(ctx):
		r.waited = 0
		return nil
	case r.waited < r.source.Timeout:
		return nil
	}
	q := r.merge.missing()
	return fmt.Errorf("topic %s, partition %d: nothing has come from offset %d on within %v, and the partition should reach up to %d",
		r.source.Topic, q.partition, q.next, r.source.Timeout, q.end-1)
}

// skipHoles gets over offsets that Kafka has no records of.
func (r *letterReading) skipHoles(ctx context.Context) (moved bool) {
	ctx, cancel := context.WithTimeout(ctx, r.source.Timeout)
	defer cancel()
	return r.holes.skip(ctx, &r.id, r.merge)
}
