package main

// Two revisions beside each other: both are built, their benchmarks and end-to-end runs take turns, and benchstat says what
// differs. The other revision is checked out in a folder of its own, which is removed afterwards.

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
)

// revision is one side of a comparison.
type revision struct {
	name, tree string
	out        strings.Builder
	tests      []testBinary
	gateway    string
}

func (b *bench) compare(ctx context.Context, base, pattern string) (err error) {
	wanted, err := regexp.Compile(pattern)
	if err != nil {
		return fmt.Errorf("-bench=%q: %w", pattern, err)
	}
	tree := filepath.Join(b.dir, "base")
	if out, err := exec.CommandContext(ctx, "git", "worktree", "add", "--detach", tree, base).CombinedOutput(); err != nil {
		return fmt.Errorf("checking out -base=%s: %w: %s", base, err, out)
	}
	defer func() { _ = exec.Command("git", "worktree", "remove", "--force", tree).Run() }()
	sides := []*revision{{name: "base", tree: tree}, {name: "this", tree: "."}}
	if b.bin, err = build(b.dir); err != nil {
		return err
	}
	for _, s := range sides {
		say("building %s", s.name)
		if err := b.prepare(ctx, s); err != nil {
			return err
		}
	}
	b.runs = &runLog{io.Discard}
	if err := os.MkdirAll(b.out, 0o755); err != nil {
		return err
	}
	for round := range b.rounds {
		if round > 0 {
			slices.Reverse(sides) // neither is always the first
		}
		say("round %d of %d", round+1, b.rounds)
		for i := range benchmarked { // a package of one side right after the same one of the other
			for _, s := range sides {
				out, err := s.tests[i].run(ctx, pattern, "100ms")
				s.out.Write(out)
				if err != nil {
					return fmt.Errorf("%s: %w", s.name, err)
				}
			}
		}
		for _, shape := range b.sendingShapes() {
			for _, s := range sides {
				if err := b.endToEndLine(ctx, s, shape, wanted); err != nil {
					return fmt.Errorf("%s: %w", s.name, err)
				}
			}
		}
		for _, s := range sides { // each round, so that a stopped comparison keeps what it has
			if err := os.WriteFile(filepath.Join(b.out, "compare-"+s.name+".txt"), []byte(s.out.String()), 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// prepare builds one side: the tests of the packages that it has, and its gateway. Generator and broker are this tree's on
// both sides.
func (b *bench) prepare(ctx context.Context, s *revision) (err error) {
	into := filepath.Join(b.dir, "bin-"+s.name)
	if err := os.MkdirAll(into, 0o755); err != nil {
		return err
	}
	var packages []string
	for _, pkg := range benchmarked {
		if tests, _ := filepath.Glob(filepath.Join(s.tree, pkg, "*_test.go")); len(tests) > 0 {
			packages = append(packages, pkg)
		}
	}
	if s.tests, err = buildTests(ctx, s.tree, into, packages); err != nil {
		return err
	}
	s.gateway = filepath.Join(into, "gateway")
	return buildInto(s.tree, s.gateway, ".")
}

// endToEndLine runs one shape and writes it as a benchmark's line.
func (b *bench) endToEndLine(ctx context.Context, s *revision, shape shape, wanted *regexp.Regexp) error {
	name := "EndToEnd/shape=" + shape.file
	if !wanted.MatchString(name) {
		return nil
	}
	b.bin.gateway = s.gateway
	f, err := b.run(ctx, scene{server: gateway, broker: discarding, partitions: 3, load: shape.load})
	if err != nil {
		return err
	}
	fmt.Fprintf(&s.out, "pkg: end-to-end\nBenchmark%s-%d %d %.1f ns/op %.1f cpu-ns/event %.0f p99-us\n", name, runtime.NumCPU(), f.Events,
		1e9/f.Rate, f.Server, f.P99*1000)
	return nil
}
