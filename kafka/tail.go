package kafka

// The tail: the one fetch stream that all live subscribers share. It ends with
// the hub, or with the first error that franz-go does not get over: then each
// subscriber finds out for itself what is wrong at its own place.

import (
	"context"
	"errors"
	"time"
	"unsafe"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// tailRecords is how many records are taken over at once.
	tailRecords = 4096
	// growthEvery is how often the tail looks for new partitions.
	growthEvery = time.Second
)

// tail belongs to its goroutine, except stop and id, which stays.
type tail struct {
	hub     *hub
	readers *Readers
	id      *identity
	stop    context.CancelFunc
	// surely: the client has shown that it reads the topic id; see follower.poll.
	surely bool
	// at is where the last pushed block ended. It is shared once it is in a block, so it is copied for the next one.
	at positions
}

// loop reads until ctx ends, or Kafka has an error.
func (t *tail) loop(ctx context.Context) error {
	r := t.readers
	client, err := kgo.NewClient(append(append(r.options(), r.consuming()...), kgo.ConsumePartitions(t.offsets(0)))...)
	if err != nil {
		return err
	}
	defer client.Close()
	for ctx.Err() == nil {
		t.grow(client)
		if err := t.poll(ctx, client); err != nil && ctx.Err() == nil {
			r.parts.Log.Log(LevelWarn, "the reader of all live subscribers ended; they end with it and may resume", "error", err)
			r.metrics.tailErrors.Add(1)
			return err
		}
	}
	return nil
}

// offsets are the places of the partitions from first on.
func (t *tail) offsets(first int) map[string]map[int32]kgo.Offset {
	return map[string]map[int32]kgo.Offset{t.readers.parts.Topic.Name: t.at.offsets(first)}
}

// grow takes in partitions that were added.
func (t *tail) grow(client *kgo.Client) {
	n := len(t.readers.parts.Topic.Partitions())
	if first := len(t.at); n > first {
		t.at = t.at.grown(n)
		t.hub.grow(t, t.at)
		client.AddConsumePartitions(t.offsets(first))
	}
}

// poll takes over what has come.
func (t *tail) poll(ctx context.Context, client *kgo.Client) error {
	within, cancel := context.WithTimeout(ctx, growthEvery)
	defer cancel()
	fetches := client.PollRecords(within, tailRecords)
	if !t.surely && fetches.NumRecords() > 0 {
		now, err := t.readers.look(ctx)
		if err == nil {
			err = now.mustBe(t.id)
		}
		if err != nil {
			return err
		}
		t.surely = true
	}
	b := t.block()
	for iter := fetches.RecordIter(); !iter.Done(); {
		b.add(t, iter.Next())
		if b.full() {
			if b = t.push(b); b == nil {
				return context.Canceled
			}
		}
	}
	if t.push(b) == nil {
		return context.Canceled
	}
	// After the events that came with it: partitions without an error go on.
	return fetchError(within, fetches)
}

// fetchError is the first error of fetches, other than the end of ctx and of what one answer may become.
func fetchError(ctx context.Context, fetches kgo.Fetches) (failure error) {
	fetches.EachError(func(topic string, partition int32, err error) {
		if failure == nil && (ctx.Err() == nil || !isContext(err)) && !errors.Is(err, errAnswerFull) {
			failure = &partitionError{topic, partition, err}
		}
	})
	return failure
}

// filling is a block in the making.
type filling struct {
	block
	at positions
}

func (t *tail) block() *filling {
	return &filling{block: block{before: t.at}, at: t.at.grown(0)}
}

func (b *filling) full() bool { return len(b.events) >= blockEvents || b.bytes >= blockBytes }

// add takes in a record. What is no event moves the position all the same.
func (b *filling) add(t *tail, r *kgo.Record) {
	if int(r.Partition) >= len(b.at) || r.Offset < b.at[r.Partition] {
		return
	}
	b.at[r.Partition] = r.Offset + 1
	if r.Attrs.IsControl() {
		return
	}
	d, err := deliveryOf(r, cursorRoom(len(b.at)))
	if err != nil {
		t.readers.skipped(r, err)
		return
	}
	d.setCursor(t.id, b.at)
	b.events = append(b.events, d)
	b.bytes += d.memory()
}

// push hands the block to the hub and begins the next; nil when this tail is not the hub's any more.
func (t *tail) push(b *filling) *filling {
	if len(b.events) == 0 && b.before.covers(b.at) {
		return b
	}
	b.after, t.at = b.at, b.at
	b.bytes += int(unsafe.Sizeof(block{})) + int(unsafe.Sizeof(int64(0)))*len(b.at) // all that blocks without events take
	if !t.hub.push(t, &b.block) {
		return nil
	}
	return t.block()
}
