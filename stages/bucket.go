package stages

// The rate limit of one client: GCRA (ITU-T I.371), one atomic word, no lock
// and no timer.

import (
	"math"
	"sync/atomic"
	"time"
)

// Limit is a rate with a burst, in the form that a Bucket needs. The zero value refuses everything.
type Limit struct {
	// interval is the nanoseconds between two events at the steady rate; a float because at several
	// million events a second a whole number of nanoseconds would be off by percents.
	interval float64
	// tolerance is the burst in nanoseconds.
	tolerance float64
}

// NewLimit returns the limit of rps events a second with bursts of burst
// events. It refuses everything when either is not above 0.
func NewLimit(rps float64, burst int) Limit {
	if !(rps > 0) || burst <= 0 { // written so that NaN refuses too
		return Limit{}
	}
	interval := 1e9 / rps
	return Limit{interval: interval, tolerance: interval * float64(burst)}
}

// Bucket is one client's state. The zero value is full. Safe for concurrent use.
type Bucket struct {
	// arrival is the theoretical arrival time of the next event, in nanoseconds of the caller's clock.
	arrival atomic.Int64
}

// Take asks for n events at time now (nanoseconds of any monotonic clock that
// all callers share) and says how many are allowed. retry is how long to wait
// for the next one, when fewer than n are; 0 with a Limit that refuses
// everything, where waiting does not help.
func (b *Bucket) Take(l Limit, now int64, n int) (allowed int, retry time.Duration) {
	if l.interval == 0 {
		return 0, 0
	}
	for {
		arrival := b.arrival.Load()
		base := max(arrival, now)
		room := l.tolerance - float64(base-now)
		allowed = n
		if need := float64(n) * l.interval; need > room {
			allowed = max(int(room/l.interval), 0)
		}
		// Rounded up: at an interval of 142.9 ns, cutting off the fraction would let 0.6 % too many through.
		next := base + int64(math.Ceil(float64(allowed)*l.interval))
		if allowed < n {
			// One nanosecond more, for what the floats round off.
			retry = time.Duration(math.Ceil(float64(next-now)+l.interval-l.tolerance)) + 1
		}
		if allowed == 0 || b.arrival.CompareAndSwap(arrival, next) {
			return allowed, retry
		}
	}
}
