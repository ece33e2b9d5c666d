package kafka

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/event-gateway/event-gateway/stages"
)

// oneMessage are events of one message in partition 0.
func (r *rig) oneMessage(size int, ids ...string) (events []*stages.Event) {
	for _, id := range ids {
		ev := newEvent(id, r.partition(0))
		ev.Data = []byte(strings.Repeat("x", size))
		if len(events) > 0 {
			ev.Msg = events[0].Msg
		}
		events = append(events, ev)
	}
	return events
}

// TestReportsOfAMessageComeTogether: one report a message, except that the clock may end one early.
func TestReportsOfAMessageComeTogether(t *testing.T) {
	counts := make(chan int, 1000)
	r := newRig(t, func(_ *Config, p *Parts) {
		report := p.Report
		p.Report = func(events []*stages.Event) {
			counts <- len(events)
			report(events)
		}
	}).ready()
	const messages, each = 100, 8
	ids := strings.Split("abcdefgh", "")
	var events []*stages.Event
	for range messages {
		events = append(events, r.oneMessage(10, ids...)...)
	}
	r.producer.Produce(r.partition(0), events)
	for i := range messages * each {
		r.want(ids[i%each], stages.Acknowledged, stages.NoReason)
	}
	whole := 0
	for range len(counts) {
		if n := <-counts; n == each {
			whole++
		} else if n > each {
			t.Errorf("a report of %d events: nobody marked the end of a message of %d", n, each)
		}
	}
	if whole < messages/2 {
		t.Errorf("%d of %d messages were reported by one report", whole, messages)
	}
}

// TestNoReportWaitsForAnotherBatch: franz-go cuts the events of a message in two batches, and the second one is never
// answered. What Kafka acknowledged is known all the same.
func TestNoReportWaitsForAnotherBatch(t *testing.T) {
	r := newRig(t, nil).ready()
	requests := 0
	r.cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		r.cluster.KeepControl()
		requests++
		return nil, nil, requests > 1
	})
	events := r.oneMessage(700_000, "a", "b") // two do not fit a batch of 1 MiB
	r.producer.Produce(r.partition(0), events)
	r.want("a", stages.Acknowledged, stages.NoReason)
	if n := r.producer.InFlight(); n != 1 {
		t.Errorf("%d records in flight, want b", n)
	}
	r.producer.Close()
	r.want("b", stages.Unknown, stages.OutcomeUnknown)
}
