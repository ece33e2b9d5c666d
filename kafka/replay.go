package kafka

// Replays: what was received within a range of time, once, by a reader of its own.
//
//	offsets of the range -> merge: about in the order of time -> filter, pace -> pages (replay_page.go)
//
// Records of several gateways lie a little out of the order of their times: one is stored DELIVERY_TIMEOUT after its
// receipt at the latest. So a partition is read from the first record of the range on, before which there is none of
// it, up to the first one that was received DELIVERY_TIMEOUT after it, behind which there is none; and each
// record's own time decides. For the same reason all below a time is done when each partition has come DELIVERY_TIMEOUT
// further.
//
// What is behind a transaction that somebody has open is acknowledged, and Kafka does not give it to us before that ends.
// It is of the range all the same: the replay waits for it.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/event-gateway/event-gateway/stages"
)

const (
	// replayQueue bounds what waits of one partition, replayQueues of all together, in bytes. At least one fetch of each
	// partition comes on top.
	replayQueue  = 1 << 20
	replayQueues = 16 << 20
	// replayRecords is how many records are taken over at once.
	replayRecords = 1000
	// replayPatience is how long a replay waits for others' readers to finish.
	replayPatience = time.Second
	// replayLook is how long what is due may be away before somebody looks where it is.
	replayLook = time.Second
)

// replay is one call. It belongs to its goroutine.
type replay struct {
	readers *Readers
	ask     *stages.Replay
	filter  *recordFilter
	// from and to are those of ask, in Kafka's milliseconds.
	from, to time.Time
	// until is the end of what is known to be complete: what was received later may be stored yet.
	until time.Time
	id    *identity
	merge *merge
	page  *pager
	// open is the time of the event that was taken off the queues and is in no page yet: it waits for its turn, or has ended the
	// replay. Zero: there is none.
	open time.Time
	// waited is how long nothing has come that is due.
	waited time.Duration
}

// Replay implements stages.Reading.
func (r *Readers) Replay(ctx context.Context, ask *stages.Replay) error {
	ctx, leave, err := r.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	r.metrics.replays.Add(1)
	defer r.metrics.replays.Add(-1)
	p := &replay{readers: r, ask: ask, filter: r.filter(ctx, ask.Name, ask.Match), from: ask.From.Truncate(time.Millisecond), to: ask.To.Truncate(time.Millisecond)}
	p.page = newPager(ask, r.reading.ReplayBatchSize, p.position, &r.metrics)
	if err := p.run(ctx); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return err
	}
	return nil
}

// run goes through the range. When ctx is over, that is why it failed.
func (p *replay) run(ctx context.Context) error {
	if err := p.find(ctx); err != nil {
		return err
	}
	if !p.merge.done() {
		if err := p.read(ctx); err != nil {
			return err
		}
	}
	return p.page.finish(p.until)
}

// find settles which offsets there are to read.
func (p *replay) find(ctx context.Context) error {
	r := p.readers
	slack := r.parts.DeliveryTimeout
	p.until = time.Now().Add(-slack).Truncate(time.Millisecond)
	if p.to.Before(p.until) {
		p.until = p.to
	}
	if p.until.Before(p.from) { // who goes on from there must not get what was received before the range
		p.until = p.from
	}
	b, err := r.look(ctx)
	if err != nil {
		return err
	}
	p.id = b.id
	n := len(b.high)
	first, err := r.since(ctx, p.from, b.high)
	if err != nil {
		return err
	}
	last, err := r.after(ctx, p.to.Add(slack), n)
	if err != nil {
		return err
	}
	var spans []Span
	for i := range n {
		spans = append(spans, Span{Partition: int32(i), Start: max(first[i], b.start[i]), End: min(last[i], b.high[i])})
	}
	p.merge = newMerge(spans, max(min(replayQueue, replayQueues/n), readPartitionBytes/8))
	return nil
}

func (p *replay) read(ctx context.Context) error {
	topic := p.readers.parts.Topic.Name
	client, release, err := p.readers.newReader(ctx, readerFor{client: p.ask.Name}, replayPatience, kgo.ConsumePartitions(
		map[string]map[int32]kgo.Offset{topic: p.merge.offsets(kgo.NoResetOffset())}))
	if err != nil {
		return err
	}
	defer release()
	for {
		for p.merge.ready() {
			if ctx.Err() != nil { // a filter takes its time, and may want nothing
				return context.Cause(ctx)
			}
			if err := p.take(ctx, p.merge.pop()); err != nil {
				return err
			}
		}
		if p.merge.done() {
			return nil
		}
		p.merge.pause(client, topic)
		if err := p.poll(ctx, client); err != nil {
			return err
		}
	}
}

