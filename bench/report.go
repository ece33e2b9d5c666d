package main

// Medians, ratios and the report.

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"
)

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if len(sorted) == 0 {
		return 0
	}
	return sorted[len(sorted)/2]
}

// spread prints median (minimum to maximum).
func spread(values []float64, format string) string {
	return fmt.Sprintf(format+" ("+format+" to "+format+")", median(values), slices.Min(values), slices.Max(values))
}

// column picks one figure of each run.
func column(runs []figures, pick func(figures) float64) (values []float64) {
	for _, r := range runs {
		values = append(values, pick(r))
	}
	return values
}

// ratios divides pair by pair: run i of a by run i of b, which were neighbours in time.
func ratios(a, b []float64) (values []float64) {
	for i := range a {
		values = append(values, a[i]/b[i])
	}
	return values
}

// report is the Markdown text that grows while the runs go on.
type report struct{ b strings.Builder }

func (r *report) addf(format string, args ...any) { fmt.Fprintf(&r.b, format, args...) }

func (r *report) head(rounds int) {
	r.addf("# Event Gateway: measurements\n\n%s, %s/%s, GOMAXPROCS %d, %s. ", time.Now().UTC().Format(time.RFC3339),
		runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), runtime.Version())
	r.addf("%d rounds; runs that are compared were taken in turns; figures are median (minimum to maximum).\n", rounds)
}

func (r *report) load(l load, gateway, baseline []figures) {
	r.addf("\n## End to end: %s\n\n", l.name)
	r.addf("%d events of %d bytes of data a run, %d streams, %d events a message; generator, gateway and discarding broker on this machine.\n\n",
		l.count, l.size, l.streams, max(l.batch, 1))
	r.addf("| | gateway | plain baseline | gateway / baseline |\n|---|---|---|---|\n")
	row := func(name, format string, pick func(figures) float64) {
		g, b := column(gateway, pick), column(baseline, pick)
		r.addf("| %s | %s | %s | %s |\n", name, spread(g, format), spread(b, format), spread(ratios(g, b), "%.2f"))
	}
	row("events/s", "%.0f", func(f figures) float64 { return f.rate })
	row("server CPU, ns an event", "%.0f", func(f figures) float64 { return f.serverCPU })
	row("generator CPU, ns an event", "%.0f", func(f figures) float64 { return f.clientCPU })
	row("p50, ms", "%.2f", func(f figures) float64 { return f.p50 })
	row("p99, ms", "%.2f", func(f figures) float64 { return f.p99 })
	row("peak memory, MiB", "%.0f", func(f figures) float64 { return float64(f.peak) / (1 << 20) })
}

func (r *report) unary(f unaryFigures) {
	r.addf("\n## Unary, one caller\n\n| | median latency, us |\n|---|---|\n| empty gRPC call | %s |\n| IngestEvent, acknowledged | %s |\n| ratio | %s |\n",
		spread(f.empty, "%.0f"), spread(f.gateway, "%.0f"), spread(ratios(f.gateway, f.empty), "%.2f"))
}
