package pipeline

// The janitor: gives the events of abandoned messages (their caller is gone)
// an outcome at their deadline, when Kafka has not given one before.

import (
	"sync"
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

// janitorTick is how late an abandoned event's outcome may be.
const janitorTick = 100 * time.Millisecond

type janitor struct {
	p    *Pipeline
	kick chan struct{} // capacity 1: the list is not empty any more, or everything is to expire now
	done chan struct{} // closed by Close

	mu      sync.Mutex // guards the following
	orphans []*stages.Message
	// cutoff makes every orphan overdue.
	cutoff bool
}

// adopt takes over the owner's reference of an abandoned message.
func (j *janitor) adopt(m *stages.Message) {
	j.mu.Lock()
	j.orphans = append(j.orphans, m)
	j.mu.Unlock()
	j.wake()
}

func (j *janitor) wake() {
	select {
	case j.kick <- struct{}{}:
	default:
	}
}

// expireAll makes every orphan, present and future, overdue.
func (j *janitor) expireAll() {
	j.mu.Lock()
	j.cutoff = true
	j.mu.Unlock()
	j.wake()
}

// janitorLoop is the janitor's goroutine. Its timer runs only while there are orphans: an idle gateway does not wake up.
func (j *janitor) janitorLoop() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		if j.sweep(time.Now()) {
			timer.Reset(janitorTick)
		} else {
			timer.Stop()
		}
		select {
		case <-j.kick:
		case <-timer.C:
		case <-j.done:
			return
		}
	}
}

// sweep answers and releases what is overdue, releases what was answered, and reports whether orphans are left.
func (j *janitor) sweep(now time.Time) (left bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	kept := j.orphans[:0]
	for _, m := range j.orphans {
		switch {
		case m.Answered():
			j.p.Release(m)
		case j.cutoff || now.After(m.Deadline):
			j.p.Expire(m, stages.NotSent)
			j.p.Release(m)
		default:
			kept = append(kept, m)
		}
	}
	clear(j.orphans[len(kept):])
	j.orphans = kept
	return len(kept) > 0
}
