package transport

// Replays into a topic: the events of a page go through the pipeline like any
// others, and each one's outcome is awaited before the next page is read. So
// what is in flight of a replay is a page at most, and its position is honest.
//
// An event that is refused for good does not end the replay: it is counted, and
// the latest is told. What may pass later (Kafka away, a full gateway), or is in
// doubt, is sent again with everything behind it that has not passed: the order
// by key stays, and some may be stored twice.
//
// Whatever takes long, the client hears of it once a second: one that hears
// nothing takes the replay for dead and begins again. Only the handler's goroutine
// writes; it waits for the pipeline through another one.

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
	"github.com/event-gateway/event-gateway/stages"
)

const (
	// republishEvents and republishBytes bound what enters the pipeline at once.
	republishEvents = 256
	republishBytes  = 512 << 10
	// republishPause is the shortest time before something is sent again, republishPatience how long it is tried, in
	// DELIVERY_TIMEOUTs, while nothing passes.
	republishPause    = 100 * time.Millisecond
	republishPatience = 2
	// replayedFrom is the metadata that tells where a republished event comes from.
	replayedFrom = "replayed_from"
	// tellEvery is how often the client hears of a republish at least.
	tellEvery = time.Second
)

// republish is one replay into a topic. It belongs to its handler's goroutine.
type republish struct {
	rs     *readStream
	topic  *stages.Topic
	flow   *stages.Flow
	totals gatewayv1.ReplayResponse_Progress
	// stuck is why the oldest event of those to be sent again did not pass, since when none has.
	stuck      stages.Result
	stuckSince time.Time
	// apart: Kafka has rejected a batch of records that are to be sent again. Each goes by itself then, or the one at
	// fault would take the others along for ever.
	apart bool
	// told is when the client heard last.
	told time.Time
}

func newRepublish(rs *readStream, topic *stages.Topic, from time.Time) *republish {
	p := &republish{rs: rs, topic: topic, flow: stages.NewFlow(false), told: time.Now()}
	p.totals.Position = timestamppb.New(from)
	return p
}

// page publishes the events of a page, and says how far the replay has come with them.
func (p *republish) page(events []*stages.Delivery, at stages.ReplayProgress) error {
	for len(events) > 0 {
		n := chunkOf(events, min(republishEvents, p.rs.server.config.MaxBatchEvents))
		if err := p.publishAll(recordsOf(events[:n])); err != nil {
			return err
		}
		events = events[n:]
	}
	t := &p.totals
	t.Read, t.Matched, t.Done, t.Position = at.Read, at.Matched, at.Done, progressOf(at).Position
	return p.tell()
}

// tell sends the progress.
func (p *republish) tell() error {
	p.told = time.Now()
	return p.rs.sendPage(nil, &p.totals)
}

// awaited is what ch gives; the client hears of the progress meanwhile, at once when it has not for long.
func awaited[T any](p *republish, ch <-chan T) (got T, err error) {
	next := time.NewTimer(tellEvery - time.Since(p.told))
	defer next.Stop()
	for {
		select {
		case got = <-ch:
			return got, nil
		case <-p.rs.ctx.Done():
			return got, p.rs.ctx.Err()
		case <-next.C:
			if err := p.tell(); err != nil {
				return got, err
			}
			next.Reset(tellEvery)
		}
	}
}

// chunkOf is how many of the first events enter the pipeline together.
func chunkOf(events []*stages.Delivery, most int) int {
	n, size := 0, 0
	for n < len(events) && n < most {
		if size += len(events[n].Frame); n > 0 && size > republishBytes {
			break
		}
		n++
	}
	return n
}

// recordsOf are events as the pipeline takes them.
func recordsOf(events []*stages.Delivery) []stages.Record {
	records := make([]stages.Record, len(events))
	for i, d := range events {
		records[i] = stages.Record{
			Value:     d.Frame,
			Headers:   []stages.Attribute{{Name: "content-type", Value: []byte(stages.EventContentType)}},
			Timestamp: d.Stored, Topic: d.Topic, Partition: d.Partition, Offset: d.Offset,
			Marks: []stages.Pair{{Name: []byte(replayedFrom), Value: fmt.Appendf(nil, "%s/%d/%d", d.Topic, d.Partition, d.Offset)}},
		}
	}
	return records
}

