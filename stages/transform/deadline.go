package transform

// The context of a program's run. A context of the standard library would cost an
// event three allocations and a timer, whether the language looks at it or not.

import (
	"context"
	"sync/atomic"
	"time"
)

// deadline is a context.Context that ends a time after start. Each worker has one. Only who waits on Done pays for a
// timer.
type deadline struct {
	at      time.Time
	alarm   *alarm
	waiting bool
}

// alarm closes done when its timer fires.
type alarm struct {
	timer *time.Timer
	done  chan struct{}
	rung  atomic.Bool
}

func newAlarm(after time.Duration) *alarm {
	a := &alarm{done: make(chan struct{})}
	a.timer = time.AfterFunc(after, func() {
		a.rung.Store(true)
		close(a.done)
	})
	return a
}

// start begins the run of one program; stop ends it.
func (d *deadline) start(timeout time.Duration) { d.at = time.Now().Add(timeout) }

func (d *deadline) stop() {
	if d.waiting && !d.alarm.timer.Stop() {
		d.alarm = nil // it has rung, or is about to
	}
	d.waiting = false
}

// Deadline implements context.Context, as Done, Err and Value do.
func (d *deadline) Deadline() (time.Time, bool) { return d.at, true }

// Done is the same channel throughout a run.
func (d *deadline) Done() <-chan struct{} {
	if !d.waiting {
		if after := time.Until(d.at); d.alarm == nil {
			d.alarm = newAlarm(after)
		} else {
			d.alarm.timer.Reset(after)
		}
		d.waiting = true
	}
	return d.alarm.done
}

// Err tells whether the time is over.
func (d *deadline) Err() error {
	if d.waiting && d.alarm.rung.Load() || time.Now().After(d.at) {
		return context.DeadlineExceeded
	}
	return nil
}

// Value implements context.Context.
func (d *deadline) Value(any) any { return nil }
