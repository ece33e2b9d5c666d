//go:build faults

package faults

// What the soak writes down: a sample a second, the values at rest between the
// faults, and whether these stay flat.

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/event-gateway/event-gateway/faults/rig"
)

// sample is the gateway at one moment.
type sample struct {
	at                            float64 // seconds since the beginning
	acknowledged, refused, doubt  int     // so far, of the ledger
	resident, heap                int64   // bytes
	goroutines, files, start      int     // start = which process it is, from 1
	inFlight, inflightBytes, wait float64
	up, resting                   bool
	fault                         string
}

// soak is the record of one run.
type soak struct {
	x       *run
	began   time.Time
	end     chan struct{}
	ended   chan struct{}
	mu      sync.Mutex // guards the following
	samples []sample
	fault   string
}

// record samples every second until stop.
func (s *soak) record(x *run) {
	s.x, s.began, s.end, s.ended = x, time.Now(), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(s.ended)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-s.end:
				return
			case <-tick.C:
				s.add(s.look())
			}
		}
	}()
}

func (s *soak) stop() {
	close(s.end)
	<-s.ended
}

func (s *soak) mark(fault string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

func (s *soak) add(one sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one.fault = s.fault
	s.samples = append(s.samples, one)
}

func (s *soak) look() sample {
	n := s.x.ledger.Count()
	one := sample{at: time.Since(s.began).Seconds(), acknowledged: n.Acknowledged, refused: n.Refused, doubt: n.Unknown + n.NoAnswer,
		start: s.x.gateway.Starts()}
	m := s.x.gateway.Metrics()
	if m == nil {
		return one
	}
	one.up = true
	one.resident, one.heap = int64(m.Sum("process_resident_memory_bytes")), int64(m.Sum("go_memstats_heap_alloc_bytes"))
	one.goroutines, one.inFlight = int(m.Sum("go_goroutines")), float64(m.InFlight())
	one.inflightBytes, one.wait = m.Sum("gateway_inflight_bytes"), m.Sum("gateway_admission_queue")
	if r, ok := s.x.gateway.Resources(); ok {
		one.files = r.Files
	}
	return one
}

// rest pauses the load, lets everything settle and be collected, and notes what is left.
func (s *soak) rest(x *run) {
	x.load.Pause()
	defer x.load.Resume()
	if !rig.Within(15*time.Second, func() bool { m := x.gateway.Metrics(); return m != nil && m.InFlight() == 0 }) {
		x.Errorf("P10: %d events in flight while nobody sends", x.gateway.Metrics().InFlight())
	}
	last, since := 0, time.Now()
	rig.Within(8*time.Second, func() bool { // senders of streams linger for a second
		r, ok := x.gateway.Resources()
		if !ok || r.Goroutines != last {
			last, since = r.Goroutines, time.Now()
		}
		return time.Since(since) > 1500*time.Millisecond
	})
	for range 3 { // pools let go at the second collection
		if code, text := x.gateway.Get("/debug/pprof/heap?gc=1"); code != 200 {
			x.Errorf("collecting garbage: %d %s", code, text)
		}
	}
	one := s.look()
	one.resting = true
	s.add(one)
	x.say("at rest: heap %.1f MiB, resident %d MiB, %d goroutines, %d files", float64(one.heap)/(1<<20), one.resident>>20, one.goroutines, one.files)
}

// finish judges the values at rest and writes everything down.
func (s *soak) finish(x *run, out string) {
	s.flat(x)
	if err := s.write(filepath.Join(out, "soak.csv")); err != nil {
		x.Error(err)
	}
	if err := s.plot(filepath.Join(out, "soak.svg")); err != nil {
		x.Error(err)
	}
	x.say("%s and soak.svg written", filepath.Join(out, "soak.csv"))
}

// flat holds every value at rest against the first one of the same process.
func (s *soak) flat(x *run) {
	resting := slices.DeleteFunc(slices.Clone(s.samples), func(one sample) bool { return !one.resting || !one.up })
	if len(resting) < 2 {
		x.Errorf("%d values at rest show nothing", len(resting))
		return
	}
	first, compared := map[int]sample{}, 0
	for _, one := range resting {
		base, ok := first[one.start]
		if !ok {
			first[one.start] = one
			continue
		}
		compared++
		for _, is := range []struct {
			name        string
			was, is, at int64
		}{
			{"goroutines", int64(base.goroutines), int64(one.goroutines), int64(base.goroutines)*21/20 + 8},
			{"files", int64(base.files), int64(one.files), int64(base.files) + 6},
			{"bytes of heap", base.heap, one.heap, base.heap*5/4 + 8<<20},
			{"bytes of resident memory", base.resident, one.resident, base.resident*3/2 + 48<<20},
		} {
			if is.is > is.at {
				x.Errorf("P9: %.0f s: %d %s at rest, %d at the first rest of this process (%.0f s)", one.at, is.is, is.name, is.was, base.at)
			}
		}
	}
	if compared == 0 {
		x.Error("no process was seen at rest twice")
	}
	x.say("%d times at rest, %d processes; heap at rest grows by %.1f MiB an hour (line through all)", len(resting), len(first),
		slope(resting)*3600/(1<<20))
}

// slope is the least-squares line through the heap at rest, in bytes a second.
func slope(all []sample) float64 {
	var n, x, y, xx, xy float64
	for _, one := range all {
		h := float64(one.heap)
		n, x, y, xx, xy = n+1, x+one.at, y+h, xx+one.at*one.at, xy+one.at*h
	}
	return (n*xy - x*y) / max(n*xx-x*x, 1)
}

func (s *soak) write(name string) error {
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	defer file.Close()
	rows := [][]string{{"seconds", "acknowledged", "refused", "unknown", "resident_bytes", "heap_bytes", "goroutines", "files",
		"in_flight", "inflight_bytes", "admission_queue", "process", "up", "resting", "fault"}}
	for _, one := range s.samples {
		row := []string{fmt.Sprintf("%.2f", one.at)}
		for _, v := range []any{one.acknowledged, one.refused, one.doubt, one.resident, one.heap, one.goroutines, one.files,
			one.inFlight, one.inflightBytes, one.wait, one.start, one.up, one.resting, one.fault} {
			row = append(row, fmt.Sprint(v))
		}
		rows = append(rows, row)
	}
	return csv.NewWriter(file).WriteAll(rows)
}
