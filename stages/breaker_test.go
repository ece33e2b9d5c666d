package stages

// The breaker as a table of what happens and what follows, and under concurrent use.

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// The steps of a breaker's life; times are in seconds.
type (
	breakerStep func(*Breaker) error
	sec         = int64
)

func at(s sec) int64 { return s * int64(time.Second) }

func busy(s sec) breakerStep     { return func(b *Breaker) error { b.Busy(at(s)); return nil } }
func answered(s sec) breakerStep { return func(b *Breaker) error { b.Answered(at(s)); return nil } }
func acked() breakerStep         { return func(b *Breaker) error { b.Acknowledged(); return nil } }
func probed(s sec) breakerStep   { return func(b *Breaker) error { b.Probed(at(s)); return nil } }
func tick(s sec) breakerStep     { return func(b *Breaker) error { b.Tick(at(s), true); return nil } }
func idleTick(s sec) breakerStep { return func(b *Breaker) error { b.Tick(at(s), false); return nil } }

func silent(s sec, inFlight, want bool) breakerStep {
	return func(b *Breaker) error {
		if got := b.Silent(at(s), inFlight); got != want {
			return fmt.Errorf("Silent(%d s, %v) is %v, want %v", s, inFlight, got, want)
		}
		return nil
	}
}

func is(want BreakerState) breakerStep {
	return func(b *Breaker) error {
		if got := b.State(); got != want {
			return fmt.Errorf("the breaker is %v, want %v", got, want)
		}
		return nil
	}
}

func allow(s sec, want bool) breakerStep {
	return func(b *Breaker) error {
		if got := b.Allow(at(s)); got != want {
			return fmt.Errorf("Allow(%d s) is %v while %v, want %v", s, got, b.State(), want)
		}
		return nil
	}
}

func TestBreakerTransitions(t *testing.T) {
	opened := []breakerStep{busy(100), tick(105), is(BreakerIsOpen)} // by silence of 5 s
	halfOpen := append(slices.Clip(opened), probed(110), is(BreakerHalfOpen))
	const toOpen, toHalf, toClosed = "closed>open ", "open>half-open ", "half-open>closed "
	for _, c := range []struct {
		name        string
		steps       []breakerStep
		transitions string
	}{
		{"closed allows", []breakerStep{allow(0, true), allow(0, true)}, ""},
		{"silence while idle is nobody's fault", []breakerStep{idleTick(1000), is(BreakerClosed), allow(1000, true)}, ""},
		{"silence before records were in flight does not count", []breakerStep{answered(1), busy(100), tick(104), is(BreakerClosed)}, ""},
		{"silence opens at its bound", []breakerStep{busy(100), tick(104), is(BreakerClosed), tick(105), is(BreakerIsOpen), allow(105, false)}, toOpen},
		{"any answer ends the silence", []breakerStep{busy(100), answered(104), tick(105), is(BreakerClosed), tick(109), is(BreakerIsOpen)}, toOpen},
		{"silent is what Tick opens for", []breakerStep{busy(100), silent(104, true, false), silent(105, true, true), silent(105, false, false), is(BreakerClosed)}, ""},
		{"an answered probe in time ends the silence", []breakerStep{busy(100), silent(105, true, true), answered(105), silent(105, true, false), tick(105), is(BreakerClosed), silent(110, true, true), tick(110), is(BreakerIsOpen)}, toOpen},
		{"an answered probe keeps it half-open", append(slices.Clip(halfOpen), allow(110, true), silent(115, true, true), answered(115), tick(115), is(BreakerHalfOpen), allow(115, true)), toOpen + toHalf},
		{"open stays open without a probe", append(slices.Clip(opened), tick(106), idleTick(200), allow(1000, false), is(BreakerIsOpen)), toOpen},
		{"an answer to a produce does not half-open", append(slices.Clip(opened), answered(106), is(BreakerIsOpen), allow(106, false)), toOpen},
		{"an acknowledgement closes at once", append(slices.Clip(opened), acked(), is(BreakerClosed), allow(106, true)), toOpen + "open>closed "},
		{"half-open lets one through", append(slices.Clip(halfOpen), allow(110, true), allow(110, false), allow(114, false)), toOpen + toHalf},
		{"a second trial when the first is not acknowledged", append(slices.Clip(halfOpen), allow(110, true), answered(114), allow(115, true), allow(115, false), allow(119, false), allow(120, true)), toOpen + toHalf},
		{"a late probe gives no second trial", append(slices.Clip(halfOpen), allow(110, true), probed(111), allow(111, false), is(BreakerHalfOpen)), toOpen + toHalf},
		{"an acknowledgement closes", append(slices.Clip(halfOpen), allow(110, true), acked(), is(BreakerClosed), allow(111, true), allow(111, true), acked()), toOpen + toHalf + toClosed},
		{"the probe ends the silence", append(slices.Clip(halfOpen), tick(114), is(BreakerHalfOpen)), toOpen + toHalf},
		{"silence after the trial opens again", append(slices.Clip(halfOpen), allow(110, true), tick(115), is(BreakerIsOpen), allow(115, false)), toOpen + toHalf + "half-open>open "},
		{"half-open without records waits", append(slices.Clip(halfOpen), idleTick(1000), is(BreakerHalfOpen), allow(1000, true)), toOpen + toHalf},
		{"each probe gives a new trial after opening again", append(slices.Clip(halfOpen), allow(110, true), tick(115), probed(116), allow(116, true), allow(116, false)), toOpen + toHalf + "half-open>open " + toHalf},
		{"a probe does nothing to a closed breaker", []breakerStep{busy(100), probed(104), is(BreakerClosed), tick(105), is(BreakerIsOpen)}, toOpen},
		{"time 0 is a time", []breakerStep{busy(-5), tick(0), is(BreakerIsOpen), probed(0), allow(0, true), allow(0, false), allow(4, false), allow(5, true)}, toOpen + toHalf},
	} {
		t.Run(c.name, func(t *testing.T) {
			transitions := ""
			b := NewBreaker(5*time.Second, func(from, to BreakerState) { transitions += fmt.Sprintf("%v>%v ", from, to) })
			for i, step := range c.steps {
				if err := step(b); err != nil {
					t.Fatalf("step %d: %v", i, err)
				}
			}
			if transitions != c.transitions {
				t.Fatalf("onChange saw %q, want %q", transitions, c.transitions)
			}
		})
	}
}

