package kafka

// How promises report: the acknowledged events of one message together, because
// each report takes a lock, settles a message and wakes others. Owned by franz-go's
// one goroutine of promises.
//
// Mostly promises run in the order of Produce within a partition. The last event of
// a message in a call of Produce is marked, and its promise reports what came before
// it. A message is answered only when all of its events are, so nobody waits longer
// for that. But the marked one may come much later: franz-go has cut the events in
// two batches, and the second one hangs. Or it came first: it failed before it was
// buffered. So what is held is reported after holdMost in any case: a timer has
// franz-go run a promise that does it, in turn with the others.

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/event-gateway/event-gateway/stages"
)

const (
	// maxReported bounds the events of one report, which the pipeline takes in without a pause.
	maxReported = 64
	// holdMost is how long a report waits for more at the most. Whole messages never wait, so under load the timer
	// fires a hundred times a second, and never when nothing is held.
	holdMost = 10 * time.Millisecond
)

// reports are the events whose promises have run and that are not reported yet: acknowledged ones of a quiet message,
// which are reported without a look at them, or others.
type reports struct {
	parts Parts
	// run is what is acknowledged of one message in one partition, part the partition's bookkeeping.
	run  stages.AcknowledgedRun
	part *partition
	// events have their Acks.
	events []*stages.Event

	// client runs the promises.
	client *kgo.Client
	// armed: timer will fire. Whoever begins to hold something and finds it armed is reported by that firing, since
	// the promise that it asks for comes later: armed is cleared before it asks.
	armed atomic.Bool
	timer *time.Timer
}

// newReports makes reports whose timer asks client, which is set before the first promise.
func newReports(parts Parts) *reports {
	r := &reports{parts: parts, events: make([]*stages.Event, 0, maxReported)}
	r.timer = time.AfterFunc(time.Hour, r.hurry)
	r.timer.Stop()
	return r
}

// add takes an event whose Ack is set.
func (r *reports) add(ev *stages.Event, last bool) {
	r.flushRun()
	r.events = append(r.events, ev)
	if last || len(r.events) == maxReported {
		r.flush()
	} else {
		r.hold()
	}
}

// acknowledge takes the event of an acknowledged record of a quiet message.
func (r *reports) acknowledge(rec *record, offset int64) {
	run := &r.run
	if len(run.Events) == 0 || rec.msg != run.Msg || rec.of != run.Partition {
		r.flush()
		run.Msg, run.Partition, r.part = rec.msg, rec.of, rec.partition
	}
	run.Add(rec.ev, int(rec.index), int64(rec.costAndFlags>>flagBits), offset)
	if rec.has(last) || len(run.Events) == maxReported {
		r.flushRun()
	} else {
		r.hold()
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

// hold sees to it that what is there is reported within holdMost.
func (r *reports) hold() {
	if !r.armed.Load() {
		r.armed.Store(true)
		r.timer.Reset(holdMost)
	}
}

// hurry is what the timer does.
func (r *reports) hurry() {
	r.armed.Store(false)
	r.ask(func(*kgo.Record, error) { r.flush() })
}

// ask has franz-go run a promise: a record without a topic never reaches Kafka. Any goroutine; also after the client
// was closed.
func (r *reports) ask(promise func(*kgo.Record, error)) {
	background := context.Background()
	r.client.TryProduce(background, &kgo.Record{Context: background}, promise)
}

// close reports what is held, after the last promise.
func (r *reports) close() {
	r.timer.Stop()
	done := make(chan struct{})
	r.ask(func(*kgo.Record, error) {
		r.flush()
		close(done)
	})
	<-done
}
