package main

// The CPU that a generator would take beside franz-go: the fair company for a rate that is compared with a gateway's,
// whose events somebody makes on the same machine.

import (
	"runtime"
	"time"
)

// burner burns CPU for each group before the feeder gets it.
type burner struct {
	groups chan struct{}
	burnt  chan time.Duration
}

// newBurner burns nanos a record, at most ahead groups before they are taken, until stop. With 0 it does nothing.
func newBurner(nanos, ahead int, stop <-chan struct{}) *burner {
	if nanos == 0 {
		return nil
	}
	b := &burner{make(chan struct{}, ahead), make(chan time.Duration, 1)}
	go func() {
		runtime.LockOSThread() // what it has used is read from its thread's clock
		began := threadTime()
		defer func() { b.burnt <- threadTime() - began }()
		for until := began; ; {
			until += time.Duration(nanos * groupSize)
			for threadTime() < until {
				_ = until // the clock itself is work enough
			}
			select {
			case b.groups <- struct{}{}:
			case <-stop:
				return
			}
		}
	}()
	return b
}

// take waits until the next group's CPU is burnt.
func (b *burner) take() {
	if b != nil {
		<-b.groups
	}
}

// end is what was burnt, when stop is closed.
func (b *burner) end() time.Duration {
	if b == nil {
		return 0
	}
	return <-b.burnt
}