func TestBreakerNeedsNoListener(t *testing.T) {
	b := NewBreaker(time.Second, nil)
	b.Tick(at(1), true)
	b.Probed(at(2))
	b.Acknowledged()
	if b.State() != BreakerClosed {
		t.Fatalf("the breaker is %v", b.State())
	}
}

// However many produce workers ask at once, a half-open breaker lets one batch through.
func TestBreakerHalfOpenAllowsOne(t *testing.T) {
	for round := range 5000 {
		b := NewBreaker(5*time.Second, nil)
		b.Tick(at(5), true)
		b.Probed(0) // also at time 0
		var allowed atomic.Int32
		ask := func() {
			if b.Allow(0) {
				allowed.Add(1)
			}
			b.Probed(0) // a late answer
			if b.Allow(1) {
				allowed.Add(1)
			}
		}
		together(ask, ask, ask)
		if got := allowed.Load(); got != 1 {
			t.Fatalf("round %d: %d batches were let through, want 1", round, got)
		}
	}
}

// Everything at once: each change of state is told once, and every one starts
// where another one ended. An acknowledgement after all that closes it.
func TestBreakerConcurrentUse(t *testing.T) {
	const rounds = 5000
	var entered, left [3]atomic.Int32
	b := NewBreaker(10, func(from, to BreakerState) {
		if from == to {
			t.Errorf("a change from %v to %v", from, to)
		}
		left[from].Add(1)
		entered[to].Add(1)
	})
	var clock atomic.Int64
	var running sync.WaitGroup
	for _, act := range []func(i int){
		func(int) { b.Tick(clock.Add(7), true) },
		func(int) { b.Probed(clock.Load()) },
		func(i int) {
			if i%16 == 0 {
				b.Acknowledged()
			}
		},
		func(i int) {
			if i%64 == 0 {
				b.Busy(clock.Load())
			}
			b.Allow(clock.Load())
		},
	} {
		running.Go(func() {
			for i := range rounds {
				act(i)
			}
		})
	}
	running.Wait()
	b.Acknowledged()
	if b.State() != BreakerClosed {
		t.Fatalf("the breaker is %v after an acknowledgement", b.State())
	}
	for s := range BreakerState(3) { // it began closed and ended closed: every state was left as often as entered
		if in, out := entered[s].Load(), left[s].Load(); in != out {
			t.Errorf("%v was entered %d times and left %d times", s, in, out)
		}
	}
	if entered[BreakerIsOpen].Load() == 0 {
		t.Error("the breaker never opened: the test shows nothing")
	}
}

// An acknowledgement closes the breaker also when a probe moves it at that very moment.
func TestBreakerAcknowledgedWinsOverProbe(t *testing.T) {
	for round := range 2000 {
		b := NewBreaker(1, nil)
		b.Tick(10, true)
		together(func() { b.Probed(11) }, b.Acknowledged)
		if b.State() != BreakerClosed {
			t.Fatalf("round %d: the breaker is %v", round, b.State())
		}
	}
}
