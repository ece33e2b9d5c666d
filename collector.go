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
	"sync"
)

// heapRoom is what may be allocated between two collections at the least, in bytes. Measured, see docs/performance.md.
const heapRoom = 32 << 20

const (
	usualPercent = 100 // Go's GOGC
	// mostPercent bounds the answer to a heap that is nearly empty.
	mostPercent = 1000
	// percentStep: smaller changes are not worth the heap's lock.
	percentStep = 20
)

// collector sets GOGC anew after each collection.
type collector struct {
	room uint64
	// still is memory that was allocated once and is never looked through: the recent events. It counts as heap.
	still uint64

	mu      sync.Mutex // guards the following; taken by the goroutine of finalizers
	percent int
	// scanned is what the last collection went through: GOGC is a percentage of all of it.
	scanned []metrics.Sample
	stopped bool
}

// startCollector returns what ends it and sets GOGC to what it was.
func startCollector(room, still uint64) (stop func()) {
	c := &collector{room: room, still: still, percent: usualPercent, scanned: []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"},
	}}
	before := debug.SetGCPercent(usualPercent)
	c.arm()
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.stopped = true
		debug.SetGCPercent(before)
	}
}

// arm leaves an object that nobody refers to: the next collection finds it, and its finalizer runs.
func (c *collector) arm() {
	token := new([64]byte) // not among the smallest objects, which share an allocation
	runtime.SetFinalizer(token, func(*[64]byte) {
		if c.adjust() {
			c.arm()
		}
	})
}

// adjust reports whether it is to be called again.
func (c *collector) adjust() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return false
	}
	metrics.Read(c.scanned)
	sum := uint64(0)
	for _, s := range c.scanned {
		sum += s.Value.Uint64()
	}
	percent := percentFor(c.room, sum, c.still)
	if change := percent - c.percent; change >= percentStep || change <= -percentStep {
		debug.SetGCPercent(percent)
		c.percent = percent
	}
	return true
}

// percentFor is the GOGC that lets room bytes be allocated when a collection goes through so many: heap, stacks and
// globals (runtime/mgcpacer.go, commit). What lies still makes it smaller: it is no reason to collect later.
func percentFor(room, scanned, still uint64) int {
	scanned = max(scanned, 1)
	rest := max(scanned-min(still, scanned), 1)
	return int(max(min(max(room*100/rest, usualPercent), mostPercent)*rest/scanned, 1))
}
