package main

// When the garbage collector runs. Go lets the heap double between two
// collections; the gateway's live heap is 10 to 20 MB with a few busy clients, so
// under load that is several collections a second, each of which takes the
// processors' time and caches. Until heapRoom has been allocated none begins.
// Where the live heap is larger, nothing changes; neither if GOGC is set, and
// GOMEMLIMIT goes before all of it.

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
)

// heapRoom is what may be allocated between two collections at the least, in bytes. Measured, see docs/performance.md.
const heapRoom = 32 << 20

const (
	usualPercent = 100 // Go's GOGC
	// mostPercent bounds the answer to a heap that is nearly empty.
	mostPercent = 1000
	// percentStep: smaller changes are not worth the stop of all goroutines that setting it takes, some 10 us.
	percentStep = 20
)

// collector sets GOGC anew after each collection.
type collector struct {
	room    uint64
	percent int // owned by the goroutine of finalizers
	live    []metrics.Sample
	stopped atomic.Bool
}

// startCollector returns what ends it and sets GOGC to what it was.
func startCollector(room uint64) (stop func()) {
	c := &collector{room: room, percent: usualPercent, live: []metrics.Sample{{Name: "/gc/heap/live:bytes"}}}
	before := debug.SetGCPercent(usualPercent)
	c.arm()
	return func() {
		c.stopped.Store(true)
		debug.SetGCPercent(before)
	}
}

// arm leaves an object that nobody refers to: the next collection finds it, and its finalizer runs.
func (c *collector) arm() {
	token := new([64]byte) // not among the smallest objects, which share an allocation
	runtime.SetFinalizer(token, func(*[64]byte) {
		if !c.stopped.Load() {
			c.adjust()
			c.arm()
		}
	})
}

func (c *collector) adjust() {
	metrics.Read(c.live)
	percent := percentFor(c.room, c.live[0].Value.Uint64())
	if change := percent - c.percent; change >= percentStep || change <= -percentStep {
		debug.SetGCPercent(percent)
		c.percent = percent
	}
}

// percentFor is the GOGC that lets room bytes be allocated on top of so much live heap.
func percentFor(room, live uint64) int {
	return int(min(max(room*100/max(live, 1), usualPercent), mostPercent))
}
