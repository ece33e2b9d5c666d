package pipeline

// The accounting: what was accepted and what became of it (design: accepted =
// acknowledged + filtered + duplicate + refused + unknown + in_flight). Every
// writer has a shard of its own; readers sum.

import (
	"sync/atomic"
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

// outcomeCounts is one shard. Written by one worker, or by many handlers for
// the shared one; always by atomic adds, so that either is right.
type outcomeCounts struct {
	_        [128]byte
	outcomes [stages.Origins][stages.Outcomes]atomic.Uint64
	reasons  [stages.StageIDs][stages.Reasons]atomic.Uint64
	// deadLettered are refused events that are kept in the topic of the dead letters; outcomes has them, too.
	deadLettered [stages.Origins]atomic.Uint64
	_            [128]byte
}

func (c *outcomeCounts) add(origin stages.Origin, v *stages.Verdict, n int) {
	c.outcomes[origin][v.Outcome].Add(uint64(n))
	if v.Reason != stages.NoReason {
		c.reasons[v.Stage][v.Reason].Add(uint64(n))
	}
}

// workerCounts is what one worker says about itself; only the worker writes, or who has borrowed it.
type workerCounts struct {
	_         [128]byte
	events    atomic.Uint64
	bursts    atomic.Uint64
	idleNanos atomic.Uint64 // waiting for input, polling and yielding included
	idleSince atomic.Int64  // since when it waits now, in nanoseconds of Pipeline.now; 0 = it does not
	fullNanos atomic.Uint64 // waiting for room in an output
	fullSince atomic.Int64  // since when it waits for that now; 0 = it does not
	lentNanos atomic.Uint64 // at work on another worker's goroutine, while idle
	awayNanos atomic.Uint64 // doing other workers' work on its own goroutine
	fullWaits atomic.Uint64
	panics    atomic.Uint64
	age       histogram // receipt to leaving the stage, the first event of each burst
	_         [128]byte
}

// bump adds n to a counter that only this goroutine writes.
func bump(c *atomic.Uint64, n uint64) { c.Store(c.Load() + n) }

// histogramBounds are upper bounds in nanoseconds, 1-2-5 steps from 10 us to 50 s.
var histogramBounds = func() (bounds []int64) {
	for decade := int64(10_000); decade <= 10_000_000_000; decade *= 10 {
		bounds = append(bounds, decade, 2*decade, 5*decade)
	}
	return bounds
}()

// histogram counts durations; written by one goroutine, read by any.
type histogram struct {
	buckets [22]atomic.Uint64 // the last one is +Inf
	sum     atomic.Int64      // nanoseconds
}

func (h *histogram) observe(d time.Duration, n uint64) {
	i := 0
	for i < len(histogramBounds) && int64(d) > histogramBounds[i] {
		i++
	}
	bump(&h.buckets[i], n)
	h.sum.Store(h.sum.Load() + int64(d)*int64(n))
}

// newOutcomeCounts makes a shard that sums and metrics will see.
func (p *Pipeline) newOutcomeCounts() *outcomeCounts {
	c := &outcomeCounts{}
	p.outcomeShards = append(p.outcomeShards, c)
	return c
}

// Totals are the accounting of one origin. Outcomes are read before accepted,
// so InFlight is never too small.
type Totals struct {
	Accepted uint64
	Outcomes [stages.Outcomes]uint64
	// DeadLettered is the part of the refused events that are kept as dead letters.
	DeadLettered uint64
	InFlight     int64
}

// Totals sums the accounting of one origin.
func (p *Pipeline) Totals(origin stages.Origin) Totals {
	var t Totals
	answered := uint64(0)
	for _, shard := range p.outcomeShards { // first: it is counted last
		t.DeadLettered += shard.deadLettered[origin].Load()
	}
	for o := range t.Outcomes {
		for _, shard := range p.outcomeShards {
			t.Outcomes[o] += shard.outcomes[origin][o].Load()
		}
		answered += t.Outcomes[o]
	}
	t.Accepted = p.accepted[origin].Load()
	t.InFlight = int64(t.Accepted - answered)
	return t
}

// InFlight is the number of accepted events without an outcome.
func (p *Pipeline) InFlight() (n int64) {
	for origin := range stages.Origins {
		n += p.Totals(origin).InFlight
	}
	return n
}
