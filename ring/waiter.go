package ring

// How a worker waits: poll a little, yield a little, then sleep until woken, or
// until somebody who has work for it does that work in its place.

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
	_     [padBytes]byte
	state atomic.Uint32 // awake and so on; see there for who may change it
	_     [padBytes - 4]byte

	token chan struct{} // capacity 1: whoever makes a sleeper awake sends exactly one
	// turn is what Call runs; written by the sleeper before it becomes lendable, read by who has borrowed it.
	turn  func(at int64) (handBack bool)
	polls int
	timer *time.Timer // for WaitUntil; made at first use

	parks atomic.Uint64 // times parked; written by the sleeper only
	_     [padBytes]byte
}

// The states of a waiter and who may leave them:
//
//	awake    --sleeper--> parked
//	parked   --sleeper: ready after all, or timeout--> awake, --any waker--> awake, --sleeper (WaitLending)--> lendable
//	lendable --any waker--> awake, --one caller--> lent
//	lent     --its borrower--> lendable or awake, --any other caller or waker--> called
//	called   --its borrower--> awake
//
// Whoever is not the sleeper and makes it awake sends the token. While it is
// lent or called, everything that the sleeper owns belongs to the borrower.
const (
	awake uint32 = iota
	parked
	lendable
	lent
	called
)

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

// WaitLending is Wait that lends the sleeper's work while it sleeps: Call may
// run turn, on the goroutine of its caller, one at a time, and with everything
// visible that the sleeper and earlier turns have written. turn does a bounded
// piece of work, must not block, and reports whether the sleeper is to go on
// itself: because input is left, or room is missing, or it is to end. When
// WaitLending returns, ready may be false.
func (w *Waiter) WaitLending(ready func() bool, turn func(at int64) (handBack bool)) {
	if ready() { // no polling: whoever comes does the work
		return
	}
	w.turn = turn
	w.state.Store(parked)
	if ready() {
		w.rise()
		return
	}
	w.parks.Store(w.parks.Load() + 1)
	// Only now: ready looks at what a borrower would write.
	w.state.CompareAndSwap(parked, lendable) // fails when a waker was faster: its token is there
	<-w.token
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
// answer. See "The sleep handshake" in doc.go.
func (w *Waiter) park(ready func() bool, timeout <-chan time.Time) bool {
	w.state.Store(parked)
	if ready() {
		w.rise()
		return true
	}
	w.parks.Store(w.parks.Load() + 1)
	select {
	case <-w.token:
	case <-timeout:
		w.rise()
	}
	return ready()
}

// rise makes the parked sleeper awake on its own account. A waker that was
// faster has sent a token, which is taken, so that the next park does not find a
// stale one.
func (w *Waiter) rise() {
	if !w.state.CompareAndSwap(parked, awake) {
		<-w.token
	}
}

// Wake ends the sleeper's park. Call it after publishing what the sleeper waits
// for. It costs one atomic load while the sleeper is awake. Any goroutine.
func (w *Waiter) Wake() {
	for {
		switch s := w.state.Load(); s {
		case awake, called:
			return
		case lent:
			if w.state.CompareAndSwap(lent, called) {
				return
			}
		default:
			if w.state.CompareAndSwap(s, awake) {
				w.token <- struct{}{}
				return
			}
		}
	}
}

// WakeParked is Wake for what only a sleeper in Wait or WaitUntil waits for
// (room in an output): one that lends is left alone, and so is its borrower.
func (w *Waiter) WakeParked() {
	if w.state.Load() == parked && w.state.CompareAndSwap(parked, awake) {
		w.token <- struct{}{}
	}
}

// Call is Wake that does the sleeper's work in its place if that is lent, and
// reports whether it did. at is handed on to the turn: the time by the caller's
// clock, so that a chain of turns reads it once for each. See "Lending" in doc.go.
func (w *Waiter) Call(at int64) (ran bool) {
	if w.state.Load() != lendable || !w.state.CompareAndSwap(lendable, lent) {
		w.Wake()
		return false
	}
	if w.turn(at) || !w.state.CompareAndSwap(lent, lendable) {
		w.state.Store(awake)
		w.token <- struct{}{}
	}
	return true
}

// Lent reports whether somebody does the sleeper's work now; any goroutine, out of date at once.
func (w *Waiter) Lent() bool {
	s := w.state.Load()
	return s == lent || s == called
}

// Parks is how often the sleeper has parked; any goroutine.
func (w *Waiter) Parks() uint64 { return w.parks.Load() }
