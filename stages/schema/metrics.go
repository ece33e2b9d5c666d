package schema

// The cache's metrics in the Prometheus text format.

import (
	"fmt"
	"io"
	"sync/atomic"

	"github.com/VictoriaMetrics/metrics"
)

// What a fetch ended with.
const (
	fetchedNew = iota
	fetchedSame
	fetchedMissing
	fetchedInvalid
	fetchedFailed
	fetchResults
)

var fetchResultNames = [fetchResults]string{"new", "same", "missing", "invalid", "failed"}

// counter has one writer, which pays for no lock.
type counter struct{ n atomic.Uint64 }

func (c *counter) add()         { c.n.Store(c.n.Load() + 1) }
func (c *counter) load() uint64 { return c.n.Load() }

// counts are what one worker has done, on cache lines of its own.
type counts struct {
	hits, violations, unchecked, refused, stale, waits counter

	_ [64]byte
}

// WriteMetrics writes the cache's metrics.
func (c *Cache) WriteMetrics(w io.Writer) {
	c.mu.Lock()
	workers, busy, weight := c.workers, c.busy, c.weight
	c.mu.Unlock()
	var hits, violations, unchecked, refused, stale, waits uint64
	for _, worker := range workers {
		n := worker.counts
		hits += n.hits.load()
		violations += n.violations.load()
		unchecked += n.unchecked.load()
		refused += n.refused.load()
		stale += n.stale.load()
		waits += n.waits.load()
	}
	metrics.WriteCounterUint64(w, `gateway_schema_events_total{result="valid"}`, hits-min(violations, hits))
	metrics.WriteCounterUint64(w, `gateway_schema_events_total{result="violation"}`, violations)
	metrics.WriteCounterUint64(w, `gateway_schema_events_total{result="unchecked"}`, unchecked)
	metrics.WriteCounterUint64(w, `gateway_schema_events_total{result="no_schema"}`, refused)
	metrics.WriteCounterUint64(w, `gateway_schema_stale_served_total`, stale)
	metrics.WriteCounterUint64(w, `gateway_schema_waits_total`, waits)
	for i := range c.fetched {
		metrics.WriteCounterUint64(w, fmt.Sprintf(`gateway_schema_fetches_total{result=%q}`, fetchResultNames[i]), c.fetched[i].Load())
	}
	metrics.WriteGaugeUint64(w, `gateway_schema_fetches_in_flight`, uint64(busy))
	c.writeEntries(w)
	metrics.WriteGaugeUint64(w, `gateway_schema_memory_bytes`, uint64(max(weight, 0)))
}

func (c *Cache) writeEntries(w io.Writer) {
	var schemas, others uint64
	for _, e := range *c.entries.Load() {
		if a := e.answer.Load(); a != nil && a.kind == usable {
			schemas++
		} else {
			others++
		}
	}
	metrics.WriteGaugeUint64(w, `gateway_schema_entries{kind="schema"}`, schemas)
	metrics.WriteGaugeUint64(w, `gateway_schema_entries{kind="none"}`, others)
}
