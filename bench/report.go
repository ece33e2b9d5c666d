package main

// The report: Markdown that grows while the runs go on, the table of goals before it, and the data of its plots.
// bench/pages draws the plots and makes the page of it.

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// report collects text; write puts it together.
type report struct {
	out   string
	goals []string // rows
	times []string // of the sections
	body  strings.Builder
	plots map[string]any
}

func (r *report) addf(format string, args ...any) { fmt.Fprintf(&r.body, format, args...) }

// took notes how long a part of the run took.
func (r *report) took(what string, d time.Duration) {
	r.times = append(r.times, fmt.Sprintf("%s %.0f s", what, d.Seconds()))
}

// goal adds a row to the table of goals. A goal that is missed says so.
func (r *report) goal(what, want, got string, met bool) {
	verdict := "yes"
	switch {
	case want == "-": // only to be seen
		verdict = "-"
	case !met:
		verdict = "**no**"
	}
	r.goals = append(r.goals, fmt.Sprintf("| %s | %s | %s | %s |\n", what, want, got, verdict))
}

// noResult adds a row for a goal that could not be judged.
func (r *report) noResult(what string) { r.goal(what, "", "no result: see Failures", false) }

// table adds a table; the first row is the head.
func (r *report) table(rows [][]string) {
	r.addf("\n")
	for i, row := range rows {
		r.addf("| %s |\n", strings.Join(row, " | "))
		if i == 0 {
			r.addf("|%s\n", strings.Repeat("---|", len(row)))
		}
	}
	r.addf("\n")
}

// endToEnd is the table of scenes by their labels.
func (r *report) endToEnd(head string, labels []string, all []series) {
	rows := [][]string{{head, "events/s", "server CPU, ns", "generator CPU, ns", "broker CPU, ns", "p50, ms", "p99, ms", "p99.9, ms", "peak, MiB"}}
	for i, s := range all {
		row := []string{labels[i]}
		if len(s) == 0 {
			rows = append(rows, append(row, "no result: see Failures", "", "", "", "", "", "", ""))
			continue
		}
		low, high := extremes(s.column(rate))
		row = append(row, fmt.Sprintf("%s (%s to %s)", count(s.of(rate)), count(low), count(high)))
		for _, pick := range []func(figures) float64{serverCPU, clientCPU, brokerCPU} {
			row = append(row, known(s.of(pick), "%.0f"))
		}
		for _, pick := range []func(figures) float64{p50, p99, p999} {
			row = append(row, fmt.Sprintf("%.2f", s.of(pick)))
		}
		rows = append(rows, append(row, known(s.of(peak), "%.0f")))
	}
	r.table(rows)
}

// known prints a figure that a scene has; a generator that is also the server has no CPU of its own.
func known(value float64, format string) string {
	if value == 0 {
		return "-"
	}
	return fmt.Sprintf(format, value)
}

func extremes(values []float64) (low, high float64) {
	low, high = values[0], values[0]
	for _, v := range values {
		low, high = min(low, v), max(high, v)
	}
	return low, high
}

// axis, point, line, plot and bars are the data of a plot as bench/pages reads them.
type axis struct {
	Label string `json:"label"`
	Log   bool   `json:"log,omitempty"`
}

type point struct {
	X    float64 `json:"x"`
	Y    float64 `json:"y"`
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

type line struct {
	Name   string  `json:"name"`
	Points []point `json:"points"`
}

type plot struct {
	Title  string `json:"title"`
	X      axis   `json:"x"`
	Y      axis   `json:"y"`
	Series []line `json:"series"`
}

type barSeries struct {
	Name   string     `json:"name"`
	Values []*float64 `json:"values"` // nil: no result, a gap
}

type barGroups struct {
	Groups []string    `json:"groups"`
	Series []barSeries `json:"series"`
}

type barPlot struct {
	Title string    `json:"title"`
	Y     axis      `json:"y"`
	Bars  barGroups `json:"bars"`
}

// plot adds a picture; lines without a point are left out, and so is a picture without a line.
func (r *report) plot(name string, p plot) {
	kept := p.Series[:0]
	for _, l := range p.Series {
		if len(l.Points) > 0 {
			kept = append(kept, l)
		}
	}
	if p.Series = kept; len(kept) > 0 {
		r.picture(name, p.Title, p)
	}
}

func (r *report) picture(name, title string, data any) {
	r.plots[name] = data
	r.addf("\n![%s](plots/%s.svg)\n", title, name)
}

// at is the point of a series for one figure.
func at(x float64, s series, pick func(figures) float64) []point {
	if len(s) == 0 {
		return nil
	}
	low, high := extremes(s.column(pick))
	return []point{{x, s.of(pick), low, high}}
}

// write leaves report.md and plots/*.json.
func (r *report) write(rounds int, failures []string) error {
	var text strings.Builder
	fmt.Fprintf(&text, "# Event Gateway: measurements\n\n%s, %s/%s, %d processors%s, %s. ", time.Now().UTC().Format(time.RFC3339),
		runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), processor(), runtime.Version())
	fmt.Fprintf(&text, "Runs that are compared took turns, %d rounds unless a table says otherwise; figures are the median (minimum to maximum).\n\n", rounds)
	text.WriteString("Generator, server and broker are processes of this one machine and share its processors: rates are those of all three " +
		"together. CPU is that of the named process, an event. Latency is from handing a message to gRPC until its answer; at a fixed rate from " +
		"the time at which it was due. After each run the broker's end offsets are compared with what was acknowledged; a run that differs, or in which an " +
		"event was refused, is no result. The gateways' settings are the defaults, but for RATE_LIMIT_ENABLED=false (one client sends everything) and PPROF_ENABLED=true. All programs are compiled by the gateway's profile (default.pgo), and the others run with " +
		plainCollector + ", so that they collect garbage as rarely as the gateway. For franz-go alone *server* is its own " +
		"process, and latency that of 100 records.\n\n")
	if len(r.times) > 0 {
		fmt.Fprintf(&text, "How long it took: %s.\n\n", strings.Join(r.times, ", "))
	}
	if len(r.goals) > 0 {
		text.WriteString("## Goals\n\n| what | goal | measured | met |\n|---|---|---|---|\n" + strings.Join(r.goals, "") + "\n")
	}
	text.WriteString("## Failures\n\n")
	if len(failures) == 0 {
		text.WriteString("None.\n")
	}
	for _, f := range failures {
		fmt.Fprintf(&text, "```\n%s\n```\n", f)
	}
	text.WriteString(r.body.String())
	text.WriteString("\n## Flamegraphs\n\n<!-- flamegraphs -->\n")
	if err := os.MkdirAll(filepath.Join(r.out, "plots"), 0o755); err != nil {
		return err
	}
	for name, data := range r.plots {
		raw, err := json.MarshalIndent(data, "", " ")
		if err != nil {
			return fmt.Errorf("plot %s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(r.out, "plots", name+".json"), raw, 0o644); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(r.out, "report.md"), []byte(text.String()), 0o644)
}

// processor is the model that the kernel names, or nothing.
func processor() string {
	raw, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(raw)) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return " (" + strings.TrimSpace(value) + ")"
		}
	}
	return ""
}