// publishAll publishes records, again where that can help, until each has its last outcome.
func (p *republish) publishAll(records []stages.Record) error {
	p.stuckSince, p.apart = time.Now(), false
	for len(records) > 0 {
		n := len(records)
		if p.apart {
			n = 1
		}
		again, wait, err := p.publish(records[:n])
		if err != nil {
			return err
		}
		if len(again) < n {
			p.stuckSince = time.Now()
		}
		if records = append(again, records[n:]...); len(again) == 0 {
			continue
		}
		if time.Since(p.stuckSince) > republishPatience*p.rs.server.config.DeliveryTimeout {
			return p.givenUp(&again[0])
		}
		if err := p.pause(wait); err != nil {
			return err
		}
	}
	return nil
}

// givenUp is what the replay ends with when nothing passes.
func (p *republish) givenUp(r *stages.Record) error {
	return &stages.Refusal{Reason: p.stuck.Reason, Detail: &stages.Detail{Message: fmt.Sprintf(
		"republishing %s/%d/%d into %s did not succeed within %v: %s", r.Topic, r.Partition, r.Offset, p.topic.Name,
		republishPatience*p.rs.server.config.DeliveryTimeout, messageOf(&p.stuck))},
		Info: map[string]string{"position": clock(p.totals.Position.AsTime())}}
}

// publish publishes records once. again are those to be sent again, after wait.
func (p *republish) publish(records []stages.Record) (again []stages.Record, wait time.Duration, err error) {
	s := p.rs.server
	own := append([]stages.Record(nil), records...) // the message's, until all its events are retired
	p.flow.Mend()
	m := s.pipeline.ReceiveRecords(p.rs.client, own, stages.RecordOptions{Origin: stages.FromReplay, Topic: p.topic, Flow: p.flow})
	if err := p.through(m); err != nil {
		return nil, 0, err
	}
	defer s.pipeline.Release(m)
	for i := range records {
		if pause, resend := p.settle(m, i, &records[i]); resend {
			if len(again) == 0 {
				p.stuck = m.Results[i]
			}
			p.apart = p.apart || m.Results[i].Reason == stages.BatchRejected
			again, wait = append(again, records[i]), max(wait, pause)
		}
	}
	return again, wait, nil
}

// through sends m through the pipeline. Without an error all its outcomes are known, and the caller releases it.
func (p *republish) through(m *stages.Message) error {
	ctx, cancel := context.WithCancel(p.rs.ctx)
	defer cancel()
	passed := make(chan error, 1)
	go func() { passed <- p.rs.server.pass(ctx, m) }()
	err, untold := awaited(p, passed)
	if untold == nil {
		return err
	}
	cancel()
	if <-passed == nil {
		p.rs.server.pipeline.Release(m)
	}
	return untold
}

// pass admits m, however long that takes, and waits for its outcomes.
func (s *Server) pass(ctx context.Context, m *stages.Message) error {
	if v := s.pipeline.Admit(ctx, m, -1); v != nil {
		s.pipeline.Reject(m, *v)
		return &stages.Refusal{Reason: v.Reason, Detail: v.Detail}
	}
	m.Deadline = s.deadline(ctx, m.Entered)
	return s.await(ctx, m)
}

// settle counts the outcome of a record, or says that it is to be sent again.
func (p *republish) settle(m *stages.Message, i int, r *stages.Record) (wait time.Duration, again bool) {
	switch m.Outcome(i) {
	case stages.Acknowledged:
		p.totals.Republished++
		return 0, false
	case stages.Filtered, stages.Duplicate:
		p.totals.Filtered++
		return 0, false
	}
	result := &m.Results[i]
	if result.Outcome == stages.Unknown || result.RetryAfterMillis > 0 || result.Reason.Standing(result.Stage) {
		return time.Duration(result.RetryAfterMillis) * time.Millisecond, true
	}
	p.totals.Refused++
	p.totals.LastRefusal = validText(fmt.Sprintf("%s/%d/%d: %s: %s", r.Topic, r.Partition, r.Offset, result.Reason, messageOf(result)))
	return 0, false
}

// pause waits before something is sent again.
func (p *republish) pause(wait time.Duration) error {
	_, err := awaited(p, time.After(max(wait, republishPause)))
	return err
}
