package main

// The goals about single parts, judged from the table of the packages' benchmarks.

import "fmt"

// referencePipeline is what an older gateway took for one event, in process, on four cores: nanoseconds.
const referencePipeline = 1256

func (r *report) judgeMicro(rows []*microRow) {
	find := func(name, impl string) *microImpl {
		for _, row := range rows {
			if row.name == name {
				return row.impl(impl)
			}
		}
		return nil
	}
	if p := find("Pipeline/events=100", "gateway"); p != nil {
		nanos, size, allocs := median(p.nanos), median(p.bytes), median(p.allocs)
		r.goal("full pipeline in process, an event of 450 B, 100 a message", "at most 250 ns, 0 B, 0 allocations",
			fmt.Sprintf("%s ns, %.0f B, %.0f allocations", spread(p.nanos, "%.0f"), size, allocs), nanos <= 250 && size < 1 && allocs < 1)
		r.goal("the same beside the reference table's 1,256 ns", "at least 5 times faster", fmt.Sprintf("%.1f", referencePipeline/nanos), referencePipeline/nanos >= 5)
	}
	for _, g := range []struct {
		what, want, name, plain string
		factor, most            float64
	}{
		{"besides: six stages that do nothing, the source sends single events, workers pass on bursts as the pipeline does; by channels",
			"at least 4 times faster", "SixStages/push=burst", "plain-channel", 4, 0},
		{"six stages that do nothing, one event a send: rings by channels", "at least 4 times faster", "SixStages/push=event", "plain-channel", 4, 0},
		{"rate limiter, an event in a burst", "at most 15 ns and faster than x/time/rate", "RateLimiter/callers=1/events=100", "plain-x/time/rate", 1, 15},
		{"circuit breaker, an event in a burst", "at most 3 ns and faster than sony/gobreaker", "Breaker/events=100", "plain-gobreaker", 1, 3},
	} {
		ours, plain := find(g.name, "gateway"), find(g.name, g.plain)
		if ours == nil || plain == nil {
			continue
		}
		by := ratios(plain.nanos, ours.nanos)
		met := median(by) >= g.factor && (g.most == 0 || median(ours.nanos) <= g.most && median(ours.allocs) < 1)
		r.goal(g.what, g.want, fmt.Sprintf("%s ns, plain by ours %s", spread(ours.nanos, "%.2f"), spread(by, "%.1f")), met)
	}
}
