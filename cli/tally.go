package cli

// What became of the published events: live counters of a stream, and the
// totals of a run.

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	gatewayv1 "github.com/event-gateway/event-gateway/proto/gateway/v1"
)

// Latencies are recorded in microseconds, up to ten minutes, within 1 percent: 20 KiB a stream.
const (
	maxLatency     = int64(10 * time.Minute / time.Microsecond)
	latencyFigures = 2
)

// tally is one stream's counts of events; each event ends in exactly one of them. Written by the
// stream, read by the progress line.
type tally struct {
	sent, acknowledged, filtered, duplicate atomic.Int64
	refused, unknown, noAnswer              atomic.Int64
	// resent counts sendings after the first; they are not in sent.
	resent atomic.Int64

	mu sync.Mutex // guards the two maps
	// How often each reason of a refusal and of an unknown outcome came.
	refusedBy, unknownBy map[string]int64

	// latency belongs to the receiver until the stream has ended.
	latency *hdrhistogram.Histogram
}

func newTally() tally {
	return tally{refusedBy: map[string]int64{}, unknownBy: map[string]int64{},
		latency: newHistogram()}
}

func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(1, maxLatency, latencyFigures) }

// succeed books a success and reports whether outcome is one.
func (t *tally) succeed(outcome gatewayv1.Outcome) bool {
	switch outcome {
	case gatewayv1.Outcome_OUTCOME_ACKNOWLEDGED:
		t.acknowledged.Add(1)
	case gatewayv1.Outcome_OUTCOME_FILTERED:
		t.filtered.Add(1)
	case gatewayv1.Outcome_OUTCOME_DUPLICATE:
		t.duplicate.Add(1)
	default:
		return false
	}
	return true
}

// fail books an event that was refused, is unknown, or got no answer (the zero verdict).
func (t *tally) fail(v verdict) {
	count, by := &t.noAnswer, map[string]int64(nil)
	switch v.outcome {
	case gatewayv1.Outcome_OUTCOME_REFUSED:
		count, by = &t.refused, t.refusedBy
	case gatewayv1.Outcome_OUTCOME_UNKNOWN:
		count, by = &t.unknown, t.unknownBy
	}
	if by != nil {
		t.mu.Lock()
		by[string(v.reason)]++
		t.mu.Unlock()
	}
	count.Add(1) // last: whoever sees the count finds the reason
}

// record books the latency of n events, in nanoseconds.
func (t *tally) record(nanos, n int64) { recordNanos(t.latency, nanos, n) }

func recordNanos(h *hdrhistogram.Histogram, nanos, n int64) {
	if n > 0 {
		_ = h.RecordValues(min(max(nanos/1000, 1), maxLatency), n)
	}
}

// open is the number of events sent that have no outcome yet.
func (t *tally) open() int64 {
	return t.sent.Load() - t.acknowledged.Load() - t.filtered.Load() - t.duplicate.Load() -
		t.refused.Load() - t.unknown.Load() - t.noAnswer.Load()
}

// totals is what a run came to; its JSON form is the output of --json.
type totals struct {
	Sent         int64 `json:"sent"`
	Acknowledged int64 `json:"acknowledged"`
	Filtered     int64 `json:"filtered"`
	Duplicate    int64 `json:"duplicate"`
	Refused      int64 `json:"refused"`
	Unknown      int64 `json:"unknown"`
	// NoAnswer counts events whose stream broke before the answer: they may be stored.
	NoAnswer int64 `json:"no_answer"`
	// NotSent is how many events of --count were not sent.
	NotSent      int64 `json:"not_sent"`
	Resent       int64 `json:"resent"`
	InvalidLines int64 `json:"invalid_lines"`

	RefusedReasons map[string]int64 `json:"refused_reasons,omitempty"`
	UnknownReasons map[string]int64 `json:"unknown_reasons,omitempty"`
	// Error is the last reason for which a stream broke.
	Error string `json:"error,omitempty"`

	Seconds float64 `json:"seconds"`
	// Rate is acknowledged events a second.
	Rate float64 `json:"acknowledged_per_second"`
	// CPUNanos is this process's processor time for each event sent.
	CPUNanos float64 `json:"cpu_ns_per_event"`
	// Latency is absent when nothing succeeded.
	Latency *latencies `json:"latency_ms,omitempty"`
	// Late is absent without --rate.
	Late *lateness `json:"late_ms,omitempty"`
}

// lateness is how late after it was due the generator handed a message to gRPC by its own fault, in milliseconds.
// Latency counts from the due time, so it is a part of that.
type lateness struct {
	P50  float64 `json:"p50"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99.9"`
}

// lateLimit is the lateness in milliseconds from which on people are told.
const lateLimit = 1

// latencies are of the events that succeeded, in milliseconds.
type latencies struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99.9"`
	Max  float64 `json:"max"`
}

