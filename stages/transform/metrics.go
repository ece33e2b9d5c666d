package transform

// Counters of rules. Each worker has its own, and a scrape adds them up.

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
)

// samplePeriod is how many events go by a rule that runs no program until its time is taken once: reading the clock
// twice would take longer than the rule.
const samplePeriod = 64

// counts are those of one rule on one worker, who alone writes them.
type counts struct {
	results [results]atomic.Uint64
	nanos   atomic.Int64
	calls   uint

	_ [64]byte // the next worker's lie elsewhere
}

// sample says how many calls the time of this one stands for; 0: it is not taken.
func (c *counts) sample(always bool) int {
	if always {
		return 1
	}
	if c.calls++; c.calls%samplePeriod == 0 {
		return samplePeriod
	}
	return 0
}

func (c *counts) add(r Result)         { c.results[r].Add(1) }
func (c *counts) busy(d time.Duration) { c.nanos.Add(int64(d)) }

// WriteMetrics writes the rules' metrics in the Prometheus text format.
func (r *Rules) WriteMetrics(w io.Writer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, rule := range r.rules {
		var sums [results]uint64
		nanos := int64(0)
		for _, worker := range r.workers {
			c := worker.rules[i].counts
			for result := range sums {
				sums[result] += c.results[result].Load()
			}
			nanos += c.nanos.Load()
		}
		for result := Unchanged; result < results; result++ { // their sum are the events that the rule was for
			metrics.WriteCounterUint64(w, fmt.Sprintf(`gateway_rule_events_total{rule=%q,result=%q}`, rule.name, result), sums[result])
		}
		metrics.WriteCounterFloat64(w, fmt.Sprintf(`gateway_rule_busy_seconds_total{rule=%q}`, rule.name), time.Duration(nanos).Seconds())
	}
}
