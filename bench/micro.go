package main

// The packages' own benchmarks, in turns: what the gateway does (impl=gateway) beside plain ways to do it (impl=plain-...), where
// there is one. Beside them, at no cost, the idle gateway: its CPU time over a minute in which the benchmarks run.

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/perf/benchfmt"
)

// benchmarked are the packages with benchmarks.
var benchmarked = []string{"ring", "stages", "stages/transform", "stages/schema", "pipeline", "pipeline/recent", "transport", "kafka", "cli", "bench"}

// testBinary is a package's tests, built once.
type testBinary struct{ tree, pkg, file string }

// name is the package's, as rows have it.
func (t testBinary) name() string { return path.Base(t.pkg) }

// buildTests compiles the packages' tests in a tree of this project.
func buildTests(ctx context.Context, tree, into string, packages []string) (all []testBinary, err error) {
	into = filepath.Join(into, "tests") + string(filepath.Separator) // a folder, also for one package
	if err := os.MkdirAll(into, 0o755); err != nil {
		return nil, err
	}
	args := []string{"test", "-c", "-o", into}
	for _, pkg := range packages {
		args = append(args, "./"+pkg)
		all = append(all, testBinary{tree, pkg, filepath.Join(into, path.Base(pkg)+".test")})
	}
	cmd := exec.CommandContext(ctx, "go", args...) // all at once: they are linked side by side
	cmd.Dir, cmd.Stderr = tree, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("building the tests of %s: %w", strings.Join(packages, ", "), err)
	}
	return all, nil
}

// run runs benchmarks once and returns what they printed.
func (t testBinary) run(ctx context.Context, pattern, benchtime string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, t.file, append([]string{"-test.run=^$", "-test.bench=" + pattern, "-test.benchtime=" + benchtime, "-test.timeout=5m"}, args...)...)
	cmd.Dir = filepath.Join(t.tree, t.pkg)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return out, fmt.Errorf("benchmarks of %s: %w\n%s", t.pkg, err, out)
	}
	return out, nil
}

