package pipeline

// What the retirer keeps of acknowledged events, before anybody is told of them:
// their bytes (package recent), so that whoever has an answer finds the event, and
// the positions of claimed ids (dedupe.go).

import (
	"github.com/event-gateway/event-gateway/pipeline/recent"
	"github.com/event-gateway/event-gateway/stages"
)

// Recent has the last acknowledged events; nil with EVENT_STORE_CAPACITY=0.
func (p *Pipeline) Recent() *recent.Store { return p.recent }

// Preallocated is the memory that was allocated at once and has no pointers: the recent events, and the ids of the
// window. In bytes.
func (p *Pipeline) Preallocated() (bytes int64) {
	if p.recent != nil {
		bytes += p.recent.Bytes()
	}
	if p.dedupe != nil {
		bytes += p.dedupe.bytes()
	}
	return bytes
}

// remember keeps what is to be kept of events that are reported with their Acks. Called with mu held, before anything
// is answered.
func (r *retirer) remember(events []*stages.Event, now int64) {
	if r.p.recent != nil {
		for _, ev := range events {
			if inKafka(ev) {
				r.p.recent.Add(ev, recent.Position{Topic: uint16(ev.Topic.Index), Partition: ev.Ack.Partition, Offset: ev.Ack.Offset})
			}
		}
		r.p.recent.Publish()
	}
	if r.p.dedupe == nil {
		return
	}
	for _, ev := range events {
		if ev.Claim != nil {
			r.settleClaim(ev, endingOf(ev), now)
		}
	}
}

// rememberRun is remember for events that Kafka has.
func (r *retirer) rememberRun(a *stages.AcknowledgedRun, now int64) {
	topic, partition := a.Partition.Topic, a.Partition.ID
	if s := r.p.recent; s != nil {
		at := recent.Position{Topic: uint16(topic.Index), Partition: partition}
		for i, ev := range a.Events {
			at.Offset = a.Offsets[i]
			s.Add(ev, at)
		}
		s.Publish()
	}
	if r.p.dedupe == nil {
		return
	}
	for i, ev := range a.Events {
		if ev.Claim != nil {
			r.settleClaim(ev, ending{outcome: stages.Acknowledged, topic: topic, partition: partition, offset: a.Offsets[i]}, now)
		}
	}
}

// inKafka reports whether Kafka has the reported event in its topic.
func inKafka(ev *stages.Event) bool {
	return ev.Handed && !ev.Dead && ev.Ack.Verdict.Outcome == stages.Acknowledged
}
