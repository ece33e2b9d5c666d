package kafka

// A subscription that is behind the hub: it reads from Kafka by a client of its
// own until the hub can go on.

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// catchUpRecords is how many records a reader of the past takes over at once.
	catchUpRecords = 512
	// reviveEvery is how often a reader of the past looks whether it can start a tail that has ended.
	reviveEvery = time.Second
	// holesEvery is how long a reader of the past has waited for Kafka, and nothing has come of a partition in which the hub
	// is further on, before it asks whether there is anything. holesPatience bounds that for all partitions together: the
	// subscriber hears nothing meanwhile. What is not known by then is asked the next time.
	holesEvery    = 2 * time.Second
	holesPatience = time.Second
)

// catchUp reads from Kafka until the hub can go on. An error ends the subscription.
func (f *follower) catchUp(ctx context.Context) error {
	r := f.readers
	topic := r.parts.Topic.Name
	if err := f.same(ctx); err != nil {
		return err
	}
	f.surely = false
	known, looked := len(f.ps), time.Now()
	client, release, err := r.newReader(ctx, readerFor{f.sub.Name, f.wasLive}, slotPatience, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: f.ps.offsets(0)}))
	if err != nil {
		return err
	}
	defer release()
	still := standstill{at: f.ps, head: r.hub.newest()}
	for {
		if _, ok := r.hub.join(f.id, f.ps); ok {
			return nil
		}
		if r.hub.newest() == nil && time.Since(looked) > reviveEvery {
			if looked = time.Now(); f.revive(ctx) {
				continue
			}
		}
		if n := len(r.parts.Topic.Partitions()); n > known {
			f.ps = f.ps.grown(n)
			client.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: f.ps.offsets(known)})
			known = n
		}
		if err := f.poll(ctx, client, &still); err != nil {
			return err
		}
		f.skipHoles(ctx, &still)
		if err := f.idle(); err != nil {
			return err
		}
	}
}

// same refuses to go on in a topic that was deleted and created again: the same offsets are other events.
func (f *follower) same(ctx context.Context) error {
	b, err := f.readers.look(ctx)
	if err != nil {
		return err
	}
	return b.mustBe(f.id)
}

// revive starts the tail, which has ended because of something that was not in this subscriber's way, when the subscriber
// is near enough to the end to go on with it.
func (f *follower) revive(ctx context.Context) bool {
	b, err := f.readers.look(ctx)
	if err != nil || b.mustBe(f.id) != nil {
		return false
	}
	for p, end := range b.end {
		if end-f.ps.at(int32(p)) > history {
			return false
		}
	}
	f.readers.hub.revive(f.ps)
	return true
}

// standstill is where a subscriber and the hub were some time ago.
type standstill struct {
	at, head positions
	// waited is how long the subscriber has waited for Kafka since. The time in which it took its events does not count.
	waited time.Duration
}

// stuck are the partitions of which nothing has come to a subscriber who is at now, and in which the hub is further on.
// There are none while others have moved and not come to where the hub was: the subscriber is busy with those.
func (s *standstill) stuck(now, hub positions) (all []int32) {
	for p := range hub {
		switch at := now.at(int32(p)); {
		case at == s.at.at(int32(p)) && at < hub[p]:
			all = append(all, int32(p))
		case at < s.head.at(int32(p)):
			return nil
		}
	}
	return all
}

// skipHoles gets over offsets that Kafka has no records of, and that the hub has begun behind: it would keep its reader until
// somebody writes to that partition.
func (f *follower) skipHoles(ctx context.Context, s *standstill) {
	if s.waited < holesEvery {
		return
	}
	head := f.readers.hub.newest()
	stuck := s.stuck(f.ps, head)
	*s = standstill{at: f.ps, head: head}
	if len(stuck) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, holesPatience)
	defer cancel()
	if !f.readers.holes.compacted(ctx, f.id) {
		return
	}
	at := f.ps.grown(len(head))
	for _, p := range stuck {
		at[p] = f.readers.holes.behind(ctx, f.id, p, at[p], head[p])
	}
	f.move(at)
}

// poll takes over what has come for a reader of the past.
func (f *follower) poll(ctx context.Context, client *kgo.Client, s *standstill) error {
	within, cancel := context.WithTimeout(ctx, growthEvery)
	defer cancel()
	began := time.Now()
	fetches := client.PollRecords(within, catchUpRecords)
	s.waited += time.Since(began)
	if !f.surely && fetches.NumRecords() > 0 {
		// The client has looked for the topic by its name and keeps to what it found. If that was another topic already, then
		// it is another one now.
		if err := f.same(ctx); err != nil {
			return err
		}
		f.surely = true
	}
	at, bytes := f.ps.grown(0), 0
	for iter := fetches.RecordIter(); !iter.Done(); {
		n, err := f.past(iter.Next(), at)
		if err != nil {
			return f.last(err, &f.readers.metrics.fromReaders)
		}
		if bytes += n; bytes >= blockBytes {
			bytes = 0
			if err := f.flush(&f.readers.metrics.fromReaders); err != nil {
				return err
			}
			f.move(at.grown(0)) // a heartbeat that comes before the next one does not lead back
		}
	}
	if err := f.flush(&f.readers.metrics.fromReaders); err != nil {
		return err
	}
	f.move(at)
	if err := fetchError(within, fetches); err != nil {
		return f.readers.broken(ctx, f.id, f.ps, err)
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// past takes in one record, moves at, and says how many bytes go out for it.
func (f *follower) past(r *kgo.Record, at positions) (bytes int, err error) {
	if int(r.Partition) >= len(at) || r.Offset < at[r.Partition] {
		return 0, nil
	}
	at[r.Partition] = r.Offset + 1
	if r.Attrs.IsControl() {
		return 0, nil
	}
	d, err := f.filter.take(r, cursorRoom(len(at)))
	if err == nil {
		err = f.idleWithin()
	}
	if err != nil || d == nil {
		return 0, err
	}
	d.setCursor(f.id, at)
	f.out = append(f.out, &d.Delivery)
	return len(d.Frame), nil
}
