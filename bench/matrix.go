package main

// Shapes of load, sizes and numbers of streams, each to every broker.

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// shape is a way to send.
type shape struct {
	name, file string
	load       load
}

func (b *bench) sendingShapes() []shape {
	with := func(edit func(*load)) load {
		l := b.usual()
		edit(&l)
		return l
	}
	return []shape{
		{"unary, 16 callers", "unary", with(func(l *load) { l.batch, l.unary, l.streams = 0, true, 16 })},
		{"stream, 2 streams", "stream", with(func(l *load) { l.batch = 0 })},
		{"batch stream, 10 a message", "batch-10", with(func(l *load) { l.batch = 10 })},
		{"batch stream, 100 a message", "batch-100", with(func(*load) {})},
		{"batch stream, 1000 a message", "batch-1000", with(func(l *load) { l.batch = 1000 })},
	}
}

// few is how many rounds a curve takes.
func (b *bench) few() int { return (b.rounds + 1) / 2 }

// brokersHere are the kinds that can run on this machine.
func (b *bench) brokersHere() []string {
	if b.kafkaAway != nil {
		return []string{discarding, embedded}
	}
	return []string{discarding, embedded, apacheKafka}
}

// grid runs every load to every broker: a table for each broker, and the series by broker and load.
func (b *bench) grid(ctx context.Context, r *report, what, head string, labels []string, loads []load) map[string][]series {
	result := map[string][]series{}
	for _, kind := range b.brokersHere() {
		var scenes []scene
		for _, l := range loads {
			scenes = append(scenes, scene{server: gateway, broker: kind, partitions: 3, load: l})
		}
		result[kind] = b.takeTurns(ctx, what, b.few(), scenes)
		r.addf("\n### %s, %d rounds\n", brokerTitle(kind), b.few())
		r.endToEnd(head, labels, result[kind])
	}
	return result
}

func brokerTitle(kind string) string {
	return map[string]string{discarding: "Discarding broker", embedded: "Embedded broker (its CPU is in the server's)",
		apacheKafka: "Apache Kafka, one broker"}[kind]
}

// shapes is how events are sent.
func (b *bench) shapes(ctx context.Context, r *report) error {
	r.addf("\n## Shapes\n\nEvents of about 450 bytes.\n")
	var labels []string
	var loads []load
	for _, s := range b.sendingShapes() {
		labels, loads = append(labels, s.name), append(loads, s.load)
	}
	result := b.grid(ctx, r, "shapes", "shape", labels, loads)
	b.loops = closedLoops{}
	for kind, all := range result {
		for i, s := range b.sendingShapes() {
			b.loops[[2]string{kind, s.file}] = all[i]
		}
	}
	p := barPlot{Title: "Events a second by shape and broker", Y: axis{Label: "events/s"}, Bars: barGroups{Groups: labels}}
	for _, kind := range b.brokersHere() {
		bars := barSeries{Name: kind}
		for _, s := range result[kind] {
			bars.Values = append(bars.Values, nil)
			if n := s.of(rate); n > 0 {
				bars.Values[len(bars.Values)-1] = &n
			}
		}
		p.Bars.Series = append(p.Bars.Series, bars)
	}
	r.picture("shapes", p.Title, p)
	return nil
}

// sizes is how large the events are.
func (b *bench) sizes(ctx context.Context, r *report) error {
	r.addf("\n## Event size\n\n100 events a message on 2 streams; those of 64 KiB 10 a message; runs of %v.\n", b.curve().took.Round(time.Millisecond))
	sizes := []int{100, 370, 4 << 10, 64 << 10}
	labels := []string{"100 B", "370 B (an event of about 450 B)", "4 KiB", "64 KiB"}
	var loads []load
	for _, size := range sizes {
		l := b.curve()
		if l.size = size; size > 16<<10 {
			l.batch = 10
		}
		loads = append(loads, l)
	}
	result := b.grid(ctx, r, "event size", "data", labels, loads)
	b.curves(r, "event-size", "Event size", axis{Label: "bytes of data", Log: true}, floats(sizes), result)
	return nil
}

// manyStreams is how many clients there are.
func (b *bench) manyStreams(ctx context.Context, r *report) error {
	r.addf("\n## Streams\n\n100 events a message, 100 streams a connection; at most 4 unanswered messages a stream.\n")
	numbers := []int{1, 10, 100, 1000}
	var labels []string
	var loads []load
	for _, n := range numbers {
		l := b.usual()
		l.streams, l.window = n, 4 // a thousand streams: the generator holds what is unanswered
		labels, loads = append(labels, fmt.Sprint(n)), append(loads, l)
	}
	result := b.grid(ctx, r, "streams", "streams", labels, loads)
	b.curves(r, "streams", "Streams", axis{Label: "streams", Log: true}, floats(numbers), result)
	full := scene{server: gateway, broker: discarding, partitions: 3, load: loads[len(loads)-1]}
	more := b.takeTurns(ctx, "1000 streams", b.rounds-b.few(), []scene{full})[0]
	const what = "peak memory at full load, 1000 streams"
	s := slices.Concat(result[discarding][len(numbers)-1], more)
	if len(s) == 0 {
		r.noResult(what)
		return nil
	}
	r.goal(what, "at most 256 MiB", spread(s.column(peak), "%.0f")+" MiB", s.of(peak) <= 256)
	return nil
}

// curves draws rate and CPU of the gateway over x, a line for each broker.
func (b *bench) curves(r *report, file, title string, x axis, xs []float64, result map[string][]series) {
	rates := plot{Title: title + ": events a second", X: x, Y: axis{Label: "events/s"}}
	cpu := plot{Title: title + ": CPU of the gateway", X: x, Y: axis{Label: "ns an event"}}
	for _, kind := range b.brokersHere() {
		fast, cost := line{Name: kind}, line{Name: kind}
		for i, s := range result[kind] {
			fast.Points = append(fast.Points, at(xs[i], s, rate)...)
			cost.Points = append(cost.Points, at(xs[i], s, serverCPU)...)
		}
		rates.Series, cpu.Series = append(rates.Series, fast), append(cpu.Series, cost)
	}
	r.plot(file+"-rate", rates)
	r.plot(file+"-cpu", cpu)
}

func floats(values []int) (f []float64) {
	for _, v := range values {
		f = append(f, float64(v))
	}
	return f
}
