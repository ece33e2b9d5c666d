package main

// Latency at fixed rates: the generator follows a schedule, and latency counts from the time at which a message was due,
// so that waiting for a slow gateway is part of it (no coordinated omission).

import (
	"context"
	"fmt"
	"time"
)

// tailSpan is how long a run is measured whose tail counts: 2.5 s with the usual span. In 1.2 s a p99.9 of
// calls rested on 7 of them.
func (b *bench) tailSpan() time.Duration { return b.span * 25 / 12 }

// usualPercents are the shares of the maximum at which latency is measured.
var usualPercents = []int{25, 50, 75}

func (b *bench) latency(ctx context.Context, r *report) error {
	r.addf("\n## Latency at fixed rates\n\nShares of what the same load reaches with a closed loop, which is the first row: there latency counts from handing over a message. "+
		"*Generator late* is the p99 of how much later "+
		"than due the generator itself handed over a message; it is part of the latency. *Events a batch* is what the gateway puts into one batch for a partition. "+
		"Where the schedule was not kept, the machine could not take the rate in that round: what was due and not sent when the run "+
		"ended is in no percentile, so the latency is higher than it says. %d rounds of %v; how many events a p99.9 rests on is said before each table. "+
		"Where records are kept, batches of 100 and, at half load, unary calls: more does not fit into 15 minutes.\n", b.few(), b.tailSpan().Round(time.Millisecond))
	shapes := b.sendingShapes()
	for _, s := range shapes {
		b.latencyOf(ctx, r, discarding, s, usualPercents)
	}
	for _, kind := range b.brokersHere()[1:] { // calls at half load alone: all of it has 15 minutes
		b.latencyOf(ctx, r, kind, shapes[0], []int{50})
		b.latencyOf(ctx, r, kind, shapes[3], usualPercents)
	}
	return nil
}

// closedLoops are what the section of the shapes measured, by broker and shape: the maxima that latency takes
// shares of.
type closedLoops map[[2]string]series

// closedLoop is what a shape reaches: as measured already, or measured now where that section was left out.
func (b *bench) closedLoop(ctx context.Context, kind string, s shape) series {
	if measured := b.loops[[2]string{kind, s.file}]; measured != nil {
		return measured
	}
	return b.takeTurns(ctx, "latency: the maximum", b.few(), []scene{{server: gateway, broker: kind, partitions: 3, load: s.load}})[0]
}

func (b *bench) latencyOf(ctx context.Context, r *report, kind string, s shape, percents []int) {
	full := b.closedLoop(ctx, kind, s)
	if len(full) == 0 {
		return // a failure, and named as one
	}
	what := scene{server: gateway, broker: kind, partitions: 3, load: s.load}
	what.load.took = b.tailSpan()
	var scenes []scene
	for _, percent := range percents {
		what.load.rate = full.of(rate) * float64(percent) / 100
		scenes = append(scenes, what)
	}
	all := b.takeTurns(ctx, "latency", b.few(), scenes)
	r.latencyTable(s.name+", "+kind, full, percents, scenes, all)
	if len(percents) < 2 {
		return // no curve
	}
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
	r.plot("latency-"+kind+"-"+s.file, p)
}

// latencyTable has the closed loop, and one row for each share of it.
func (r *report) latencyTable(title string, full series, percents []int, scenes []scene, all []series) {
	rows := [][]string{{title, "asked/s", "events/s", "p50, ms", "p99, ms", "p99.9, ms", "generator late, ms", "server CPU, ns", "generator CPU, ns",
		"events a batch", "schedule"}}
	add := func(label, asked string, s series, late, kept string) {
		rows = append(rows, []string{label, asked, count(s.of(rate)), spread(s.column(p50), "%.2f"), spread(s.column(p99), "%.2f"),
			spread(s.column(p999), "%.2f"), late, fmt.Sprintf("%.0f", s.of(serverCPU)), known(s.of(clientCPU), "%.0f"), known(s.of(perBatch), "%.1f"), kept})
	}
	add("closed loop", "-", full, "-", "-")
	least := 0.0 // events of the shortest run
	for i, measured := range all {
		label, asked := fmt.Sprintf("%d %%", percents[i]), count(scenes[i].load.rate)
		if len(measured) == 0 {
			rows = append(rows, []string{label, asked, "no result: see Failures", "", "", "", "", "", "", "", ""})
			continue
		}
		share, _ := extremes(measured.column(func(f figures) float64 { return f.Kept }))
		kept := "kept"
		if share < 0.98 {
			kept = fmt.Sprintf("**not kept: %.0f %% in the worst round**", share*100)
		}
		add(label, asked, measured, fmt.Sprintf("%.2f", measured.of(late99)), kept)
		if fewest, _ := extremes(measured.column(events)); least == 0 || fewest < least {
			least = fewest
		}
	}
	r.addf("\n%s\n", restsOn("p99.9", 0.001, least, scenes[0].load.batch))
	r.table(rows)
}

// restsOn says how many of a run's events are beyond a percentile. The events of a message are answered
// together, so that what counts for a tail is messages.
func restsOn(percentile string, beyond, events float64, batch int) string {
	text := fmt.Sprintf("The shortest run has %s events: its %s rests on the slowest %s", count(events), percentile, count(events*beyond))
	switch messages := events * beyond / float64(max(batch, 1)); {
	case batch > 1 && messages < 1:
		text += ", less than one message: it is the slowest message"
	case batch > 1:
		text += fmt.Sprintf(", the events of %.0f messages", messages)
	}
	return text + "."
}
