package stages

// The circuit breaker: one per Kafka client, about brokers, never about one
// partition. The Kafka side tells it what happens, produce asks it once a
// batch. All transitions are here, without clocks or goroutines, so that a
// table can test them.

import (
	"math"
	"sync/atomic"
	"time"
)

// BreakerState is closed, open or half-open.
type BreakerState uint32

// The states; the numbers are those of the metric.
const (
	BreakerClosed BreakerState = iota
	BreakerHalfOpen
	BreakerIsOpen
)

// String is the state's name in logs.
func (s BreakerState) String() string {
	return [...]string{"closed", "half-open", "open"}[s]
}

// Breaker opens when no broker has answered anything for OpenAfter while records
// are in flight, half-opens when any broker answers a probe, and
// closes with the first acknowledged record. Safe for concurrent use.
type Breaker struct {
	openAfter time.Duration
	state     atomic.Uint32
	// answered is when a broker last answered, or when records last started to be in flight, in
	// nanoseconds of the caller's clock; written at most once a produce response.
	answered atomic.Int64
	// trial is the time at which the one trial batch of the half-open state was let through; noTrial = none.
	trial    atomic.Int64
	onChange func(from, to BreakerState)
}

// noTrial is no time: clocks start at or above 0, and 0 itself is a time.
const noTrial = math.MinInt64

// NewBreaker returns a closed breaker. onChange (may be nil) is called on
// every transition, on the goroutine that caused it, and must not block.
func NewBreaker(openAfter time.Duration, onChange func(from, to BreakerState)) *Breaker {
	return &Breaker{openAfter: openAfter, onChange: onChange}
}

// State is the present state.
func (b *Breaker) State() BreakerState { return BreakerState(b.state.Load()) }

// Allow reports whether a batch may be handed to Kafka at time now. Closed it
// costs one atomic load. Half-open lets one batch through; the next one after
// openAfter without an acknowledgement.
func (b *Breaker) Allow(now int64) bool {
	switch b.State() {
	case BreakerClosed:
		return true
	case BreakerIsOpen:
		return false
	}
	last := b.trial.Load()
	return (last == noTrial || now-last >= int64(b.openAfter)) && b.trial.CompareAndSwap(last, now)
}

// Busy notes that records started to be in flight at now, after none were:
// silence before that is no broker's fault.
func (b *Breaker) Busy(now int64) { b.answered.Store(now) }

// Answered notes that a broker answered a produce request, whatever it said, or
// a probe while it was not open.
func (b *Breaker) Answered(now int64) { b.answered.Store(now) }

// Acknowledged notes that a record was acknowledged.
func (b *Breaker) Acknowledged() {
	// Until it is closed: a probe may half-open it at this moment, and no other record may be on its way.
	for s := b.State(); s != BreakerClosed; s = b.State() {
		b.change(s, BreakerClosed)
	}
}

// Probed notes that a broker answered a probe while the breaker was open. In
// the other states it does nothing: a late answer must not allow a second trial.
func (b *Breaker) Probed(now int64) {
	if b.State() != BreakerIsOpen {
		return
	}
	// Both before the state changes: a Tick between must see the answer, an Allow between the one free trial.
	b.answered.Store(now)
	b.trial.Store(noTrial)
	b.change(BreakerIsOpen, BreakerHalfOpen)
}

// Tick looks at the clock: called every second or more often, with whether
// records are in flight.
func (b *Breaker) Tick(now int64, inFlight bool) {
	if s := b.State(); b.Silent(now, inFlight) && s != BreakerIsOpen {
		b.change(s, BreakerIsOpen)
	}
}

// Silent reports whether Tick would find that no broker answers. With little
// traffic, one partition without a leader is enough for that: ask a broker before
// Tick, and note its answer with Answered.
func (b *Breaker) Silent(now int64, inFlight bool) bool {
	return inFlight && now-b.answered.Load() >= int64(b.openAfter)
}

func (b *Breaker) change(from, to BreakerState) {
	if b.state.CompareAndSwap(uint32(from), uint32(to)) && b.onChange != nil {
		b.onChange(from, to)
	}
}
