package kafka

// A subscription of its own: live from the hub, or from Kafka by a reader of
// its own while it is behind the hub. The two meet without a gap and without a
// double because both say exactly what they have: the subscriber has read all
// below its positions, a block follows its own. So it may go on with any block
// that begins at or before its positions, and leaves out what it has had.

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

// history is how many events of a partition the tail reads again when it starts for somebody who resumes: others are
// likely to come who had about the same, and need no reader then.
const history = 2000

// follower is one subscription. It belongs to the goroutine of its call, except at.
type follower struct {
	readers *Readers
	sub     *stages.Subscription
	id      *identity
	// filter says what it wants, of the hub's blocks and of what it reads by itself.
	filter *recordFilter
	// ps is what the subscriber has had and seen; shared with blocks, so never changed in place.
	ps positions
	// surely: the reader of the past has shown that it reads the topic id.
	surely bool
	// ahead: ps may be ahead of the hub in some partition, so its cursors are not the hub's.
	ahead bool
	// wasLive: it has been with the hub once, or began where that is.
	wasLive bool
	// out are events that go to the subscriber together.
	out []*stages.Delivery
	// beat is when the subscriber has to hear something.
	beat time.Time
	// at is ps for those who measure.
	at atomic.Pointer[positions]
}

// Subscribe implements stages.Reading.
func (r *Readers) Subscribe(ctx context.Context, s *stages.Subscription) error {
	ctx, leave, err := r.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if s.Group != "" {
		return r.share(ctx, s)
	}
	return r.follow(ctx, s)
}

func (r *Readers) follow(ctx context.Context, s *stages.Subscription) error {
	began, id, err := r.begin(ctx, s.Start)
	if err != nil {
		return err
	}
	f := &follower{readers: r, sub: s, id: id, filter: r.filter(ctx, s.Name, s.Match), ps: began, wasLive: s.Start == (stages.Start{})}
	// beat is 0: who wants heartbeats has a cursor to resume with before there is any event.
	r.metrics.follow(f)
	defer r.metrics.unfollow(f)
	if err := r.listen(ctx, s.Start, began); err != nil {
		return err
	}
	defer r.hub.leave()
	if err := s.Begun(); err != nil {
		return err
	}
	for {
		if seq, ok := r.hub.join(f.id, f.ps); ok {
			err = f.live(ctx, seq)
		} else {
			err = f.catchUp(ctx)
		}
		if s.Start.Earliest && f.ps.covers(began) && began.covers(f.ps) && expired(err) { // retention was faster than the first fetch
			if began, f.id, err = r.begin(ctx, s.Start); err == nil {
				f.move(began)
			}
		}
		if err != nil {
			return err
		}
	}
}

func expired(err error) bool {
	refused, ok := errors.AsType[*stages.Refusal](err)
	return ok && refused.Reason == stages.EventsExpired
}

// listen keeps the tail running, and says where it begins if it has to be started: at the end, where a subscriber to
// what comes from now on is, or a little before, for those who resume.
func (r *Readers) listen(ctx context.Context, start stages.Start, ps positions) error {
	from := ps
	if start != (stages.Start{}) && r.hub.newest() == nil {
		b, err := r.look(ctx)
		if err != nil {
			return err
		}
		from = b.end.grown(0)
		for p := range from {
			from[p] = max(b.start[p], from[p]-history)
		}
		r.hub.sound(from, b.end)
	}
	r.hub.listen(from)
	return nil
}

// live goes through the hub's blocks from seq on, until the next one is not there. An error ends the subscription.
func (f *follower) live(ctx context.Context, seq uint64) error {
	f.wasLive = true
	f.ahead = true // until a block says otherwise
	for {
		b, found, came, failed := f.readers.hub.at(seq)
		switch {
		case failed != nil && failed.concerns(f.ps):
			return f.readers.broken(ctx, f.id, f.ps, failed.err)
		case found == behind:
			return nil
		case found == wait:
			if err := f.wait(ctx, came); err != nil {
				return err
			}
		default:
			if err := f.take(b); err != nil {
				return err
			}
			seq++
		}
		if err := f.idle(); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// wait until came, or until the subscriber has to hear something.
func (f *follower) wait(ctx context.Context, came <-chan struct{}) error {
	var beat <-chan time.Time
	if f.sub.Heartbeat {
		timer := time.NewTimer(time.Until(f.beat))
		defer timer.Stop()
		beat = timer.C
	}
	select {
	case <-came:
	case <-beat:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// take goes through a block.
func (f *follower) take(b *block) error {
	if f.ahead {
		return f.takeNew(b)
	}
	for _, d := range b.events {
		if err := f.want(&d.Delivery); err != nil {
			return f.last(err, &f.readers.metrics.fromHub)
		}
	}
	if err := f.flush(&f.readers.metrics.fromHub); err != nil {
		return err
	}
	f.move(b.after)
	return nil
}

// takeNew is take for a subscriber that has had some of the block, and whose cursors are its own.
func (f *follower) takeNew(b *block) error {
	at := f.ps.joined(b.before)
	for _, d := range b.events {
		if d.Offset < f.ps.at(d.Partition) {
			continue
		}
		at[d.Partition] = d.Offset + 1
		if err := f.want(d.withCursor(f.id, at)); err != nil {
			return f.last(err, &f.readers.metrics.fromHub)
		}
	}
	if err := f.flush(&f.readers.metrics.fromHub); err != nil {
		return err
	}
	f.move(f.ps.joined(b.after))
	f.ahead = !b.after.covers(f.ps)
	return nil
}

// want puts an event that matches to those that go out.
func (f *follower) want(d *stages.Delivery) error {
	wanted, err := f.filter.wants(d.Event)
	if err != nil {
		return err
	}
	if wanted {
		f.out = append(f.out, d)
	}
	return f.idleWithin()
}

// idleWithin is idle between two events: those of one block may take longer than a heartbeat when each waits for a turn.
func (f *follower) idleWithin() error {
	if f.filter.turn == nil {
		return nil
	}
	return f.idle()
}

// last ends the subscription with err, which the filter says of an event: those before it go out.
func (f *follower) last(err error, counter *atomic.Uint64) error {
	if sendErr := f.flush(counter); sendErr != nil {
		return sendErr
	}
	return err
}

// flush sends what is to go out, and counts it.
func (f *follower) flush(counter *atomic.Uint64) error {
	if len(f.out) == 0 {
		return nil
	}
	err := f.sub.Deliver(f.out)
	if err == nil {
		counter.Add(uint64(len(f.out)))
	}
	clear(f.out)
	f.out = f.out[:0]
	f.pause()
	return err
}

// move notes that the subscriber has had everything below ps.
func (f *follower) move(ps positions) {
	f.ps = ps
	f.at.Store(&ps)
}

// pause begins the time in which the subscriber need not hear anything.
func (f *follower) pause() {
	if f.sub.Heartbeat {
		f.beat = time.Now().Add(f.readers.reading.SubscribeHeartbeat)
	}
}

// idle sends the cursor when the subscriber has not heard anything for long.
func (f *follower) idle() error {
	if !f.sub.Heartbeat || time.Now().Before(f.beat) {
		return nil
	}
	f.pause()
	return f.sub.Idle(cursorOf(f.id, f.ps))
}
