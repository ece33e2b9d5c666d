package ring

// Lending: whoever has work for a sleeper that lends does it in its place, one at a time, and nothing is left undone.

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// lender is a worker that adds up what is pushed into its ring, by itself or lent. Its sum is a plain field: the race
// detector sees two turns at once, or a turn beside the worker.
type lender struct {
	w    *Waiter
	in   *Consumer[uint64]
	buf  [4]uint64
	sum  uint64
	lent uint64
}

func (l *lender) take() (n int) {
	n = l.in.Pop(l.buf[:])
	for _, v := range l.buf[:n] {
		l.sum += v
	}
	return n
}

func (l *lender) ready() bool { return l.in.Len() > 0 || l.in.Drained() }

func (l *lender) turn(int64) (handBack bool) {
	if l.take() > 0 {
		l.lent++
	}
	return l.ready()
}

func (l *lender) loop() {
	for {
		if l.take() > 0 {
			continue
		}
		if l.in.Drained() {
			return
		}
		l.w.WaitLending(l.ready, l.turn)
	}
}

func TestLending(t *testing.T) {
	eachGOMAXPROCS(t, func(t *testing.T) {
		for range 30 {
			lendOnce(t, 5000)
		}
	})
}

// lendOnce runs one producer that calls, and others that wake at random moments for no reason.
func lendOnce(t *testing.T, values uint64) {
	producer, consumer := NewSPSC[uint64](8)
	l := &lender{w: NewWaiter(), in: consumer}
	var wg sync.WaitGroup
	wg.Go(l.loop)
	var done atomic.Bool
	wg.Go(func() {
		for !done.Load() {
			l.w.Wake()
			l.w.WakeParked()
			runtime.Gosched()
		}
	})
	ran := uint64(0)
	for v := uint64(1); v <= values; {
		one := [1]uint64{v}
		if producer.Push(one[:]) == 1 {
			v++
		}
		if l.w.Call(0) {
			ran++
		}
		if v%7 == 0 {
			runtime.Gosched() // so that the worker gets to sleep now and then
		}
	}
	producer.Close()
	l.w.Wake()
	done.Store(true)
	wg.Wait()
	if want := values * (values + 1) / 2; l.sum != want {
		t.Fatalf("the sum is %d, want %d", l.sum, want)
	}
	if l.lent > ran {
		t.Fatalf("%d turns did work, Call reported %d", l.lent, ran)
	}
	if s := l.w.state.Load(); s != awake || len(l.w.token) != 0 {
		t.Fatalf("the waiter is left in state %d with %d tokens", s, len(l.w.token))
	}
}

// Step by step: a sleeper that lends is not woken for what a caller can do, and goes on itself when the turn says so,
// when it is woken, and when somebody came while it was lent.
func TestLendingHandsBack(t *testing.T) {
	const at = 4711
	w := NewWaiter()
	returned := make(chan struct{})
	turns, handBack := 0, false
	var during func()
	sleep := func() {
		go func() {
			w.WaitLending(func() bool { return false }, func(got int64) bool {
				turns++
				if got != at {
					t.Errorf("the turn was told %d", got)
				}
				if during != nil {
					during()
				}
				return handBack
			})
			returned <- struct{}{}
		}()
		for w.state.Load() != lendable {
			runtime.Gosched()
		}
	}
	sleep()
	for want := 1; want <= 3; want++ {
		if !w.Call(at) || turns != want || w.state.Load() != lendable {
			t.Fatalf("turn %d: %d turns, state %d", want, turns, w.state.Load())
		}
	}
	w.WakeParked() // only for those who wait for room
	if w.state.Load() != lendable {
		t.Fatal("WakeParked woke a sleeper that lends")
	}
	handBack = true
	if !w.Call(at) || turns != 4 {
		t.Fatal("the turn did not run")
	}
	<-returned
	handBack = false
	sleep()
	w.Wake()
	<-returned
	for _, other := range []func(){w.Wake, func() { w.Call(at) }} {
		sleep()
		during = other
		before := turns
		if !w.Call(at) || turns != before+1 {
			t.Fatal("the turn ran twice, or not")
		}
		<-returned
		during = nil
	}
	if w.Call(at) || w.state.Load() != awake || len(w.token) != 0 {
		t.Fatal("a waiter that is awake was called")
	}
}
