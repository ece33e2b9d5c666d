package main

// The command line, and the order of the sections.

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"syscall"
	"time"
)

const usage = `Measures the gateway beside plain ways to do the same and beside the limits of its libraries, and leaves tables, data of
plots, profiles and raw output in -out. bench/pages makes pages of them (make bench does both).

Examples:
  go run ./bench                              everything, some 20 minutes on two processors
  go run ./bench -only limits -rounds 9       one section, more rounds
  go run ./bench -base HEAD~1 -bench Decode   this tree beside another revision, for benchstat

Sections: %s

`

type options struct {
	out, only, base, benchmarks string
	rounds                      int
	span                        time.Duration
}

func main() {
	var o options
	flag.StringVar(&o.out, "out", "bench/out", "folder for the report")
	flag.StringVar(&o.only, "only", "", "regular expression of the sections to run; empty runs all")
	flag.IntVar(&o.rounds, "rounds", 5, "rounds of what goals are judged by; curves and what else is not judged take about half as many")
	flag.DurationVar(&o.span, "span", 1200*time.Millisecond, "how long an end-to-end run is measured; tails take 2 to 2.5 times as long, curves 5/6 of it")
	flag.StringVar(&o.base, "base", "", "compare this tree with a revision of it, and measure nothing else")
	flag.StringVar(&o.benchmarks, "bench", ".", "with -base: regular expression of the benchmarks")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), usage, sectionNames())
		flag.PrintDefaults()
	}
	flag.Parse()
	if err := o.measure(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// section is a part of the report that can be run alone.
type section struct {
	name  string
	run   func(*bench, context.Context, *report) error
	kafka bool // uses Apache Kafka where it can run
}

var sections = []section{
	{"limits", (*bench).limits, false},
	{"calls", (*bench).calls, false},
	{"scaling", (*bench).scaling, false},
	{"reading", (*bench).reading, false},
	{"profiles", (*bench).profileShapes, false},
	{"micro", (*bench).micro, false},
	{"stores", (*bench).stores, true}, // from here on Kafka's JVM runs, too
	{"shapes", (*bench).shapes, true},
	{"latency", (*bench).latency, true}, // takes shares of what the shapes reached just before
	{"sizes", (*bench).sizes, true},
	{"streams", (*bench).manyStreams, true},
}

func sectionNames() (names string) {
	for _, s := range sections {
		names += s.name + " "
	}
	return names
}

// measure runs until it is done or told to end (SIGINT, SIGTERM).
func (o *options) measure() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	only, err := regexp.Compile(o.only)
	if err != nil {
		return fmt.Errorf("-only=%q: %w", o.only, err)
	}
	if o.rounds < 1 || o.span <= 0 {
		return fmt.Errorf("-rounds=%d -span=%v: both more than 0", o.rounds, o.span)
	}
	dir, err := os.MkdirTemp("", "event-gateway-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	b := &bench{out: o.out, dir: dir, rounds: o.rounds, span: o.span, titles: map[string]string{}}
	if o.base != "" {
		return b.compare(ctx, o.base, o.benchmarks)
	}
	return b.sections(ctx, only)
}

// sections runs what was asked for and writes the report, also of a run that was stopped.
func (b *bench) sections(ctx context.Context, only *regexp.Regexp) (err error) {
	began := time.Now()
	for _, stale := range []string{"plots", "profiles", "flame", "report.md", "report.html", "runs.jsonl", "micro.txt"} {
		if err := os.RemoveAll(filepath.Join(b.out, stale)); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Join(b.out, "profiles"), 0o755); err != nil {
		return err
	}
	file, err := os.Create(filepath.Join(b.out, "runs.jsonl"))
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // each line was written at once
	b.runs = &runLog{file}
	r := &report{out: b.out, plots: map[string]any{}}
	say("building")
	if b.bin, err = build(b.dir); err != nil {
		return err
	}
	r.took("building", time.Since(began))
	for _, s := range sections {
		if !only.MatchString(s.name) || ctx.Err() != nil {
			continue
		}
		if s.kafka && b.kafka == nil && b.kafkaAway == nil {
			start := time.Now()
			b.kafka, b.kafkaAway = b.startKafka()
			r.took("Kafka's start", time.Since(start))
			if b.kafkaAway != nil {
				say("without Apache Kafka: %v", b.kafkaAway)
			} else {
				defer func() { _ = b.kafka.end() }()
			}
		}
		say("%v: section %s", time.Since(began).Round(time.Second), s.name)
		start := time.Now()
		if err := s.run(b, ctx, r); err != nil {
			b.fail(fmt.Errorf("section %s: %w", s.name, err))
		}
		r.took(s.name, time.Since(start))
	}
	if err := ctx.Err(); err != nil {
		b.fail(fmt.Errorf("the run was stopped, sections are missing: %w", err))
	}
	if err := errors.Join(r.write(b.rounds, b.failures), b.writeTitles()); err != nil {
		return err
	}
	say("measured in %v; the report: %s", time.Since(began).Round(time.Second), filepath.Join(b.out, "report.md"))
	if len(b.failures) > 0 {
		return fmt.Errorf("%d failures; they are listed in the report", len(b.failures))
	}
	return nil
}

// say prints progress.
func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