// sum adds up all streams' counters, without the latency.
func sum(streams []*stream) totals {
	var sum totals
	for _, s := range streams {
		sum.Sent += s.tally.sent.Load()
		sum.Acknowledged += s.tally.acknowledged.Load()
		sum.Filtered += s.tally.filtered.Load()
		sum.Duplicate += s.tally.duplicate.Load()
		sum.Refused += s.tally.refused.Load()
		sum.Unknown += s.tally.unknown.Load()
		sum.NoAnswer += s.tally.noAnswer.Load()
		sum.Resent += s.tally.resent.Load()
	}
	return sum
}

// finish adds what is known only when all streams have ended.
func (t *totals) finish(streams []*stream, took, cpu time.Duration) {
	t.RefusedReasons, t.UnknownReasons = map[string]int64{}, map[string]int64{}
	all, late := newHistogram(), newHistogram()
	for _, s := range streams {
		all.Merge(s.tally.latency)
		if s.pace.late != nil {
			late.Merge(s.pace.late)
		}
		for reason, n := range s.tally.refusedBy {
			t.RefusedReasons[reason] += n
		}
		for reason, n := range s.tally.unknownBy {
			t.UnknownReasons[reason] += n
		}
	}
	t.Seconds = took.Seconds()
	if took > 0 {
		t.Rate = float64(t.Acknowledged) / took.Seconds()
	}
	if t.Sent > 0 {
		t.CPUNanos = float64(cpu) / float64(t.Sent)
	}
	at := func(h *hdrhistogram.Histogram, percentile float64) float64 {
		return float64(h.ValueAtPercentile(percentile)) / 1000
	}
	if late.TotalCount() > 0 {
		t.Late = &lateness{P50: at(late, 50), P99: at(late, 99), P999: at(late, 99.9)}
	}
	if all.TotalCount() > 0 {
		t.Latency = &latencies{P50: at(all, 50), P90: at(all, 90), P99: at(all, 99), P999: at(all, 99.9), Max: float64(all.Max()) / 1000}
	}
}

// good reports whether every event there was to send succeeded.
func (t *totals) good() bool {
	return t.Acknowledged+t.Filtered+t.Duplicate == t.Sent && t.NotSent == 0 && t.InvalidLines == 0
}

// writeJSON prints the totals for programs.
func (t *totals) writeJSON(w io.Writer) error { return json.NewEncoder(w).Encode(t) }

// writeText prints the totals for people.
func (t *totals) writeText(w io.Writer) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name string, n int64, always bool, note string) {
		if n != 0 || always {
			say(tab, "%s\t%15s\t%s\n", name, grouped(n), note)
		}
	}
	line("sent", t.Sent, true, fmt.Sprintf("in %.2f s", t.Seconds))
	line("acknowledged", t.Acknowledged, true, grouped(int64(t.Rate))+" a second")
	line("filtered", t.Filtered, false, "")
	line("duplicate", t.Duplicate, false, "")
	line("refused", t.Refused, true, "")
	reasons(tab, t.RefusedReasons)
	line("unknown", t.Unknown, true, "")
	reasons(tab, t.UnknownReasons)
	line("no answer", t.NoAnswer, false, "may be stored: "+t.Error)
	line("not sent", t.NotSent, false, t.Error)
	line("sent again", t.Resent, false, "")
	line("invalid lines", t.InvalidLines, false, "")
	if err := tab.Flush(); err != nil {
		return err
	}
	if l := t.Latency; l != nil {
		say(w, "latency        p50 %s  p90 %s  p99 %s  p99.9 %s  max %s\n",
			millis(l.P50), millis(l.P90), millis(l.P99), millis(l.P999), millis(l.Max))
	}
	if l := t.Late; l != nil && l.P99 > lateLimit {
		say(w, "own lateness   p50 %s  p99 %s  p99.9 %s: this generator sent late by itself, which is in the latency\n",
			millis(l.P50), millis(l.P99), millis(l.P999))
	}
	_, err := fmt.Fprintf(w, "own CPU        %s ns an event\n", grouped(int64(t.CPUNanos)))
	return err
}

func reasons(w io.Writer, by map[string]int64) {
	for _, reason := range slices.Sorted(maps.Keys(by)) {
		say(w, "  %s\t%15s\t\n", reason, grouped(by[reason]))
	}
}

func millis(ms float64) string {
	return time.Duration(ms * float64(time.Millisecond)).Round(10 * time.Microsecond).String()
}

// grouped writes 1234567 as 1,234,567.
func grouped(n int64) string {
	s := fmt.Sprint(n)
	for at := len(s) - 3; at > 0 && s[at-1] != '-'; at -= 3 {
		s = s[:at] + "," + s[at:]
	}
	return s
}
