package main

// Latency at fixed rates: the generator follows a schedule, and latency counts from the time at which a message was due,
// so that waiting for a slow gateway is part of it (no coordinated omission).

import (
	"context"
	"fmt"
)

func (b *bench) latency(ctx context.Context, r *report) error {
	r.addf("\n## Latency at fixed rates\n\nShares of what the same load reaches with a closed loop. *Generator late* is the p99 of how much later "+
		"than due the generator itself handed over a message; it is part of the latency. Where the schedule was not kept, the machine could not take the rate in that round: what was due and not sent when the run "+
		"ended is in no percentile, so the latency is higher than it says. %d rounds.\n", b.few())
	shapes := b.sendingShapes()
	for _, c := range []struct {
		broker string
		shapes []shape
	}{{discarding, []shape{shapes[0], shapes[1], shapes[3]}}, {embedded, shapes[3:4]}, {apacheKafka, shapes[3:4]}} {
		if c.broker == apacheKafka && b.kafkaAway != nil {
			continue
		}
		for _, s := range c.shapes {
			b.latencyOf(ctx, r, c.broker, s)
		}
	}
	return nil
}

func (b *bench) latencyOf(ctx context.Context, r *report, kind string, s shape) {
	what := scene{server: gateway, broker: kind, partitions: 3, load: s.load}
	full := b.takeTurns(ctx, "latency: the maximum", b.few(), []scene{what})[0]
	if len(full) == 0 {
		return
	}
	percents := []int{25, 50, 75}
	var scenes []scene
	for _, percent := range percents {
		what.load.rate = full.of(rate) * float64(percent) / 100
		scenes = append(scenes, what)
	}
	all := b.takeTurns(ctx, "latency", b.few(), scenes)
	rows := [][]string{{s.name + ", " + kind, "asked/s", "events/s", "p50, ms", "p99, ms", "p99.9, ms", "generator late, ms", "server CPU, ns", "schedule"}}
	p := plot{Title: fmt.Sprintf("Latency: %s, %s", s.name, kind), X: axis{Label: "% of the maximum"}, Y: axis{Label: "ms", Log: true}}
	for i, q := range []struct {
		name string
		pick func(figures) float64
	}{{"p50", p50}, {"p99", p99}, {"p99.9", p999}} {
		p.Series = append(p.Series, line{Name: q.name})
		for j, measured := range all {
			p.Series[i].Points = append(p.Series[i].Points, at(float64(percents[j]), measured, q.pick)...)
		}
	}
	for i, measured := range all {
		if len(measured) == 0 {
			rows = append(rows, []string{fmt.Sprintf("%d %%", percents[i]), count(scenes[i].load.rate), "no result: see Failures", "", "", "", "", "", ""})
			continue
		}
		least, _ := extremes(measured.column(func(f figures) float64 { return f.Kept }))
		kept := "kept"
		if least < 0.98 {
			kept = fmt.Sprintf("**not kept: %.0f %% in the worst round**", least*100)
		}
		rows = append(rows, []string{fmt.Sprintf("%d %%", percents[i]), count(scenes[i].load.rate), count(measured.of(rate)), spread(measured.column(p50), "%.2f"),
			spread(measured.column(p99), "%.2f"), spread(measured.column(p999), "%.2f"), fmt.Sprintf("%.2f", measured.of(late99)), fmt.Sprintf("%.0f", measured.of(serverCPU)), kept})
	}
	r.table(rows)
	r.plot("latency-"+kind+"-"+s.file, p)
}
