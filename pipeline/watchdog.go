package pipeline

// The watchdog: notices a worker that stays at one burst. Stages neither wait
// nor compute for long, so that is a bug, or a sink whose reader has stopped;
// nothing else would say which of the workers holds up its events.

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	// watchEvery is how often the watchdog looks; it reads a few words of each worker.
	watchEvery = time.Second
	// stuckAfter is far above what a burst takes (microseconds) and below the least useful DELIVERY_TIMEOUT, so
	// that the line is in the log before the outcomes are.
	stuckAfter = 5 * time.Second
)

type watchdog struct {
	p    *Pipeline
	done chan struct{} // closed by Stop: a worker that has ended does not move either
	once sync.Once
	// seen has an entry for each worker, in the order of eachWorker.
	seen []watched
}

// watched is what the watchdog knows of one worker; its own but for stuck.
type watched struct {
	worker *worker
	bursts uint64
	// since is when the worker was last seen to move or to wait, in nanoseconds of Pipeline.now; 0 before the first look.
	since int64
	// stuck is for how long the worker is at its burst, in nanoseconds; 0 while it is not stuck.
	stuck atomic.Int64
}

func (p *Pipeline) newWatchdog() *watchdog {
	d := &watchdog{p: p, done: make(chan struct{})}
	n := 0
	p.eachWorker(func(*worker) { n++ })
	d.seen = make([]watched, 0, n)
	p.eachWorker(func(w *worker) {
		d.seen = d.seen[:len(d.seen)+1]
		d.seen[len(d.seen)-1].worker = w
	})
	return d
}

// watchLoop is the watchdog's goroutine.
func (d *watchdog) watchLoop() {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			d.look(d.p.now())
		case <-d.done:
			return
		}
	}
}

func (d *watchdog) stop() { d.once.Do(func() { close(d.done) }) }

// look compares each worker with what it was before. Where work is lent, all
// workers up to the one that does not return stand still; the last of them is it.
func (d *watchdog) look(now int64) {
	borrowed := false // a worker behind is lent and stuck
	moving := false   // a worker behind is lent and moves: so does whoever has borrowed it
	for i := len(d.seen) - 1; i >= 0; i-- {
		s := &d.seen[i]
		lent := s.worker.waiter.Lent()
		bursts := s.worker.counts.bursts.Load()
		moving = moving || lent && bursts != s.bursts
		if s.since == 0 || moving || bursts != s.bursts || s.worker.waits() && !lent {
			s.bursts, s.since = bursts, now
		}
		still := time.Duration(now - s.since)
		stuck := still >= stuckAfter && !borrowed
		borrowed = borrowed || stuck && lent
		switch was := s.stuck.Load() != 0; {
		case stuck:
			s.stuck.Store(int64(still))
			if !was {
				d.p.log.Stuck(s.worker.id, s.worker.index, still)
			}
		case was:
			s.stuck.Store(0)
			d.p.log.Unstuck(s.worker.id, s.worker.index)
		}
	}
}

// waits reports whether the worker's goroutine waits for input or for room.
func (w *worker) waits() bool {
	return w.counts.idleSince.Load() != 0 || w.counts.fullSince.Load() != 0
}
