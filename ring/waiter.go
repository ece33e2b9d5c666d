package ring

// How a worker waits: poll a little, yield a little, then sleep until woken.

import (
	"runtime"
	"sync/atomic"
	"time"
)

// The budget of a wait before it parks. The Go runtime's own mutex spins 4
// times 30 pauses; 1000 polls made round trips 3 to 5 times slower on two
// shared cores, and pure yielding keeps the scheduler's global queue busy.
const (
	maxPolls  = 30
	maxYields = 4
)

// Waiter is where one worker goroutine sleeps. One a worker, not one a ring:
// its condition may look at many rings.
type Waiter struct {
	_        [padBytes]byte
	sleeping atomic.Uint32 // 1 while parked or about to; set by the sleeper, cleared by whoever wakes it
	_        [padBytes - 4]byte

	token chan struct{} // capacity 1: the waker that clears sleeping sends exactly one
	polls int
	timer *time.Timer // for WaitUntil; made at first use

	parks atomic.Uint64 // times parked; written by the sleeper only
	_     [padBytes]byte
}

// NewWaiter returns a waiter. With one P there is nobody to wait for by
// polling, so it yields and parks only.
func NewWaiter() *Waiter {
	w := &Waiter{token: make(chan struct{}, 1), polls: maxPolls}
	if runtime.GOMAXPROCS(0) == 1 {
		w.polls = 0
	}
	return w
}

// Wait returns when ready reports true. ready is called by this goroutine, also
// spuriously, and must only read what wakers publish before they call Wake.
func (w *Waiter) Wait(ready func() bool) {
	if w.soon(ready) {
		return
	}
	for !w.park(ready, nil) {
	}
}

// WaitUntil is Wait that gives up at the deadline; it reports ready's last answer.
func (w *Waiter) WaitUntil(ready func() bool, deadline time.Time) bool {
	if w.soon(ready) {
		return true
	}
	for {
		left := time.Until(deadline)
		if left <= 0 {
			return ready()
		}
		if w.timer == nil {
			w.timer = time.NewTimer(left)
		} else {
			w.timer.Reset(left)
		}
		ok := w.park(ready, w.timer.C)
		w.timer.Stop() // since Go 1.23 no stale value can be left in C after Stop
		if ok {
			return true
		}
	}
}

func (w *Waiter) soon(ready func() bool) bool {
	for range w.polls {
		if ready() {
			return true
		}
	}
	for range maxYields {
		if ready() {
			return true
		}
		runtime.Gosched()
	}
	return ready()
}

// park sleeps once, until woken or until timeout fires, and reports ready's
// answer. See "The sleep handshake" in doc.go. Every path that sees sleeping
// cleared by a waker also takes that waker's token, so that the next park does
// not find a stale one.
func (w *Waiter) park(ready func() bool, timeout <-chan time.Time) bool {
	w.sleeping.Store(1)
	if ready() {
		if !w.sleeping.CompareAndSwap(1, 0) {
			<-w.token
		}
		return true
	}
	w.parks.Store(w.parks.Load() + 1)
	select {
	case <-w.token:
	case <-timeout:
		if !w.sleeping.CompareAndSwap(1, 0) {
			<-w.token
		}
	}
	return ready()
}

// Wake ends the sleeper's park. Call it after publishing what the sleeper waits
// for. It costs one atomic load while the sleeper is awake. Any goroutine.
func (w *Waiter) Wake() {
	if w.sleeping.Load() == 1 && w.sleeping.CompareAndSwap(1, 0) {
		w.token <- struct{}{}
	}
}

// Parks is how often the sleeper has parked; any goroutine.
func (w *Waiter) Parks() uint64 { return w.parks.Load() }
