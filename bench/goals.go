package main

// The goals about single parts, judged from the table of the packages' benchmarks.

import (
	"fmt"
	"slices"
	"strings"
)

// referencePipeline is what an older gateway took for one event, in process, on four cores: nanoseconds.
const referencePipeline = 1256

// pipelineRow is the row of the full pipeline.
var pipelineRow = microRow{pkg: "pipeline", name: "Pipeline/events=100"}

// partGoal is a row that is to be factor times as fast as a plain way, and to take most nanoseconds (0: any)
// without allocating, unless it may.
type partGoal struct {
	what, want   string
	row          microRow // its name
	plain        string   // "": there is none
	factor, most float64  // factor 0: nothing is wanted
	allocates    bool
}

var partGoals = []partGoal{
	{"besides: six stages that do nothing, the source sends single events, workers pass on bursts as the pipeline does; by channels",
		"at least 4 times faster", microRow{pkg: "ring", name: "SixStages/push=burst"}, "plain-channel", 4, 0, false},
	{"six stages that do nothing, one event a send: rings by channels", "at least 4 times faster",
		microRow{pkg: "ring", name: "SixStages/push=event"}, "plain-channel", 4, 0, false},
	{"rate limiter, an event in a burst", "at most 15 ns and faster than x/time/rate",
		microRow{pkg: "stages", name: "RateLimiter/callers=1/events=100"}, "plain-x/time/rate", 1, 15, false},
	{"besides: the same by x/time/rate asked once a burst, as ours is", "-",
		microRow{pkg: "stages", name: "RateLimiter/callers=1/events=100"}, "plain-x/time/rate-at-once", 0, 0, false},
	{"circuit breaker, an event in a burst", "at most 3 ns and faster than sony/gobreaker",
		microRow{pkg: "stages", name: "Breaker/events=100"}, "plain-gobreaker", 1, 3, false},
	{"besides: the same by gobreaker asked once a burst, as ours is", "-",
		microRow{pkg: "stages", name: "Breaker/events=100"}, "plain-gobreaker-once", 0, 0, false},
	{"a jq rule on a JSON event of 450 B, by encoding/json, gojq, encoding/json", "at most 6 us and 2 times faster",
		microRow{pkg: "transform", name: "Languages/jq"}, "plain-encoding-json", 2, 6000, true},
	{"the same, a rule that changes one member", "at most 6 us and 2 times faster",
		microRow{pkg: "transform", name: "Languages/jq-one-member"}, "plain-encoding-json", 2, 6000, true},
	{"an expr rule, likewise", "at most 3 us and 2 times faster", microRow{pkg: "transform", name: "Languages/expr"}, "plain-encoding-json", 2, 3000, true},
	{"a CEL rule, likewise", "at most 3 us and 2 times faster", microRow{pkg: "transform", name: "CEL"}, "plain-encoding-json", 2, 3000, true},
	{"a template rule, likewise", "at most 3 us and 2 times faster", microRow{pkg: "transform", name: "Template"}, "plain-encoding-json", 2, 3000, true},
	{"a rule that looks at attributes only: MATCH, FILTER, TOPIC", "at most 300 ns", microRow{pkg: "transform", name: "Rules/match-filter-topic"}, "", 0, 300, false},
	{"an event that no rule matches", "at most 20 ns", microRow{pkg: "transform", name: "Rules/no-rule-matches"}, "", 0, 20, false},
	{"an event for subscribers: a record's attributes, encoded once, its cursor; by EventFromRecord and proto.Marshal", "at most 1 us and 1.5 times faster",
		microRow{pkg: "kafka", name: "Delivery"}, "plain-proto.Marshal", 1.5, 1000, true},
	{"two transform workers by one, a load of jq", "at least 1.7 times the throughput",
		microRow{pkg: "bench", name: "TransformWorkers"}, "plain-one-worker", 1.7, 0, true},
}

// judgedPattern matches a package's rows that goals are about, with the plain ways beside them; "" where
// there is none.
func judgedPattern(pkg string) string {
	var patterns []string
	if pkg == pipelineRow.pkg {
		patterns = append(patterns, pipelineRow.pattern())
	}
	for i := range partGoals {
		if row := &partGoals[i].row; row.pkg == pkg && !slices.Contains(patterns, row.pattern()) {
			patterns = append(patterns, row.pattern())
		}
	}
	return strings.Join(patterns, "|")
}

func (r *report) judgeMicro(rows []*microRow) {
	find := func(want *microRow, impl string) *microImpl {
		for _, row := range rows {
			if row.pkg == want.pkg && row.name == want.name {
				return row.impl(impl)
			}
		}
		return nil
	}
	if p := find(&pipelineRow, "gateway"); p == nil {
		r.noResult("full pipeline in process")
	} else {
		nanos, size, allocs := median(p.nanos), median(p.bytes), median(p.allocs)
		r.goal("full pipeline in process, an event of 450 B, 100 a message", "at most 250 ns, 0 B, 0 allocations",
			fmt.Sprintf("%s ns, %.0f B, %.0f allocations", spread(p.nanos, "%.0f"), size, allocs), nanos <= 250 && size < 1 && allocs < 1)
		r.goal("the same beside the reference table's 1,256 ns", "at least 5 times faster", fmt.Sprintf("%.1f", referencePipeline/nanos), referencePipeline/nanos >= 5)
	}
	for i := range partGoals {
		g := &partGoals[i]
		ours, plain := find(&g.row, "gateway"), find(&g.row, g.plain)
		if ours == nil || plain == nil && g.plain != "" {
			r.noResult(g.what)
			continue
		}
		met := g.most == 0 || median(ours.nanos) <= g.most && (g.allocates || median(ours.allocs) < 1)
		got := spread(ours.nanos, "%.2f") + " ns"
		if plain != nil {
			by := ratios(plain.nanos, ours.nanos)
			met = met && median(by) >= g.factor
			got += ", plain by ours " + spread(by, "%.1f")
		}
		r.goal(g.what, g.want, got, met)
	}
}