func (b *bench) micro(ctx context.Context, r *report) error {
	idle, err := b.watchIdle(ctx)
	if err != nil {
		r.noResult("idle gateway")
		return err
	}
	defer idle.end()
	tests, err := buildTests(ctx, ".", b.dir, benchmarked)
	if err != nil {
		return err
	}
	var raw bytes.Buffer
	for round := range b.rounds {
		for _, t := range tests {
			pattern := "."
			if round >= b.few() { // the later rounds are for what goals are about
				if pattern = judgedPattern(t.name()); pattern == "" {
					continue
				}
			}
			say("benchmarks of %s, round %d of %d", t.pkg, round+1, b.rounds)
			out, err := t.run(ctx, pattern, "100ms")
			raw.Write(out)
			if err != nil {
				b.fail(err)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(b.out, "micro.txt"), raw.Bytes(), 0o644); err != nil {
		return err
	}
	rows, err := readMicro(raw.Bytes())
	if err != nil {
		return err
	}
	r.micro(rows, b.rounds, b.few(), b.microProfiles(ctx, tests, rows))
	return b.judgeIdle(ctx, r, idle)
}

// microRow is a benchmark with what its implementations gave.
type microRow struct {
	pkg, name string
	split     bool // has impl=
	impls     []*microImpl
}

type microImpl struct {
	name                 string
	nanos, bytes, allocs []float64 // one of each round
	wire                 float64   // bytes of an encoded event, where that is compared
}

// perEvent is the unit of benchmarks whose operation is more than an event: ns/event, as benchfmt reads it.
const perEvent = "sec/event"

// readMicro sorts the benchmarks' output into rows, in the order in which they first came.
func readMicro(raw []byte) (rows []*microRow, err error) {
	reader := benchfmt.NewReader(bytes.NewReader(raw), "micro.txt")
	for reader.Scan() {
		switch rec := reader.Result().(type) {
		case *benchfmt.SyntaxError:
			err = errors.Join(err, rec)
		case *benchfmt.Result:
			rows = addResult(rows, rec)
		}
	}
	return rows, errors.Join(err, reader.Err())
}

func addResult(rows []*microRow, rec *benchfmt.Result) []*microRow {
	name, impl, split := string(rec.Name.Full()), "gateway", false
	if cut := strings.LastIndex(name, "-"); cut > 0 && strings.Trim(name[cut+1:], "0123456789") == "" {
		name = name[:cut] // GOMAXPROCS
	}
	if before, after, ok := strings.Cut(name, "/impl="); ok {
		name, impl, split = before, after, true
	}
	pkg := rec.GetConfig("pkg")
	pkg = pkg[strings.LastIndex(pkg, "/")+1:]
	var row *microRow
	for _, have := range rows {
		if have.pkg == pkg && have.name == name {
			row = have
		}
	}
	if row == nil {
		row = &microRow{pkg: pkg, name: name, split: split}
		rows = append(rows, row)
	}
	m := row.impl(impl)
	if m == nil {
		m = &microImpl{name: impl}
		row.impls = append(row.impls, m)
	}
	seconds, ok := rec.Value(perEvent)
	if !ok {
		seconds, _ = rec.Value("sec/op")
	}
	nanos := seconds * 1e9
	size, _ := rec.Value("B/op")
	allocs, _ := rec.Value("allocs/op")
	if wire, ok := rec.Value("B/event"); ok {
		m.wire = wire
	}
	m.nanos, m.bytes, m.allocs = append(m.nanos, nanos), append(m.bytes, size), append(m.allocs, allocs)
	return rows
}

func (row *microRow) impl(name string) *microImpl {
	for _, m := range row.impls {
		if m.name == name {
			return m
		}
	}
	return nil
}

// ours is what the gateway does; nil where only others were measured.
func (row *microRow) ours() *microImpl {
	if m := row.impl("gateway"); m != nil {
		return m
	}
	return row.impl("protobuf") // what the gateway's API speaks
}

// micro adds the table, with links to the flame graphs of the rows that were profiled, and judges the goals
// about it.
func (r *report) micro(rows []*microRow, rounds, few int, profiled map[*microRow]string) {
	r.addf("\n## Parts\n\nGo benchmarks in turns, %d rounds, %d of what goals are about; an operation is one event unless the name says otherwise. Raw output for benchstat: "+
		"[micro.txt](micro.txt). The profiles are of one more run of each row, of the gateway's part alone.\n", few, rounds)
	table := [][]string{{"package", "benchmark", "gateway, ns", "B", "allocations", "plain way", "ns", "B", "allocations", "plain by gateway", "flame graphs"}}
	for _, row := range rows {
		ours := row.ours()
		cells := []string{row.pkg, row.name, "", "", "", "", "", "", "", "", ""}
		if name := profiled[row]; name != "" {
			cells[10] = fmt.Sprintf("[CPU](flame/%s.cpu.html), [allocations](flame/%s.alloc.html)", name, name)
		}
		if ours != nil {
			cells[2], cells[3], cells[4] = ours.cells()
		}
		plain := 0
		for _, m := range row.impls {
			if m == ours {
				continue
			}
			plain++
			cells[5] = strings.TrimPrefix(m.name, "plain-")
			if m.wire > 0 {
				cells[1] = fmt.Sprintf("%s: protobuf, %.0f bytes", row.name, ours.wire)
				cells[5] += fmt.Sprintf(", %.0f bytes", m.wire)
			}
			cells[6], cells[7], cells[8] = m.cells()
			cells[9] = ""
			if ours != nil {
				cells[9] = spread(ratios(m.nanos, ours.nanos), "%.1f")
			}
			table = append(table, append([]string(nil), cells...))
			cells[0], cells[1], cells[2], cells[3], cells[4], cells[10] = "", "", "", "", "", ""
		}
		if plain == 0 {
			table = append(table, cells)
		}
	}
	r.table(table)
	r.judgeMicro(rows)
}

func (m *microImpl) cells() (nanos, size, allocs string) {
	return spread(m.nanos, "%.1f"), fmt.Sprintf("%.0f", median(m.bytes)), fmt.Sprintf("%.0f", median(m.allocs))
}
