package main

// Unary calls: one caller beside an empty call, and calls of many events beside the figures of other gateways.

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// elsewhere are other gateways' acknowledged events a second with 16 callers on two processors, measured once with
// other hardware and neighbours: they show the order of size.
var elsewhere = []struct {
	name   string
	factor float64 // how much more the gateway is to reach with 100 events a call
	rates  map[int]float64
}{
	{"OpenTelemetry Collector 0.155, OTLP to Kafka", 4, map[int]float64{1: 7e3, 10: 52e3, 100: 212e3, 1000: 367e3}},
	{"Raccoon, synchronous acknowledgement", 8, map[int]float64{1: 0.9e3, 10: 8.7e3, 100: 79e3, 1000: 335e3}},
}

// judgedCall is the number of events a call that the goals beside other gateways are about.
const judgedCall = 100

func (b *bench) calls(ctx context.Context, r *report) error {
	r.addf("\n## Unary calls\n\n### One caller, discarding broker\n\nThe empty call is one to a grpc-go server that only answers: no broker, so one process less on the same processors.\n")
	one := b.usual()
	one.batch, one.unary, one.streams = 0, true, 1
	scenes := []scene{{server: gateway, broker: discarding, partitions: 3, load: one}, {server: rawGRPC, load: one},
		{server: baseline, broker: discarding, partitions: 3, load: one}}
	all := b.takeTurns(ctx, "one caller", b.rounds, scenes)
	r.endToEnd("server", []string{"gateway", "empty call", "plain baseline"}, all)
	if by := ratios(all[0].column(p50), all[1].column(p50)); len(by) > 0 {
		r.addf("p50 by the empty call's: %s; the plain baseline's, whose handler only waits for franz-go, by the empty call's: %s; the gateway's by "+
			"the plain baseline's: %s.\n", spread(by, "%.2f"), spread(ratios(all[2].column(p50), all[1].column(p50)), "%.2f"),
			spread(ratios(all[0].column(p50), all[2].column(p50)), "%.2f"))
		r.goal("unary, one caller: p50 by an empty call's", "at most 1.6", spread(by, "%.2f"), median(by) <= 1.6)
		half := one
		half.rate, half.took = all[0].of(rate)/2, b.halfLoadSpan()
		b.halfLoad(ctx, r, half)
	} else {
		r.noResult("unary, one caller: p50 by an empty call's")
	}
	return b.manyCallers(ctx, r)
}

// halfLoadSpan is longer than other tails take: one caller at half load makes 2,000 to 3,000 calls a second,
// and in 1.2 s the p99 that a goal is about rested on 28 of them. In 3 s it is at least 60.
func (b *bench) halfLoadSpan() time.Duration { return b.span * 5 / 2 }

// halfLoad compares tails at half of what one caller reaches, on a fixed schedule.
func (b *bench) halfLoad(ctx context.Context, r *report, l load) {
	all := b.takeTurns(ctx, "one caller at half load", b.rounds,
		[]scene{{server: gateway, broker: discarding, partitions: 3, load: l}, {server: rawGRPC, load: l}})
	r.addf("\nAt half of the gateway's rate, on a fixed schedule (%s calls/s), runs of %v.", count(l.rate), l.took.Round(time.Millisecond))
	if len(all[0]) > 0 {
		fewest, _ := extremes(all[0].column(events))
		r.addf(" %s", restsOn("p99", 0.01, fewest, 1))
	}
	r.addf("\n")
	r.endToEnd("server", []string{"gateway", "empty call"}, all)
	var above []float64
	for i := range min(len(all[0]), len(all[1])) {
		above = append(above, all[0][i].P99-all[1][i].P99)
	}
	const what = "unary, one caller at 50 % load: p99 above an empty call's"
	if len(above) == 0 {
		r.noResult(what)
		return
	}
	r.goal(what, "less than 1 ms", spread(above, "%.2f")+" ms", median(above) < 1)
}

func (b *bench) manyCallers(ctx context.Context, r *report) error {
	batches := []int{1, 10, 100, 1000}
	var scenes []scene
	var labels []string
	for _, n := range batches {
		l := b.usual()
		l.batch, l.unary, l.streams = n, true, 16
		scenes = append(scenes, scene{server: gateway, broker: discarding, partitions: 3, load: l})
		labels = append(labels, fmt.Sprint(n))
	}
	all := b.takeTurns(ctx, "16 callers", b.few(), scenes)
	judged := slices.Index(batches, judgedCall)
	all[judged] = slices.Concat(all[judged], b.takeTurns(ctx, "16 callers, what goals are about", b.rounds-b.few(), scenes[judged:judged+1])[0])
	r.addf("\n### 16 callers, discarding broker\n\n%d rounds; %d of %d events a call.\n", b.few(), b.rounds, judgedCall)
	r.endToEnd("events a call", labels, all)
	rows := [][]string{{"events a call", "gateway"}}
	for _, o := range elsewhere {
		rows[0] = append(rows[0], o.name, "gateway by it")
	}
	for i, n := range batches {
		if len(all[i]) == 0 {
			r.noResult("16 callers, " + labels[i] + " events a call, and what is beside it")
			continue
		}
		row := []string{labels[i], count(all[i].of(rate))}
		for _, o := range elsewhere {
			by := all[i].of(rate) / o.rates[n]
			row = append(row, count(o.rates[n]), fmt.Sprintf("%.1f", by))
			if n == judgedCall {
				r.goal(fmt.Sprintf("events/s by those of %s, 16 callers, %d events a call", o.name, n), fmt.Sprintf("at least %.0f", o.factor), fmt.Sprintf("%.1f", by), by >= o.factor)
			}
		}
		rows = append(rows, row)
	}
	r.addf("Beside figures of others, measured once on two shared processors, not in this run:\n")
	r.table(rows)
	return nil
}