// poll takes over what has come.
func (p *replay) poll(ctx context.Context, client *kgo.Client) error {
	if err := p.page.due(); err != nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, min(replayLook, p.page.patience()))
	defer cancel()
	began := time.Now()
	fetches := client.PollRecords(within, replayRecords)
	fetches.EachRecord(p.merge.add)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err := fetchError(within, fetches); err != nil {
		return p.broken(ctx, err)
	}
	if fetches.NumRecords() > 0 {
		p.waited = 0
		return nil
	}
	if p.waited += time.Since(began); p.waited >= replayLook {
		return p.idle(ctx)
	}
	return nil
}

// idle finds out why nothing has come.
func (p *replay) idle(ctx context.Context) error {
	b, err := p.readers.look(ctx)
	if err != nil {
		return p.ended(err)
	}
	if *b.id != *p.id {
		return p.ended(refuse(stages.TopicRecreated, fmt.Sprintf("the topic %s was deleted and created again while it was replayed", p.readers.parts.Topic.Name)))
	}
	for _, q := range p.merge.queues {
		if q.next < q.end && b.start[q.partition] > q.next {
			return p.expired(b)
		}
	}
	if p.skipHoles(ctx) {
		p.waited = 0
		return nil
	}
	if p.waited > p.readers.cfg.ReadTimeout {
		return p.ended(p.late(b))
	}
	return nil
}

// late says what has not come.
func (p *replay) late(b *bounds) error {
	topic, waited := p.readers.parts.Topic.Name, p.waited.Round(time.Second)
	for _, q := range p.merge.queues {
		if stable := b.end.at(q.partition); len(q.records) == 0 && q.next < q.end && stable <= q.next {
			return refuse(stages.KafkaUnavailable, fmt.Sprintf(
				"an open transaction of a producer at topic %s, partition %d, offset %d has held the events behind it up for %v: go on from the position when it has ended, which the broker sees to after the producer's transaction.timeout.ms",
				topic, q.partition, stable, waited))
		}
	}
	q := p.merge.missing()
	return refuse(stages.KafkaUnavailable, fmt.Sprintf(
		"nothing has come of topic %s, partition %d from offset %d on within %v, and it should reach up to %d",
		topic, q.partition, q.next, waited, q.end-1))
}

// skipHoles gets over offsets that Kafka has no records of.
func (p *replay) skipHoles(ctx context.Context) (moved bool) {
	ctx, cancel := context.WithTimeout(ctx, p.readers.cfg.ReadTimeout)
	defer cancel()
	return p.readers.holes.skip(ctx, p.id, p.merge)
}

// broken is what the replay ends with when a fetch failed.
func (p *replay) broken(ctx context.Context, err error) error {
	reason := readReason(err)
	if reason == stages.EventsExpired {
		if b, lookErr := p.readers.look(ctx); lookErr == nil {
			return p.expired(b)
		}
	}
	return p.ended(refuse(reason, "reading "+err.Error()))
}

// expired is what the replay ends with when retention was faster.
func (p *replay) expired(b *bounds) error {
	for _, q := range p.merge.queues {
		if int(q.partition) < len(b.start) && q.next < q.end && b.start[q.partition] > q.next {
			return p.ended(refuse(stages.EventsExpired, fmt.Sprintf(
				"partition %d begins at offset %d now, and the events from %d on are gone: retention was faster than the replay; begin later, or with a filter that lets it go faster",
				q.partition, b.start[q.partition], q.next)))
		}
	}
	return p.ended(refuse(stages.EventsExpired, ""))
}

// ended hands over what is done, and says how far it is with the reason.
func (p *replay) ended(why error) error {
	if err := p.page.flush(); err != nil {
		return err
	}
	if refused, ok := errors.AsType[*stages.Refusal](why); ok {
		refused.Info = map[string]string{"position": p.position().UTC().Format(time.RFC3339Nano)}
	}
	return why
}

// position is the time below which everything is done.
func (p *replay) position() time.Time {
	at := p.passed()
	if !p.open.IsZero() && p.open.Before(at) {
		return p.open
	}
	return at
}

// passed is the time below which everything was taken off the queues.
func (p *replay) passed() time.Time {
	if p.merge == nil {
		return p.from
	}
	at, ok := p.merge.reached()
	if !ok {
		return p.until
	}
	at = at.Add(-p.readers.parts.DeliveryTimeout)
	switch {
	case at.Before(p.from):
		return p.from
	case at.After(p.until):
		return p.until
	}
	return at
}

// take goes through one record.
func (p *replay) take(ctx context.Context, r *kgo.Record) error {
	if r.Timestamp.Before(p.from) || !r.Timestamp.Before(p.to) {
		return p.page.due()
	}
	p.page.progress.Read++
	p.open = r.Timestamp
	d, err := p.filter.take(r, 0)
	switch {
	case err != nil:
		return p.ended(err)
	case d == nil:
		p.open = time.Time{}
		return p.page.due()
	}
	err = p.page.add(ctx, &d.Delivery)
	p.open = time.Time{}
	return err
}
