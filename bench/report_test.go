package main

// The arithmetic between runs and report: a mistake here would look like a figure.

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestMedianAndRatios(t *testing.T) {
	if got := median([]float64{9, 1, 5}); got != 5 {
		t.Errorf("median %v", got)
	}
	if got := median(nil); got != 0 {
		t.Errorf("median of nothing: %v", got)
	}
	// Round by round: the medians alone would say 1.
	if got := spread(ratios([]float64{2, 4, 6}, []float64{4, 4, 4}), "%.1f"); got != "1.0 (0.5 to 1.5)" {
		t.Errorf("ratios %s", got)
	}
	if got := ratios([]float64{1, 2}, []float64{1}); len(got) != 1 {
		t.Errorf("a round without its neighbour counts: %v", got)
	}
	for n, want := range map[float64]string{0: "0", 999: "999", 1000: "1,000", 1234567.4: "1,234,567"} {
		if got := count(n); got != want {
			t.Errorf("%v is written %s, want %s", n, got, want)
		}
	}
}

// shortRuns are two rounds of the gateway, the baseline, gRPC, franz-go and gRPC with the gateway's windows,
// as takeTurns returns them.
func shortRuns(server float64) []series {
	run := func(f figures) series { return series{f, f} }
	return []series{
		run(figures{Rate: 1e6, Server: server, Client: 200, Broker: 100}), run(figures{Rate: 1e6}),
		run(figures{Server: 150}), run(figures{Server: 450}), run(figures{Server: 50}),
	}
}

func TestGoalsAreJudged(t *testing.T) {
	for server, met := range map[float64]string{600: "yes", 900: "**no**"} {
		r, b := &report{plots: map[string]any{}}, &bench{}
		b.judgeLimits(r, "100 a message", 1.25, shortRuns(server))
		if len(r.goals) != 4 || !strings.HasSuffix(r.goals[0], "| "+met+" |\n") {
			t.Errorf("server CPU %v, libraries' 600: %q", server, r.goals)
		}
		possible := float64(runtime.NumCPU()) * 1e9 / 900 // events a second
		if got := r.goals[2]; !strings.Contains(got, fmt.Sprintf("| %.2f (", 1e6/possible)) {
			t.Errorf("share of what the processors allow: %s", got)
		}
		if got, want := r.body.String(), fmt.Sprintf("on the gateway's windows %.2f (", server/500); !strings.Contains(got, want) {
			t.Errorf("no %q beside the CPU ratio: %s", want, got)
		}
		if b.generatorCPU != 200 {
			t.Errorf("generator CPU %v", b.generatorCPU)
		}
	}
}

func TestAFailedRunIsNoFigure(t *testing.T) {
	r, b := &report{plots: map[string]any{}}, &bench{}
	runs := shortRuns(600)
	runs[3] = nil
	b.judgeLimits(r, "100 a message", 1.25, runs)
	if len(r.goals) != 1 || !strings.Contains(r.goals[0], "no result") || !strings.Contains(r.goals[0], "**no**") {
		t.Errorf("goals without franz-go: %q", r.goals)
	}
	r.endToEnd("server", []string{"a", "b", "c", "d", "e"}, runs)
	if !strings.Contains(r.body.String(), "| d | no result: see Failures |") {
		t.Errorf("the table hides the failure:\n%s", r.body.String())
	}
	r.took("limits", 61400*time.Millisecond)
	r.took("calls", 5*time.Second)
	r.out = t.TempDir()
	if err := r.write(2, []string{"it broke"}); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(r.out, "report.md"))
	if err != nil || !strings.Contains(string(text), "it broke") {
		t.Errorf("%v: the report does not say so", err)
	}
	if !strings.Contains(string(text), "How long it took: limits 61 s, calls 5 s.\n") {
		t.Errorf("the report does not say how long its sections took:\n%s", text)
	}
}

// What is not judged fails alone.
func TestTheTunedLimitIsNotJudged(t *testing.T) {
	r, b := &report{plots: map[string]any{}}, &bench{}
	runs := shortRuns(600)
	runs[4] = nil
	b.judgeLimits(r, "100 a message", 1.25, runs)
	if len(r.goals) != 4 || !strings.HasSuffix(r.goals[0], "| yes |\n") || !strings.Contains(r.body.String(), "on the gateway's windows no result") {
		t.Errorf("goals: %q\n%s", r.goals, r.body.String())
	}
}

