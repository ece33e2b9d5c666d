package cli

// The schedule of --rate: when a message is due, the wait for it, and how late
// the generator itself was.
//
// A message leaves after it was due for one of two reasons. The gateway held
// the sender up: the window was full, the message before could not be handed
// over, or a unary call was not answered. That is latency of the gateway, and
// counting from the due time shows it. Or the sender was free, and woke up late
// or was slow itself. That is in the latency, too, but is the generator's own,
// so it is measured apart.

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// preciseLead is how long before a message is due the wait goes over from a timer to the precise sleep. A Go
// timer wakes an idle process up to a millisecond late: at 3,000 messages a second, that is three of them at once.
const preciseLead = 2 * time.Millisecond

// leastSleep is what a stream sleeps at least when its messages are due more often than that: then those that have become
// due leave together, up to leastSleep late. Shorter sleeps follow each other so closely that the Go runtime never takes the
// sleeper's processor away: what else the generator has to do, above all reading answers, came 4 ms late with an event
// each 27 us.
const leastSleep = 200 * time.Microsecond

// preciseSleepers bounds the threads that sleep at once; the Go runtime ends a process with 10,000 of them.
var preciseSleepers = make(chan struct{}, 64)

// pace is the schedule of one stream. It belongs to the stream's sender until the stream has ended.
type pace struct {
	// interval is the nanoseconds between two events of the stream; 0 = no schedule.
	interval float64
	// ahead is how much earlier than its last event's multiple of interval a message is due: it sets the streams
	// of a run apart, so that their messages are not all due at once.
	ahead float64
	taken int64 // events so far
	// free is when the gateway last let the sender go on.
	free int64
	// late is how late the generator handed messages over; nil without a schedule.
	late *hdrhistogram.Histogram
}

func newPace(interval float64) pace {
	p := pace{interval: interval}
	if interval > 0 {
		p.late = newHistogram()
	}
	return p
}

// next is when a message of the next n events is due: when the schedule has reached its last event. Never 0.
func (p *pace) next(n int) int64 {
	p.taken += int64(n)
	return max(int64(float64(p.taken)*p.interval-p.ahead), 1)
}

// handed books that a message leaves the generator.
func (p *pace) handed(due, now int64) {
	if due > 0 {
		recordNanos(p.late, max(now-max(due, p.free), 0), 1)
	}
}

// least is the shortest sleep before messages of n events each.
func (p *pace) least(n int) time.Duration {
	if p.interval*float64(n) < float64(leastSleep) {
		return leastSleep
	}
	return 0
}

// until waits until the run's clock shows due, for least when it waits at all; false: the run is to stop before.
func (j *job) until(due int64, least time.Duration) bool {
	for {
		wait := time.Duration(due - j.now())
		if wait <= 0 {
			return true
		}
		wait = max(wait, least)
		if wait <= preciseLead && sleepPrecisely(wait) {
			continue
		}
		if wait > preciseLead {
			wait -= preciseLead
		}
		select {
		case <-time.After(wait):
		case <-j.stop.Done():
			return false
		}
	}
}
