package main

// What a tail rests on, and the batches behind it.

import (
	"strings"
	"testing"
	"time"
)

func TestATailSaysWhatItRestsOn(t *testing.T) {
	for _, c := range []struct {
		percentile     string
		beyond, events float64
		batch          int
		want           string
	}{
		{"p99.9", 0.001, 15000, 0, "The shortest run has 15,000 events: its p99.9 rests on the slowest 15."},
		{"p99", 0.01, 6000, 1, "The shortest run has 6,000 events: its p99 rests on the slowest 60."},
		{"p99.9", 0.001, 1_000_000, 100, "The shortest run has 1,000,000 events: its p99.9 rests on the slowest 1,000, the events of 10 messages."},
		{"p99.9", 0.001, 500_000, 1000, "The shortest run has 500,000 events: its p99.9 rests on the slowest 500, less than one message: it is the slowest message."},
	} {
		if got := restsOn(c.percentile, c.beyond, c.events, c.batch); got != c.want {
			t.Errorf("%s\nwant %s", got, c.want)
		}
	}
}

// A short -span stays short: bench-short runs with 200 ms.
func TestTailsFollowTheSpan(t *testing.T) {
	for span, want := range map[time.Duration][2]time.Duration{
		1200 * time.Millisecond: {2500 * time.Millisecond, 3 * time.Second},
		240 * time.Millisecond:  {500 * time.Millisecond, 600 * time.Millisecond},
	} {
		b := &bench{span: span}
		if got := [2]time.Duration{b.tailSpan(), b.halfLoadSpan()}; got != want {
			t.Errorf("span %v: tails of %v, want %v", span, got, want)
		}
	}
}

func TestLatencyTable(t *testing.T) {
	r := &report{}
	full := series{{Events: 9000, Rate: 8000, Server: 700, Client: 200, PerBatch: 90}}
	scenes := []scene{{load: load{rate: 2000}}, {load: load{rate: 4000}}, {load: load{rate: 6000}}}
	all := []series{{{Events: 5000, Rate: 2000, Kept: 1, PerBatch: 7.25, Client: 300}, {Events: 4000, Rate: 2000, Kept: 1, PerBatch: 7.25, Client: 300}},
		{{Events: 9000, Rate: 3900, Kept: 0.9}}, nil}
	r.latencyTable("stream, discard", full, usualPercents, scenes, all)
	text := r.body.String()
	for _, want := range []string{"shortest run has 4,000 events: its p99.9 rests on the slowest 4.", "| closed loop | - | 8,000 |", " | 200 | 90.0 | - |",
		"| 25 % | 2,000 | 2,000 |", " | 300 | 7.2 | kept |", "**not kept: 90 %", "| 75 % | 6,000 | no result: see Failures |"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "| ") && strings.Count(line, "|") != 12 {
			t.Errorf("a row of another width: %s", line)
		}
	}
}

func TestClosedLoopsAreMeasuredOnce(t *testing.T) {
	b := &bench{loops: closedLoops{{embedded, "unary"}: series{{Rate: 5}}}}
	if got := b.closedLoop(t.Context(), embedded, shape{file: "unary"}); len(got) != 1 || got[0].Rate != 5 {
		t.Errorf("got %v", got)
	}
}

func TestBatches(t *testing.T) {
	text := "# TYPE gateway_kafka_batch_records histogram\ngateway_kafka_batch_records_bucket{le=\"1\"} 3\n" +
		"gateway_kafka_batch_records_sum 1200\ngateway_kafka_batch_records_count 30\ngateway_kafka_batch_bytes_sum 9\n"
	after, err := readBatches(text)
	if err != nil || after != (batchCount{1200, 30}) {
		t.Fatalf("%v, %v", after, err)
	}
	if got := after.since(batchCount{200, 10}); got != 50 {
		t.Errorf("%v records a batch", got)
	}
	if got := after.since(after); got != 0 {
		t.Errorf("no batch: %v", got)
	}
	if _, err := readBatches("gateway_kafka_batch_records_sum x\n"); err == nil {
		t.Error("no error for what is no number")
	}
}
