package main

// Reading back: what a delivered event costs with many live subscribers, beside as many franz-go consumers, and how much
// later than its acknowledgement an event reaches a subscriber; and what the memory of recent events costs.

import (
	"context"
	"fmt"
	"path/filepath"
	"time"
)

// fannedOut is what bench/fanout prints.
type fannedOut struct {
	Delivered int64   `json:"delivered"`
	Rate      float64 `json:"delivered_per_second"`
	CPUNanos  float64 `json:"cpu_ns_per_delivered"`
}

const (
	// judgedReaders is the number of readers that the goal about fan-out is about, dearestShare what a delivered event may
	// take of the consumers' CPU then.
	judgedReaders = 100
	dearestShare  = 1.0
	// liveRate is a light load: events a second.
	liveRate = 200
	// latestShare is how much later than acknowledged an event may be with its subscriber, from when it was sent.
	latestShare = 2
)

func (b *bench) reading(ctx context.Context, r *report) error {
	r.addf("\n## Reading back\n")
	b.fanOuts(ctx, r)
	b.liveLatency(ctx, r)
	b.recentEvents(ctx, r)
	return nil
}

// fanOuts compares subscribers with consumers.
func (b *bench) fanOuts(ctx context.Context, r *report) {
	r.addf("\n### Fan-out: every reader gets every event\n\nLive subscribers by gRPC over loopback, with a connection each, beside one franz-go consumer for each reader, which reaches " +
		"the embedded broker in memory. Broker, gateway, readers and the writer are one process, and CPU is all that it takes, by a delivered event: the reader's side is in it, and so is a share of the writing. " +
		"The subscribers' codec throws away what it gets; franz-go takes records apart. At most 1,024 events are under way. Events of about 450 bytes; each reader has " +
		"exactly what was written, or the run is no result.\n")
	rows := [][]string{{"readers", "subscribers: events/s delivered", "CPU, ns", "consumers: events/s delivered", "CPU, ns", "CPU by the consumers'", "events/s by theirs"}}
	cpu := plot{Title: "Fan-out: CPU of everything", X: axis{Label: "readers", Log: true}, Y: axis{Label: "ns a delivered event", Log: true},
		Series: []line{{Name: "subscribers"}, {Name: "franz-go consumers"}}}
	for _, n := range []int{1, 10, judgedReaders, 1000} {
		rounds := b.few()
		if n == judgedReaders {
			rounds = b.rounds
		}
		all := b.takeTurns(ctx, "fan-out", rounds, []scene{
			{server: gateway, broker: embedded, readers: n, load: load{took: b.span}},
			{server: consumers, broker: embedded, readers: n, load: load{took: b.span}},
		})
		ours, theirs := all[0], all[1]
		share := ratios(ours.column(serverCPU), theirs.column(serverCPU))
		rows = append(rows, []string{count(float64(n)), spread(ours.column(rate), "%.0f"), spread(ours.column(serverCPU), "%.0f"),
			spread(theirs.column(rate), "%.0f"), spread(theirs.column(serverCPU), "%.0f"), spread(share, "%.2f"),
			spread(ratios(ours.column(rate), theirs.column(rate)), "%.2f")})
		for i, s := range all {
			cpu.Series[i].Points = append(cpu.Series[i].Points, at(float64(n), s, serverCPU)...)
		}
		if n == judgedReaders {
			r.judgeFanOut(share)
		}
	}
	r.table(rows)
	r.plot("fan-out-cpu", cpu)
}

func (r *report) judgeFanOut(share []float64) {
	what := fmt.Sprintf("fan-out to %d live subscribers: CPU a delivered event by that of as many franz-go consumers", judgedReaders)
	if len(share) == 0 {
		r.noResult(what)
		return
	}
	r.goal(what, fmt.Sprintf("at most %.2f", dearestShare), spread(share, "%.2f"), median(share) <= dearestShare)
}

