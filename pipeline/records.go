package pipeline

// The entrance of records: of source topics, and of stored events that a replay
// publishes again. They are decoded from their keys, values and headers
// (stages/decode_record.go), and are events like any others from then on.
//
// The walk of who feeds them, for one message of one to a few hundred records:
//
//	n, err := p.Pace(ctx, client, len(records))       // the client's rate limit: waits, never refuses
//	m := p.ReceiveRecords(client, records[:n], options) // counted as accepted, by origin
//	m.Owner = ...
//	if v := p.Admit(ctx, m, -1); v != nil {           // waits for memory; DRAINING, or NOT_SENT when ctx has ended
//	        p.Reject(m, *v)
//	} else {
//	        p.Submit(lane, m)                         // ends in m.Owner.Completed(m)
//	}
//	... wait for Completed, or at m.Deadline:
//	p.Expire(m, stages.NotSent)                       // with stages.Draining when p.Cutoff is closed
//	... for each record i: m.Outcome(i); unless it is Acknowledged, m.Results[i] says more
//	p.Release(m)
//
// Order: records with one key that come through one lane are stored in the order
// in which they were submitted. One that is refused with advice to send it again
// (Results[i].RetryAfterMillis), or unknown, would be passed by later ones; a
// stages.Flow prevents that.

import (
	"context"
	"errors"
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

// ErrDraining is returned by Pace when the drain has begun.
var ErrDraining = errors.New("the gateway is shutting down")

// ReceiveRecords is Receive for records, at least one and at most MAX_BATCH_EVENTS.
// Each is one event, accepted and accounted for under o.Origin. The slice is the
// message's until it is released and all its events are retired: do not use it again.
//
// What a record becomes: a CloudEvent in binary mode (header ce_specversion) or a
// serialized event.v1.Event (by its content-type), the inverse of how the gateway
// writes records. The event's partition key is its own, else the record's key. An
// event without an id gets one that is computed from the record's place, the same
// every time. What is neither is refused MALFORMED_EVENT.
//
// With o.Topic all events go to that topic: rules shape and filter them, but a
// rule's TOPIC does not count. The caller has checked that it is one of the
// gateway's (stages.Topics.Named). Marks of a record become metadata entries of
// its event, and so headers: {"replayed_from", "orders/3/42"} is written as
// md_replayed_from. Rules see them.
//
// Records are not charged to the client's rate in the graph; that is what Pace is for.
func (p *Pipeline) ReceiveRecords(client *stages.Client, records []stages.Record, o stages.RecordOptions) *stages.Message {
	n := len(records)
	m := p.messages.get(n)
	m.Kind, m.Client = stages.Records, client
	m.SetRecords(records, o)
	m.Charge = int64(stages.RecordBytes(records)) + messageOverhead + int64(n)*stages.EventOverhead
	m.Received = time.Now()
	m.Entered = m.Received
	m.Deadline = m.Received.Add(p.deliveryTimeout)
	p.live.Add(1)
	p.accepted[m.Origin].Add(uint64(n))
	return m
}

// Pace waits until the client's rate limit has room for at least one event, and
// takes room for as many as there is, at most n. A replay that has a rate of its
// own does not call it. The error is ctx's, or ErrDraining.
func (p *Pipeline) Pace(ctx context.Context, client *stages.Client, n int) (allowed int, err error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	cfg := &p.parts.Stages
	if !cfg.RateLimitEnabled {
		return n, nil
	}
	limit := stages.NewLimit(cfg.RateLimitRPS, cfg.RateLimitBurst)
	for {
		allowed, retry := client.Limit.Take(limit, p.now(), n)
		if allowed > 0 {
			return allowed, nil
		}
		if err := p.pause(ctx, retry); err != nil {
			return 0, err
		}
	}
}

// breath is how long a paced caller waits at least, so that at high rates it does not wake for every single event.
const breath = 2 * time.Millisecond

// pause waits for the rate limit: retry, or a bit longer, but never so long that
// the bucket would run over. Without retry nothing ever passes.
func (p *Pipeline) pause(ctx context.Context, retry time.Duration) error {
	var after <-chan time.Time
	if retry > 0 {
		cfg := &p.parts.Stages
		half := time.Duration(float64(cfg.RateLimitBurst) / cfg.RateLimitRPS / 2 * float64(time.Second))
		timer := time.NewTimer(max(retry, min(breath, half)))
		defer timer.Stop()
		after = timer.C
	}
	select {
	case <-after:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-p.draining:
		return ErrDraining
	}
}