func TestRunLogKeepsFailures(t *testing.T) {
	var out strings.Builder
	l := &runLog{&out}
	l.write(scene{server: gateway, broker: discarding, load: load{batch: 100, streams: 2}}, figures{Rate: 5}, errors.New("no result"))
	var got map[string]any
	if err := json.Unmarshal([]byte(out.String()), &got); err != nil || got["error"] != "no result" || got["batch"] != 100.0 || got["gateways"] != 1.0 {
		t.Errorf("%v: %s", err, out.String())
	}
}

const microOutput = `goos: linux
pkg: github.com/event-gateway/event-gateway/pipeline
BenchmarkPipeline/events=100/impl=gateway-2   	  590510	       146.3 ns/op	       6 B/op	       0 allocs/op
BenchmarkPipeline/events=100/impl=plain-x/y-2 	  590510	       1463 ns/op	       600 B/op	       7 allocs/op
BenchmarkPipeline/events=100/impl=gateway-2   	  590510	       246 ns/op	       0 B/op	       0 allocs/op
BenchmarkPipeline/events=100/impl=plain-x/y-2 	  590510	       2460 ns/op	       600 B/op	       7 allocs/op
BenchmarkOther-2 	  10	       5000 ns/op	       50.0 ns/event
PASS
`

func TestMicroRows(t *testing.T) {
	rows, err := readMicro([]byte(microOutput))
	if err != nil || len(rows) != 2 {
		t.Fatalf("%v, %v", err, rows)
	}
	p := rows[0]
	if p.pkg != "pipeline" || p.name != "Pipeline/events=100" || len(p.impls) != 2 || p.impls[1].name != "plain-x/y" || len(p.impls[0].nanos) != 2 {
		t.Errorf("%+v", p)
	}
	if got := rows[1].impl("gateway").nanos; len(got) != 1 || got[0] < 49.9 || got[0] > 50.1 {
		t.Errorf("an operation of several events: %v ns", got)
	}
	r := &report{plots: map[string]any{}}
	r.micro(rows, 2, 1, map[*microRow]string{p: p.file()})
	if body := r.body.String(); strings.Count(body, "flame/") != 2 || !strings.Contains(body, "[CPU](flame/micro-pipeline-Pipeline_events-100.cpu.html)") {
		t.Errorf("links to flame graphs:\n%s", body)
	}
	if body := r.body.String(); !strings.Contains(body, "| x/y | ") || !strings.Contains(body, "| 10.0 (10.0 to 10.0) |") {
		t.Errorf("the table:\n%s", body)
	}
	if len(r.goals) != 2+len(partGoals) || !strings.Contains(r.goals[0], "246 (146 to 246) ns, 6 B") || !strings.HasSuffix(r.goals[0], "**no** |\n") {
		t.Errorf("goals: %q", r.goals)
	}
	for _, goal := range r.goals[2:] { // no row of theirs was measured
		if !strings.Contains(goal, "no result") || !strings.HasSuffix(goal, "**no** |\n") {
			t.Errorf("a goal without a row: %s", goal)
		}
	}
}

// Each section and each name in -only's help is one that exists.
func TestSectionsAreNamedOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, s := range sections {
		if seen[s.name] || s.run == nil || !strings.Contains(sectionNames(), s.name) {
			t.Errorf("section %q", s.name)
		}
		seen[s.name] = true
	}
}

func TestFanOutIsJudged(t *testing.T) {
	for _, c := range []struct {
		share []float64
		want  string
	}{{[]float64{0.1, dearestShare, 9}, "| yes |\n"}, {[]float64{0.1, dearestShare + 0.01, 9}, "| **no** |\n"}, {nil, "no result: see Failures | **no** |\n"}} {
		r := &report{}
		r.judgeFanOut(c.share)
		if len(r.goals) != 1 || !strings.HasSuffix(r.goals[0], c.want) {
			t.Errorf("%v: %q", c.share, r.goals)
		}
	}
}

// The events of the warm-up are in no percentile.
func TestLivePercentiles(t *testing.T) {
	sent := time.Unix(1, 0)
	r := &liveRun{}
	for i := range liveWarmUp + 100 {
		late := time.Hour
		if i >= liveWarmUp {
			late = time.Duration(i-liveWarmUp) * time.Millisecond
		}
		r.sent, r.got = append(r.sent, sent), append(r.got, sent.Add(late))
	}
	if p50, p99 := r.since(r.got); p50 != 50 || p99 != 99 {
		t.Errorf("p50 %v, p99 %v", p50, p99)
	}
}