// fanOut is one run of bench/fanout.
func (b *bench) fanOut(ctx context.Context, s scene) (f figures, err error) {
	args := []string{"-readers", fmt.Sprint(s.readers), "-span", s.load.took.String(), fmt.Sprintf("-consumers=%t", s.server == consumers)}
	env := []string{plainCollector, "TMPDIR=" + b.dir}
	if s.profile != "" {
		args = append(args, "-cpuprofile", filepath.Join(b.out, "profiles", s.profile+".cpu.pprof"))
	}
	var out fannedOut
	if err := runFor(ctx, &out, b.bin.fanout, env, args); err != nil {
		return f, err
	}
	return figures{Events: out.Delivered, Rate: out.Rate, Server: out.CPUNanos}, nil
}

// liveLatency is how long an event is under way to a live subscriber, beside the time to its acknowledgement.
func (b *bench) liveLatency(ctx context.Context, r *report) {
	r.addf("\n### Live latency\n\nOne subscriber, %d events a second, embedded broker. *Received* is from when the event was handed to gRPC until the subscriber has it, *acknowledged* until its answer is there, of the "+
		"same events; publisher and subscriber are the runner itself, by a connection each. %d rounds of %v: a p99 rests on few events.\n", liveRate, b.rounds, b.tailSpan())
	rows := [][]string{{"sent by", "received: p50, ms", "p99, ms", "acknowledged: p50, ms", "p99, ms", "p50 by p50", "p99 by p99"}}
	var scenes []scene
	for _, unary := range []bool{false, true} {
		scenes = append(scenes, scene{server: gateway, broker: embedded, partitions: 3, readers: 1, live: true,
			load: load{unary: unary, streams: 1, size: 370, keys: 1000, rate: liveRate, took: b.tailSpan()}})
	}
	all := b.takeTurns(ctx, "live latency", b.rounds, scenes)
	for i, label := range []string{"a stream, one event a message", "calls"} {
		s := all[i]
		by := ratios(s.column(p50), s.column(ack50))
		rows = append(rows, []string{label, spread(s.column(p50), "%.2f"), spread(s.column(p99), "%.2f"), spread(s.column(ack50), "%.2f"),
			spread(s.column(ack99), "%.2f"), spread(by, "%.2f"), spread(ratios(s.column(p99), s.column(ack99)), "%.2f")})
		what := "live latency, sent by " + label + ": p50 of received by acknowledged"
		if len(by) == 0 {
			r.noResult(what)
			continue
		}
		r.goal(what, fmt.Sprintf("at most %d", latestShare), spread(by, "%.2f"), median(by) <= latestShare)
	}
	r.table(rows)
}

func ack50(f figures) float64 { return f.Ack50 }
func ack99(f figures) float64 { return f.Ack99 }

// recentEvents is what it costs to keep the last events for GetEvent.
func (b *bench) recentEvents(ctx context.Context, r *report) {
	kept := []int{0, 4096, 65_536}
	rows := [][]string{{"load", "EVENT_STORE_CAPACITY", "events/s", "CPU of the gateway, ns an event", "CPU by that with none", "p99, ms", "peak, MiB"}}
	single := b.curve()
	single.batch = 0
	for _, s := range []shape{{name: "100 a message", load: b.curve()}, {name: "one event a message", load: single}} {
		var scenes []scene
		for _, n := range kept {
			scenes = append(scenes, scene{server: gateway, broker: discarding, partitions: 3, load: s.load, env: []string{fmt.Sprintf("EVENT_STORE_CAPACITY=%d", n)}})
		}
		all := b.takeTurns(ctx, "recent events", b.rounds, scenes)
		for i, n := range kept {
			with := all[i]
			rows = append(rows, []string{s.name, count(float64(n)), spread(with.column(rate), "%.0f"), spread(with.column(serverCPU), "%.0f"),
				spread(ratios(with.column(serverCPU), all[0].column(serverCPU)), "%.2f"), spread(with.column(p99), "%.2f"), fmt.Sprintf("%.0f", with.of(peak))})
		}
	}
	r.addf("\n### Recent events: what it costs to keep them\n\nDiscarding broker, 2 streams, %d rounds of %v.\n", b.rounds, b.curve().took.Round(time.Millisecond))
	r.table(rows)
}
