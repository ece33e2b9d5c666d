package kafka

import (
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/event-gateway/event-gateway/stages"
)

// oneMessage are events of one message in partition 0. A batch is quiet: its acknowledged events are reported as runs.
func (r *rig) oneMessage(kind stages.Kind, size int, ids ...string) (events []*stages.Event) {
	for i, id := range ids {
		ev := newEvent(id, r.partition(0))
		ev.Data, ev.Index, ev.Cost = []byte(strings.Repeat("x", size)), i, int32(100+i)
		if ev.Msg.Kind = kind; i > 0 {
			ev.Msg = events[0].Msg
		}
		events = append(events, ev)
	}
	return events
}

// answerFirst has the broker answer one produce request, and no other after it.
func (r *rig) answerFirst() {
	requests := 0
	r.cluster.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		r.cluster.KeepControl()
		requests++
		return nil, nil, requests > 1
	})
}

var bothKinds = map[string]stages.Kind{"quiet": stages.Batch, "with results": stages.Single}

// TestReportsOfAMessageComeTogether: one report a message, except that the clock may end one early.
func TestReportsOfAMessageComeTogether(t *testing.T) {
	for name, kind := range bothKinds {
		t.Run(name, func(t *testing.T) { reportsOfAMessage(t, kind) })
	}
}

func reportsOfAMessage(t *testing.T, kind stages.Kind) {
	counts := make(chan int, 1000)
	r := newRig(t, func(_ *Config, p *Parts) {
		report := p.Report
		p.Report = func(events []*stages.Event) {
			counts <- len(events)
			report(events)
		}
		acknowledged := p.Acknowledged
		p.Acknowledged = func(a *stages.AcknowledgedRun) {
			n := len(a.Events)
			if first := int64(100 + a.Events[0].Index); a.Cost != (first+first+int64(n)-1)*int64(n)/2 || a.Groups[0].Len() != n {
				t.Errorf("%d events from %d on: cost %d, %d in the first group", n, first, a.Cost, a.Groups[0].Len())
			}
			counts <- n
			acknowledged(a)
		}
	}).ready()
	const messages, each = 100, 8
	ids := strings.Split("abcdefgh", "")
	var events []*stages.Event
	for range messages {
		events = append(events, r.oneMessage(kind, 10, ids...)...)
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
	for name, kind := range bothKinds {
		t.Run(name, func(t *testing.T) { noReportWaits(t, kind) })
	}
}

func noReportWaits(t *testing.T, kind stages.Kind) {
	r := newRig(t, nil).ready()
	r.answerFirst()
	events := r.oneMessage(kind, 700_000, "a", "b") // two do not fit a batch of 1 MiB
	r.producer.Produce(r.partition(0), events)
	r.want("a", stages.Acknowledged, stages.NoReason)
	if n := r.producer.InFlight(); n != 1 {
		t.Errorf("%d records in flight, want b", n)
	}
	r.producer.Close()
	r.want("b", stages.Unknown, stages.OutcomeUnknown)
}

// TestFailuresBesideARun: of a quiet message, too, each event that failed says why, and in the order of its promise.
func TestFailuresBesideARun(t *testing.T) {
	r := newRig(t, nil).ready()
	r.answerFirst()
	events := r.oneMessage(stages.Batch, 600_000, "a", "b", "c")
	r.producer.Produce(r.partition(0), events)
	r.want("a", stages.Acknowledged, stages.NoReason)
	r.producer.Close()
	r.want("b", stages.Unknown, stages.OutcomeUnknown)
	r.want("c", stages.Unknown, stages.OutcomeUnknown)
}

// TestTheLastOneFailsFirst: the marked event never gets into a batch, so its promise runs before the others'.
func TestTheLastOneFailsFirst(t *testing.T) {
	for name, kind := range bothKinds {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, nil).ready()
			events := r.oneMessage(kind, 10, "a", "b", "huge")
			events[2].Data = make([]byte, 2<<20)
			r.producer.Produce(r.partition(0), events)
			r.want("huge", stages.Refused, stages.EventTooLarge)
			r.want("a", stages.Acknowledged, stages.NoReason)
			r.want("b", stages.Acknowledged, stages.NoReason)
		})
	}
}

// TestCloseReportsWhatIsHeld also when the timer is not waited for.
func TestCloseReportsWhatIsHeld(t *testing.T) {
	r := newRig(t, nil).ready()
	events := r.oneMessage(stages.Batch, 10, "a", "huge")
	events[1].Data = make([]byte, 2<<20)
	r.producer.Produce(r.partition(0), events)
	r.want("huge", stages.Refused, stages.EventTooLarge)
	r.eventually("a to be settled", func() bool { return r.producer.InFlight() == 0 })
	r.producer.Close()
	if len(r.reports) != 1 {
		t.Errorf("%d reports when Close has returned, want that of a", len(r.reports))
	}
}

// TestAnIdleRecordHoldsNoMessage: its results would outlive the message.
func TestAnIdleRecordHoldsNoMessage(t *testing.T) {
	r := newRig(t, nil).ready()
	events := r.oneMessage(stages.Batch, 10, "a")
	r.producer.Produce(r.partition(0), events)
	ev := r.want("a", stages.Acknowledged, stages.NoReason)
	ev.Forget()
	if rec := recordOf(ev); rec.msg != nil || rec.of != nil {
		t.Errorf("message %v, partition %v", rec.msg, rec.of)
	}
}
