package kafka

// Where a reading begins, and whether Kafka still has what comes after a place.

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/event-gateway/event-gateway/stages"
)

const (
	// aheadPatience is how long a place beyond the end of a partition may be the broker's delay: a new leader learns of the
	// end after its followers have told it.
	aheadPatience = 2 * time.Second
	aheadPoll     = 200 * time.Millisecond
	// maxEarliest bounds a cursor that goes into a status, which travels in a header.
	maxEarliest = 4 << 10
)

// bounds is what Kafka has of the topic: from start up to, without it, high. What is behind end waits for a transaction
// that somebody has open: it is acknowledged, and nobody gets it before that ends. start <= end <= high.
type bounds struct {
	start, end, high positions
	id               *identity
}

// look asks Kafka for the topic's bounds. Its number of partitions is Kafka's at this moment.
func (r *Readers) look(ctx context.Context) (*bounds, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.ReadTimeout)
	defer cancel()
	for {
		b, err := r.lookOnce(ctx)
		if err == nil || !errors.Is(err, errNotListed) {
			return b, err
		}
		select { // partitions were added, and kadm has the topic's metadata from before
		case <-time.After(metadataMinAge):
		case <-ctx.Done():
			return nil, kafkaFailure(r.parts.Topic.Name, err)
		}
	}
}

// lookFor is look for n partitions or more. Brokers hear of new partitions one after the other, so fewer may be the delay of one.
func (r *Readers) lookFor(ctx context.Context, n int) (*bounds, error) {
	for began := time.Now(); ; {
		b, err := r.look(ctx)
		if err != nil || len(b.start) >= n || time.Since(began) > aheadPatience {
			return b, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(aheadPoll):
		}
	}
}

// errNotListed is said of a partition that kadm does not know yet.
var errNotListed = errors.New("no offset is known of a partition")

func (r *Readers) lookOnce(ctx context.Context) (*bounds, error) {
	topic := r.parts.Topic.Name
	is, err := describeTopic(ctx, r.client, topic)
	if err != nil {
		return nil, kafkaFailure(topic, err)
	}
	n := len(is.Partitions)
	b := &bounds{id: r.identify(topic, is.TopicID)}
	if b.start, err = offsetsOf(ctx, topic, n, r.admin.ListStartOffsets); err == nil {
		b.end, err = offsetsOf(ctx, topic, n, r.admin.ListCommittedOffsets)
	}
	if err == nil { // after end, so that it is never below it
		b.high, err = offsetsOf(ctx, topic, n, r.admin.ListEndOffsets)
	}
	switch {
	case errors.Is(err, errNotListed):
		return nil, err
	case err != nil:
		return nil, kafkaFailure(topic, err)
	}
	return b, nil
}

// describeTopic asks Kafka for a topic's metadata. Not kadm.ListTopics: it may answer from what the client knew metadataMinAge
// ago, and so take a topic that was created anew since for the old one.
func describeTopic(ctx context.Context, client *kgo.Client, topic string) (*kmsg.MetadataResponseTopic, error) {
	request := kmsg.NewPtrMetadataRequest()
	one := kmsg.NewMetadataRequestTopic()
	one.Topic = kmsg.StringPtr(topic)
	request.Topics = append(request.Topics, one)
	answer, err := request.RequestWith(ctx, client)
	if err == nil && len(answer.Topics) != 1 {
		err = kerr.UnknownTopicOrPartition
	}
	if err == nil {
		err = kerr.ErrorForCode(answer.Topics[0].ErrorCode)
	}
	if err != nil {
		return nil, err
	}
	return &answer.Topics[0], nil
}

// identify notes which topic it is. With another one than before, what the hub has is of the past.
func (r *Readers) identify(topic string, id [16]byte) *identity {
	is := identityOf(topic, id)
	if was := r.identity.Load(); was != nil && *was == is {
		return was
	}
	if was := r.identity.Swap(&is); was != nil {
		r.hub.restart()
	}
	return &is
}

// offsetsOf is one offset for each of n partitions.
func offsetsOf(ctx context.Context, topic string, n int, list func(context.Context, ...string) (kadm.ListedOffsets, error)) (positions, error) {
	listed, err := list(ctx, topic)
	if err == nil {
		err = listed.Error()
	}
	if err != nil {
		return nil, err
	}
	ps := make(positions, n)
	for p := range ps {
		o, ok := listed.Lookup(topic, int32(p))
		if !ok {
			return nil, fmt.Errorf("partition %d: %w", p, errNotListed)
		}
		ps[p] = o.Offset
	}
	return ps, nil
}

// begin settles where a subscription begins, and in which topic that is.
func (r *Readers) begin(ctx context.Context, start stages.Start) (positions, *identity, error) {
	b, err := r.look(ctx)
	if err != nil {
		return nil, nil, err
	}
	ps, err := r.beginIn(ctx, b, start)
	return ps, b.id, err
}

