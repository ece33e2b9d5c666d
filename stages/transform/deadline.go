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
	// at is by clock.
	at      time.Duration
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

// start begins the run of one program, which may go on until at; stop ends it.
func (d *deadline) start(at time.Duration) { d.at = at }

func (d *deadline) stop() {
	if d.waiting && !d.alarm.timer.Stop() {
		d.alarm = nil // it has rung, or is about to
	}
	d.waiting = false
}

// Deadline implements context.Context, as Done, Err and Value do.
func (d *deadline) Deadline() (time.Time, bool) { return epoch.Add(d.at), true }

// Done is the same channel throughout a run.
func (d *deadline) Done() <-chan struct{} {
	if !d.waiting {
		if after := d.at - clock(); d.alarm == nil {
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
	if d.waiting && d.alarm.rung.Load() || clock() > d.at {
		return context.DeadlineExceeded
	}
	return nil
}

// Value implements context.Context.
func (d *deadline) Value(any) any { return nil }
