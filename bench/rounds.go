package main

// Runs that are compared take turns: what the machine's neighbours do in one round, they do to all of them. A figure
// is the median of the rounds; a ratio is that of neighbours in time, round by round.

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// series are the figures of one scene, one of each round.
type series []figures

// column picks one figure of each round.
func (s series) column(pick func(figures) float64) []float64 {
	values := make([]float64, len(s))
	for i, f := range s {
		values[i] = pick(f)
	}
	return values
}

// Figures by name.
func rate(f figures) float64      { return f.Rate }
func serverCPU(f figures) float64 { return f.Server }
func clientCPU(f figures) float64 { return f.Client }
func brokerCPU(f figures) float64 { return f.Broker }
func p50(f figures) float64       { return f.P50 }
func p99(f figures) float64       { return f.P99 }
func p999(f figures) float64      { return f.P999 }
func late99(f figures) float64    { return f.Late99 }
func peak(f figures) float64      { return f.PeakMiB }
func perBatch(f figures) float64  { return f.PerBatch }
func events(f figures) float64    { return float64(f.Events) }

// of is the median of one figure.
func (s series) of(pick func(figures) float64) float64 { return median(s.column(pick)) }

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if len(sorted) == 0 {
		return 0
	}
	return sorted[len(sorted)/2]
}

// spread prints median (minimum to maximum).
func spread(values []float64, format string) string {
	if len(values) == 0 {
		return "no result"
	}
	if len(values) == 1 {
		return fmt.Sprintf(format, values[0])
	}
	return fmt.Sprintf(format+" ("+format+" to "+format+")", median(values), slices.Min(values), slices.Max(values))
}

// ratios divides round by round.
func ratios(a, b []float64) (values []float64) {
	for i := range min(len(a), len(b)) {
		values = append(values, a[i]/b[i])
	}
	return values
}

// takeTurns runs all scenes once a round. A run that is no result is reported and ends with an empty series, not with
// the end of everything: what else was measured still stands.
func (b *bench) takeTurns(ctx context.Context, what string, rounds int, scenes []scene) []series {
	all := make([]series, len(scenes))
	failed := make([]bool, len(scenes))
	for round := range rounds {
		for i := range scenes {
			if failed[i] || ctx.Err() != nil {
				continue
			}
			f, err := b.run(ctx, scenes[i])
			if err != nil {
				failed[i], all[i] = true, nil
				b.fail(err)
				continue
			}
			say("%s, round %d of %d: %s: %s events/s, server %.0f ns, p50 %.2f ms", what, round+1, rounds, scenes[i], count(f.Rate), f.Server, f.P50)
			all[i] = append(all[i], f)
		}
	}
	return all
}

// fail notes that something is no result.
func (b *bench) fail(err error) {
	say("FAILED: %v", err)
	b.failures = append(b.failures, err.Error())
}

// runLog keeps every run, as JSON lines, for whoever wants to compute something else.
type runLog struct{ w io.Writer }

func (l *runLog) write(s scene, f figures, err error) {
	record := struct {
		Time       time.Time `json:"time"`
		Server     string    `json:"server"`
		Gateways   int       `json:"gateways"`
		Broker     string    `json:"broker"`
		Partitions int       `json:"partitions"`
		Env        string    `json:"env,omitempty"`
		Unary      bool      `json:"unary"`
		Batch      int       `json:"batch"`
		Streams    int       `json:"streams"`
		Size       int       `json:"size"`
		Keys       int       `json:"keys"`
		Rate       float64   `json:"asked_per_second,omitempty"`
		Readers    int       `json:"readers,omitempty"`
		Error      string    `json:"error,omitempty"`
		figures
	}{time.Now().UTC(), s.server, max(s.gateways, 1), s.broker, s.partitions, strings.Join(s.env, " "), s.load.unary, s.load.batch,
		s.load.streams, s.load.size, s.load.keys, s.load.rate, s.readers, "", f}
	if err != nil {
		record.Error = err.Error()
	}
	_ = json.NewEncoder(l.w).Encode(record) // a full disk ends the report anyway
}

// count writes 1234567 as 1,234,567.
func count(n float64) string {
	text := fmt.Sprintf("%.0f", n)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}
