package ring

// The waiter alone: ping-pong without a lost wake-up, time-outs, stale tokens.

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestWaiterPingPong(t *testing.T) {
	eachGOMAXPROCS(t, func(t *testing.T) {
		deadline(t)
		var turn atomic.Int64
		a, b := NewWaiter(), NewWaiter()
		rounds := int64(transfers() / 20)
		var wg sync.WaitGroup
		play := func(me *Waiter, other *Waiter, parity int64) {
			for i := parity; i < rounds; i += 2 {
				me.Wait(func() bool { return turn.Load() == i })
				turn.Store(i + 1)
				other.Wake()
			}
		}
		wg.Go(func() { play(a, b, 0) })
		wg.Go(func() { play(b, a, 1) })
		wg.Wait()
	})
}

// Many wakers for one sleeper: each sets its own flag once and wakes once.
func TestWaiterManyWakers(t *testing.T) {
	eachGOMAXPROCS(t, func(t *testing.T) {
		deadline(t)
		var done atomic.Int64
		w := NewWaiter()
		const wakers = 16
		rounds := transfers() / 2000
		for round := range rounds {
			want := int64((round + 1) * wakers)
			var wg sync.WaitGroup
			for range wakers {
				wg.Go(func() { done.Add(1); w.Wake() })
			}
			w.Wait(func() bool { return done.Load() == want })
			wg.Wait()
		}
	})
}

func TestWaiterGivesUpAtTheDeadline(t *testing.T) {
	w := NewWaiter()
	start := time.Now()
	if w.WaitUntil(func() bool { return false }, start.Add(5*time.Millisecond)) {
		t.Fatal("reported a condition that never held")
	}
	if time.Since(start) < 5*time.Millisecond {
		t.Fatal("gave up too early")
	}
	if w.WaitUntil(func() bool { return false }, start) {
		t.Fatal("reported a condition that never held")
	}
	// A wake-up after the time-out must not leave a token for the next wait.
	w.Wake()
	if len(w.token) != 0 {
		t.Fatal("a stale token is left")
	}
}

// Time-outs and wake-ups race; every round must end, and no token may be left.
func TestWaiterDeadlineRacesWithWake(t *testing.T) {
	eachGOMAXPROCS(t, func(t *testing.T) {
		deadline(t)
		w := NewWaiter()
		for range transfers() / 5000 {
			var set atomic.Bool
			var wg sync.WaitGroup
			wg.Go(func() { set.Store(true); w.Wake() })
			for !w.WaitUntil(set.Load, time.Now().Add(20*time.Microsecond)) {
			}
			wg.Wait()
			if len(w.token) != 0 || w.state.Load() != 0 {
				t.Fatal("a token or the sleeping mark is left")
			}
		}
	})
}

func TestWaiterParksInsteadOfPolling(t *testing.T) {
	w := NewWaiter()
	var set atomic.Bool
	done := make(chan struct{})
	go func() { w.Wait(set.Load); close(done) }()
	for w.Parks() == 0 { // the sleeper parks without being told
		time.Sleep(time.Millisecond)
	}
	set.Store(true)
	w.Wake()
	<-done
}
