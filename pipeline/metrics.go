package pipeline

// The pipeline's metrics in the Prometheus text format. Everything is read from
// counters that the data path keeps anyway; a scrape takes no lock of it.

import (
	"fmt"
	"io"
	"math"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/event-gateway/event-gateway/stages"
)

// WriteMetrics writes the pipeline's metrics in the Prometheus text format.
func (p *Pipeline) WriteMetrics(w io.Writer) {
	p.writeAccounting(w)
	p.writeReasons(w)
	p.writeMemory(w)
	p.writeWorkers(w)
	p.writeHeld(w)
	p.writeRemembered(w)
	p.writeLinks(w)
	writeHistogram(w, "gateway_event_latency_seconds", "", &p.retirer.latency)
}

func (p *Pipeline) writeAccounting(w io.Writer) {
	for origin := range stages.Origins {
		t := p.Totals(origin)
		t.Outcomes[stages.Refused] -= t.DeadLettered // so that the sum over all series is right
		for o := stages.Acknowledged; o < stages.Outcomes; o++ {
			metrics.WriteCounterUint64(w, fmt.Sprintf(`gateway_events_total{origin=%q,outcome=%q}`, origin, o), t.Outcomes[o])
		}
		metrics.WriteCounterUint64(w, fmt.Sprintf(`gateway_events_total{origin=%q,outcome=%q,dead_lettered="true"}`, origin, stages.Refused), t.DeadLettered)
		metrics.WriteCounterUint64(w, fmt.Sprintf(`gateway_events_accepted_total{origin=%q}`, origin), t.Accepted)
		metrics.WriteGaugeUint64(w, fmt.Sprintf(`gateway_events_in_flight{origin=%q}`, origin), uint64(t.InFlight))
	}
	metrics.WriteCounterUint64(w, `gateway_late_acknowledgements_total`, p.lateAcks.Load())
	metrics.WriteGaugeUint64(w, `gateway_messages_in_flight`, uint64(max(p.live.Load(), 0)))
}

// writeReasons lists why events were refused, filtered or became unknown, by stage and reason; only what has happened.
func (p *Pipeline) writeReasons(w io.Writer) {
	for stage := range stages.StageIDs {
		for reason := range stages.Reasons {
			n := uint64(0)
			for _, shard := range p.outcomeShards {
				n += shard.reasons[stage][reason].Load()
			}
			if n > 0 {
				metrics.WriteCounterUint64(w, fmt.Sprintf(`gateway_event_reasons_total{stage=%q,reason=%q}`, stage, reason), n)
			}
		}
	}
}

func (p *Pipeline) writeMemory(w io.Writer) {
	metrics.WriteGaugeUint64(w, `gateway_inflight_bytes`, uint64(p.inflight.used.Load()))
	metrics.WriteGaugeUint64(w, `gateway_inflight_bytes_limit`, uint64(p.inflight.limit))
	metrics.WriteGaugeUint64(w, `gateway_written_bytes`, uint64(p.written.used.Load()))
	metrics.WriteGaugeUint64(w, `gateway_admission_queue`, uint64(max(p.inflight.waiting.Load(), 0)))
	metrics.WriteCounterUint64(w, `gateway_admission_waits_total`, p.admissionWaits.Load())
	metrics.WriteCounterFloat64(w, `gateway_admission_wait_seconds_total`, seconds(p.admissionWaitNanos.Load()))
}

// eachWorker visits the workers in the order of the graph.
func (p *Pipeline) eachWorker(visit func(w *worker)) {
	for _, w := range p.decoders {
		visit(&w.worker)
	}
	for _, row := range p.middle {
		for _, w := range row {
			visit(&w.worker)
		}
	}
	for _, w := range p.batchers {
		visit(&w.worker)
	}
	for _, w := range p.producers {
		visit(&w.worker)
	}
}

