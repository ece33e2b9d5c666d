package main

// The runs and their order.

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

func main() {
	rounds := flag.Int("rounds", 5, "rounds of each comparison")
	events := flag.Int("events", 3_000_000, "events of one end-to-end run")
	out := flag.String("out", "bench/out", "folder for the report")
	skipMicro := flag.Bool("skip-micro", false, "leave out the packages' own benchmarks")
	empty := flag.Bool("serve-empty", false, "only serve empty calls (used by the runner itself)")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "Measures the gateway beside the plain baseline and writes a report.\n\nExample: go run ./bench -rounds 3\n\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	err := error(nil)
	if *empty {
		err = serveEmpty()
	} else {
		err = measure(*rounds, *events, *out, *skipMicro)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func measure(rounds, events int, out string, skipMicro bool) error {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "event-gateway-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	say("building")
	bin, err := build(dir)
	if err != nil {
		return err
	}
	b := &bench{bin: bin, out: out, logs: dir}
	r := &report{}
	r.head(rounds)
	err = b.all(ctx, r, rounds, events, skipMicro)
	file := filepath.Join(out, "report.md")
	if e := os.WriteFile(file, []byte(r.b.String()), 0o644); err == nil {
		err = e
	}
	if err == nil {
		say("report: %s", file)
	}
	return err
}

func (b *bench) all(ctx context.Context, r *report, rounds, events int, skipMicro bool) error {
	for _, l := range []load{
		{name: "batches of 100 on 2 streams", count: events, batch: 100, streams: 2, size: 370},
		{name: "single events on 2 streams", count: events / 10, batch: 1, streams: 2, size: 370},
	} {
		if err := b.compare(ctx, r, l, rounds); err != nil {
			return err
		}
	}
	if err := b.profile(ctx, r, events); err != nil {
		return err
	}
	say("unary, one caller")
	f, err := b.unary(ctx, rounds, 5000)
	if err != nil {
		return err
	}
	r.unary(f)
	if skipMicro {
		return nil
	}
	say("the packages' benchmarks")
	return b.micro(ctx, r)
}

// compare runs one load against gateway and baseline in turns.
func (b *bench) compare(ctx context.Context, r *report, l load, rounds int) error {
	runs := map[string][]figures{}
	for i := range rounds {
		for _, which := range []string{"gateway", "baseline"} {
			f, err := b.run(ctx, which, l, "")
			if err != nil {
				return err
			}
			say("%s, round %d of %d: %s %.0f events/s, %.0f ns CPU an event", l.name, i+1, rounds, which, f.rate, f.serverCPU)
			runs[which] = append(runs[which], f)
		}
	}
	r.load(l, runs["gateway"], runs["baseline"])
	return nil
}

// profile takes a CPU profile of the gateway under the first load and lists where the time goes.
func (b *bench) profile(ctx context.Context, r *report, events int) error {
	say("profile")
	file := filepath.Join(b.out, "gateway.cpu.pprof")
	if _, err := b.run(ctx, "gateway", load{name: "profile", count: 2 * events, batch: 100, streams: 2, size: 370}, file); err != nil {
		return err
	}
	top, err := exec.CommandContext(ctx, "go", "tool", "pprof", "-top", "-nodecount", "40", file).Output()
	if err != nil {
		return fmt.Errorf("reading the profile: %w", err)
	}
	stages, err := exec.CommandContext(ctx, "go", "tool", "pprof", "-tags", file).Output()
	if err != nil {
		return fmt.Errorf("reading the profile: %w", err)
	}
	r.addf("\n## Where the gateway's CPU goes\n\n`go tool pprof -http=: %s` draws it. By stage, then by function:\n\n```\n%s\n%s```\n", file, stages, top)
	return nil
}

// say prints progress.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
