package main

// What happens as one thing grows: gateways, workers, partitions, keys. On a machine whose processors are all busy these
// curves say what a setting costs, not how far it carries.

import (
	"context"
	"fmt"
	"strings"
	"time"
)

func (b *bench) scaling(ctx context.Context, r *report) error {
	r.addf("\n## Scaling\n\n100 events a message on 2 streams, discarding broker, %d rounds of %v.\n", b.few(), b.curve().took.Round(time.Millisecond))
	b.scaleProcessors(ctx, r)
	b.scaleGateways(ctx, r)
	b.scaleWorkers(ctx, r)
	b.scaleOne(ctx, r, "partitions", "Partitions", []int{1, 3, 12, 48}, func(s *scene, n int) { s.partitions = n })
	b.scaleOne(ctx, r, "keys", "Keys", []int{1, 10, 1000, 100_000}, func(s *scene, n int) { s.load.keys = n })
	return nil
}

// scaleProcessors: how many processors the Go runtime of the server uses, of those that all three processes share.
func (b *bench) scaleProcessors(ctx context.Context, r *report) {
	one := b.curve()
	one.batch, one.unary, one.streams = 0, true, 1
	single := b.curve()
	single.batch = 0
	var scenes []scene
	var labels []string
	for _, s := range []shape{{name: "100 a message", load: b.curve()}, {name: "one event a message", load: single}, {name: "calls, one caller", load: one}} {
		for _, server := range []string{gateway, baseline} {
			for _, n := range []int{1, 2} {
				scenes = append(scenes, scene{server: server, broker: discarding, partitions: 3, load: s.load, env: []string{fmt.Sprintf("GOMAXPROCS=%d", n)}})
				labels = append(labels, fmt.Sprintf("%s, %s, %d", s.name, server, n))
			}
		}
	}
	all := b.takeTurns(ctx, "processors", b.few(), scenes)
	r.addf("\n### Processors of the Go runtime (`GOMAXPROCS`)\n\nWith one, an event stays in one processor's caches and no thread is woken to look for work.\n")
	r.endToEnd("load, server, GOMAXPROCS", labels, all)
	rows := [][]string{{"load", "gateway, 1 by 2: events/s", "CPU", "p50", "gateway by plain baseline, both 1: events/s"}}
	for i := 0; i < len(all); i += 4 {
		name, _, _ := strings.Cut(labels[i], ", "+gateway)
		rows = append(rows, []string{name, spread(ratios(all[i].column(rate), all[i+1].column(rate)), "%.2f"),
			spread(ratios(all[i].column(serverCPU), all[i+1].column(serverCPU)), "%.2f"), spread(ratios(all[i].column(p50), all[i+1].column(p50)), "%.2f"),
			spread(ratios(all[i].column(rate), all[i+2].column(rate)), "%.2f")})
	}
	r.table(rows)
}

// scaleGateways: each gateway has a generator of its own.
func (b *bench) scaleGateways(ctx context.Context, r *report) {
	var scenes []scene
	for n := 1; n <= 3; n++ {
		scenes = append(scenes, scene{server: gateway, broker: discarding, partitions: 3, gateways: n, load: b.curve()})
	}
	all := b.takeTurns(ctx, "gateways", b.few(), scenes)
	rows := [][]string{{"gateways", "events/s by one gateway's", "CPU an event by one gateway's"}}
	for i, s := range all {
		rows = append(rows, []string{fmt.Sprint(i + 1), spread(ratios(s.column(rate), all[0].column(rate)), "%.2f"),
			spread(ratios(s.column(serverCPU), all[0].column(serverCPU)), "%.2f")})
	}
	r.addf("\n### Gateways\n\nEach with its own generator, one broker. The processors are busy with one: the ratio is what sharing them costs.\n")
	r.table(rows)
}

// scaleWorkers: all stages together, and the two that have most to do.
func (b *bench) scaleWorkers(ctx context.Context, r *report) {
	counts := []int{1, 2, 4}
	lines := []struct {
		name   string
		stages []string
	}{{"all stages", []string{"DECODE", "VALIDATE", "RATELIMIT", "TRANSFORM", "BATCH", "PRODUCE"}}, {"decode", []string{"DECODE"}}, {"produce", []string{"PRODUCE"}}}
	scenes := []scene{{server: gateway, broker: discarding, partitions: 12, load: b.curve()}}
	labels := []string{"1 everywhere"}
	for _, l := range lines {
		for _, n := range counts[1:] {
			s := scenes[0]
			for _, stage := range l.stages {
				s.env = append(s.env, fmt.Sprintf("STAGE_%s_WORKERS=%d", stage, n))
			}
			scenes, labels = append(scenes, s), append(labels, fmt.Sprintf("%d in %s", n, l.name))
		}
	}
	all := b.takeTurns(ctx, "workers", b.few(), scenes)
	r.addf("\n### Workers\n\n12 partitions.\n")
	r.endToEnd("workers", labels, all)
	rates := plot{Title: "Workers: events a second", X: axis{Label: "workers"}, Y: axis{Label: "events/s"}}
	cpu := plot{Title: "Workers: CPU of the gateway", X: axis{Label: "workers"}, Y: axis{Label: "ns an event"}}
	for i, l := range lines {
		fast, cost := line{Name: l.name, Points: at(1, all[0], rate)}, line{Name: l.name, Points: at(1, all[0], serverCPU)}
		for j, n := range counts[1:] {
			s := all[1+i*(len(counts)-1)+j]
			fast.Points = append(fast.Points, at(float64(n), s, rate)...)
			cost.Points = append(cost.Points, at(float64(n), s, serverCPU)...)
		}
		rates.Series, cpu.Series = append(rates.Series, fast), append(cpu.Series, cost)
	}
	r.plot("workers-rate", rates)
	r.plot("workers-cpu", cpu)
}

// scaleOne lets one number of a scene grow.
func (b *bench) scaleOne(ctx context.Context, r *report, file, title string, numbers []int, set func(*scene, int)) {
	var scenes []scene
	var labels []string
	for _, n := range numbers {
		s := scene{server: gateway, broker: discarding, partitions: 3, load: b.curve()}
		set(&s, n)
		scenes, labels = append(scenes, s), append(labels, fmt.Sprint(n))
	}
	all := b.takeTurns(ctx, file, b.few(), scenes)
	r.addf("\n### %s\n", title)
	r.endToEnd(file, labels, all)
	rates := plot{Title: title + ": events a second", X: axis{Label: file, Log: true}, Y: axis{Label: "events/s"}, Series: []line{{Name: "events/s"}}}
	cpu := plot{Title: title + ": CPU of the gateway", X: axis{Label: file, Log: true}, Y: axis{Label: "ns an event"}, Series: []line{{Name: "gateway"}}}
	for i, s := range all {
		rates.Series[0].Points = append(rates.Series[0].Points, at(float64(numbers[i]), s, rate)...)
		cpu.Series[0].Points = append(cpu.Series[0].Points, at(float64(numbers[i]), s, serverCPU)...)
	}
	r.plot(file+"-rate", rates)
	r.plot(file+"-cpu", cpu)
}