// writeWorkers: the busy share of a worker is 1 - idle - full; the stage whose workers are hardly ever idle is
// the bottleneck, and one that is often full has it behind itself.
func (p *Pipeline) writeWorkers(w io.Writer) {
	up := int64(time.Since(p.epoch))
	for i := range p.watchdog.seen {
		s := &p.watchdog.seen[i]
		wk, c := s.worker, &s.worker.counts
		labels := fmt.Sprintf(`{stage=%q,worker="%d"}`, wk.id, wk.index)
		idle, full := int64(c.idleNanos.Load()), int64(c.fullNanos.Load())
		if since := c.idleSince.Load(); since > 0 {
			idle += max(p.now()-since, 0)
		}
		if since := c.fullSince.Load(); since > 0 {
			full += max(p.now()-since, 0)
		}
		lent, away := int64(c.lentNanos.Load()), int64(c.awayNanos.Load())
		idle = max(idle-lent, 0)
		metrics.WriteCounterUint64(w, `gateway_stage_events_total`+labels, c.events.Load())
		metrics.WriteCounterUint64(w, `gateway_stage_bursts_total`+labels, c.bursts.Load())
		metrics.WriteCounterFloat64(w, `gateway_stage_busy_seconds_total`+labels, seconds(max(up-idle-full-away, 0)))
		metrics.WriteCounterFloat64(w, `gateway_stage_idle_seconds_total`+labels, seconds(idle))
		metrics.WriteCounterFloat64(w, `gateway_stage_full_seconds_total`+labels, seconds(full))
		metrics.WriteCounterUint64(w, `gateway_stage_full_waits_total`+labels, c.fullWaits.Load())
		metrics.WriteCounterUint64(w, `gateway_stage_parks_total`+labels, wk.waiter.Parks())
		metrics.WriteCounterUint64(w, `gateway_stage_panics_total`+labels, c.panics.Load())
		writeHistogram(w, `gateway_stage_age_seconds`, fmt.Sprintf(`stage=%q,worker="%d"`, wk.id, wk.index), &c.age)
		metrics.WriteGaugeFloat64(w, `gateway_stage_stuck_seconds`+labels, seconds(s.stuck.Load()))
	}
}

// writeHeld says how many events wait in the side queues of stages that may keep some.
func (p *Pipeline) writeHeld(w io.Writer) {
	for _, row := range p.middle {
		for _, worker := range row {
			if worker.holder != nil {
				metrics.WriteGaugeUint64(w, fmt.Sprintf(`gateway_stage_held_events{stage=%q,worker="%d"}`, worker.id, worker.index), uint64(worker.kept.Load()))
			}
		}
	}
}

// writeRemembered says what is kept of acknowledged events, if anything is.
func (p *Pipeline) writeRemembered(w io.Writer) {
	if p.recent != nil {
		kept, skipped := p.recent.Counts()
		metrics.WriteCounterUint64(w, `gateway_recent_events_total{kept="true"}`, kept)
		metrics.WriteCounterUint64(w, `gateway_recent_events_total{kept="false"}`, skipped)
	}
	if p.dedupe != nil {
		claimed, known := p.dedupe.count()
		metrics.WriteGaugeUint64(w, `gateway_dedupe_ids{state="in_flight"}`, uint64(claimed))
		metrics.WriteGaugeUint64(w, `gateway_dedupe_ids{state="acknowledged"}`, uint64(known))
	}
}

func (p *Pipeline) writeLinks(w io.Writer) {
	for _, l := range p.links {
		labels := fmt.Sprintf(`{from=%q,to=%q,from_worker="%d",to_worker="%d"}`, l.from, l.to, l.fromID, l.toID)
		metrics.WriteGaugeUint64(w, `gateway_ring_depth`+labels, uint64(max(l.gauge.Depth(), 0)))
		metrics.WriteGaugeUint64(w, `gateway_ring_capacity`+labels, uint64(l.gauge.Cap()))
	}
	for i, d := range p.decoders {
		metrics.WriteGaugeUint64(w, fmt.Sprintf(`gateway_lane_depth{worker="%d"}`, i), uint64(max(d.lane.Depth(), 0)))
		metrics.WriteGaugeUint64(w, fmt.Sprintf(`gateway_lane_capacity{worker="%d"}`, i), uint64(d.lane.Cap()))
	}
}

func writeHistogram(w io.Writer, name, labels string, h *histogram) {
	prefix := labels
	if prefix != "" {
		prefix += ","
		labels = "{" + labels + "}"
	}
	total := uint64(0)
	for i := range h.buckets {
		total += h.buckets[i].Load()
		bound := math.Inf(1)
		if i < len(histogramBounds) {
			bound = seconds(histogramBounds[i])
		}
		le := fmt.Sprint(bound)
		if math.IsInf(bound, 1) {
			le = "+Inf"
		}
		fmt.Fprintf(w, "%s_bucket{%sle=%q} %d\n", name, prefix, le, total)
	}
	fmt.Fprintf(w, "%s_sum%s %g\n%s_count%s %d\n", name, labels, seconds(h.sum.Load()), name, labels, total)
}

func seconds(nanos int64) float64 { return float64(nanos) / 1e9 }
