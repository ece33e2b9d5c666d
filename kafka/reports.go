package kafka

// How promises report: the acknowledged events of one message together, because
// each report takes a lock, settles a message and wakes others. Owned by franz-go's
// one goroutine of promises.
//
// Within a partition promises run in the order of Produce. The last event of a
// message in a call of Produce is marked, and its promise reports what came before
// it. A message is answered only when all of its events are, so nobody waits
// longer for that. But franz-go may have cut the events in two batches, and the
// second one may hang: then those of the first would wait, too, and get unknown at
// their deadline. So while anything is in flight, the breaker's clock has what is
// there reported (hurry), through franz-go's own queue of promises.

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/event-gateway/event-gateway/stages"
)

// maxReported bounds the events of one report, which the pipeline takes in without a pause.
const maxReported = 64

// reports are the events whose promises have run and that are not reported yet: acknowledged ones of a quiet message,
// which are reported without a look at them, or others.
type reports struct {
	parts Parts
	// run is what is acknowledged of one message in one partition, part the partition's bookkeeping.
	run  stages.AcknowledgedRun
	part *partition
	// events have their Acks.
	events []*stages.Event
	// now is the promise of hurry, bound once.
	now func(*kgo.Record, error)
}

func newReports(parts Parts) *reports {
	r := &reports{parts: parts, events: make([]*stages.Event, 0, maxReported)}
	r.now = func(*kgo.Record, error) { r.flush() }
	return r
}

// add takes an event whose Ack is set.
func (r *reports) add(ev *stages.Event, last bool) {
	r.flushRun()
	r.events = append(r.events, ev)
	if last || len(r.events) == maxReported {
		r.flush()
	}
}

// acknowledge takes the event of an acknowledged record of a quiet message.
func (r *reports) acknowledge(rec *record) {
	run := &r.run
	if len(run.Events) == 0 || rec.msg != run.Msg || rec.of != run.Partition {
		r.flush()
		run.Msg, run.Partition, r.part = rec.msg, rec.of, rec.partition
	}
	run.Add(rec.ev, int(rec.index), int64(rec.costAndFlags>>flagBits))
	if rec.has(last) || len(run.Events) == maxReported {
		r.flushRun()
	}
}

func (r *reports) flush() {
	r.flushRun()
	if len(r.events) > 0 {
		r.parts.Report(r.events)
		r.events = r.events[:0]
	}
}

func (r *reports) flushRun() {
	if n := len(r.run.Events); n > 0 {
		r.part.settle(n)
		r.parts.Breaker.Acknowledged()
		r.parts.Acknowledged(&r.run)
		r.run.Reset()
	}
}

// hurry has what is there reported soon. It may be called from any goroutine: a
// record without a topic never reaches Kafka, and its promise runs in turn.
func (r *reports) hurry(client *kgo.Client) {
	background := context.Background()
	client.TryProduce(background, &kgo.Record{Context: background}, r.now)
}