func (r *Readers) beginIn(ctx context.Context, b *bounds, start stages.Start) (positions, error) {
	switch {
	case start.Earliest:
		return b.start, nil
	case !start.Time.IsZero():
		return r.since(ctx, start.Time, b.high)
	case start.Cursor == "":
		return b.end, nil
	}
	ps, err := readCursor(start.Cursor, b.id)
	if err != nil {
		refused := refuse(stages.InvalidCursor, err.Error())
		refused.Detail.Field = "cursor"
		return nil, refused
	}
	if len(ps) > len(b.start) {
		id := b.id
		if b, err = r.lookFor(ctx, len(ps)); err == nil {
			err = b.mustBe(id)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(ps) > len(b.start) {
		return nil, b.expired(ps, "the topic has fewer partitions than the cursor")
	}
	for p := len(ps); p < len(b.start); p++ { // added since: all of them is new
		ps = append(ps, b.start[p])
	}
	return ps, r.check(ctx, ps)
}

// since is after for a start. Kafka is asked for the end of a partition, which has nothing from t on yet, after it was asked
// for t: what comes between the two would be left out. So no start lies behind high, an end that was known before. It may
// lie behind an open transaction.
func (r *Readers) since(ctx context.Context, t time.Time, high positions) (positions, error) {
	ps, err := r.after(ctx, t, len(high))
	for p := range ps {
		ps[p] = min(ps[p], high[p])
	}
	return ps, err
}

// mustBe refuses when the topic is not id any more.
func (b *bounds) mustBe(id *identity) error {
	if *b.id == *id {
		return nil
	}
	return refuse(stages.TopicRecreated, "the topic was deleted and created again; subscribe anew without a cursor")
}

// after are the first offsets with a time of receipt that is not before t.
func (r *Readers) after(ctx context.Context, t time.Time, n int) (positions, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.ReadTimeout)
	defer cancel()
	ps, err := offsetsOf(ctx, r.parts.Topic.Name, n, func(ctx context.Context, topics ...string) (kadm.ListedOffsets, error) {
		return r.admin.ListOffsetsAfterMilli(ctx, t.UnixMilli(), topics...)
	})
	if err != nil {
		return nil, kafkaFailure(r.parts.Topic.Name, err)
	}
	return ps, nil
}

// check is nil when Kafka has all that follows ps.
func (r *Readers) check(ctx context.Context, ps positions) error {
	for began := time.Now(); ; {
		b, err := r.look(ctx)
		if err != nil {
			return err
		}
		switch {
		case !ps.covers(b.start):
			return b.expired(ps, "")
		case b.high.covers(ps):
			return nil
		case time.Since(began) > aheadPatience:
			return b.expired(ps, "it lies beyond the end of a partition: Kafka has lost what was there")
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(aheadPoll):
		}
	}
}

// expired refuses a place that Kafka does not have, and names the next one that it has.
func (b *bounds) expired(ps positions, why string) error {
	if why == "" {
		why = b.missing(ps)
	}
	refused := refuse(stages.EventsExpired, why+"; the cursor in earliest_cursor goes on with what is there")
	nearest := make(positions, len(b.start))
	for p := range nearest {
		nearest[p] = min(max(ps.at(int32(p)), b.start[p]), b.high[p])
	}
	if cursor := cursorOf(b.id, nearest); len(cursor) <= maxEarliest {
		refused.Info = map[string]string{"earliest_cursor": cursor}
	}
	return refused
}

// missing says what is gone.
func (b *bounds) missing(ps positions) string {
	for p, start := range b.start {
		if at := ps.at(int32(p)); at < start {
			return fmt.Sprintf("partition %d begins at offset %d, and the events from %d on are gone (retention)", p, start, at)
		}
	}
	return "Kafka no longer has all events from there on"
}

// broken is what a reader at ps hears when its fetches failed with err: what is wrong at its place, if something is.
func (r *Readers) broken(ctx context.Context, id *identity, ps positions, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	reason := readReason(err)
	if reason == stages.EventsExpired {
		if b, lookErr := r.look(ctx); lookErr == nil {
			if err := b.mustBe(id); err != nil {
				return err
			}
			return b.expired(ps, b.missing(ps))
		}
	}
	refused := refuse(reason, "reading "+err.Error())
	if skip := r.behindBatch(ps, err); skip != "" {
		refused.Info = map[string]string{"skip_cursor": skip}
	}
	return refused
}

// behindBatch is the cursor right behind a batch that is too large, whose end franz-go knows.
func (r *Readers) behindBatch(ps positions, err error) string {
	large, ok := errors.AsType[*kgo.ErrDecompressTooLarge](err)
	id := r.identity.Load()
	if !ok || id == nil || int(large.Partition) >= len(ps) {
		return ""
	}
	next := ps.grown(0)
	next[large.Partition] = max(next[large.Partition], large.NextOffset)
	return cursorOf(id, next)
}
