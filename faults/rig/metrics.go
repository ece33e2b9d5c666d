//go:build faults || kafka

package rig

// What the gateway says about itself (/metrics) and what the kernel says about
// it (/proc): the accounting identity at every scrape, peak memory, and whether
// goroutines, file descriptors and memory come back.

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Metrics is one scrape: the value of each line, by name with labels.
type Metrics map[string]float64

// Metrics scrapes; nil when the gateway does not answer.
func (g *Gateway) Metrics() Metrics {
	code, text := g.Get("/metrics")
	if code != 200 {
		return nil
	}
	m := Metrics{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		at := strings.LastIndexByte(line, ' ')
		if at < 0 || line[0] == '#' {
			continue
		}
		if value, err := strconv.ParseFloat(line[at+1:], 64); err == nil {
			m[line[:at]] = value
		}
	}
	return m
}

// Sum adds the lines of a metric whose labels contain all of the texts.
func (m Metrics) Sum(name string, labels ...string) (sum float64) {
next:
	for line, value := range m {
		if metric, _, _ := strings.Cut(line, "{"); metric != name {
			continue
		}
		for _, label := range labels {
			if !strings.Contains(line, label) {
				continue next
			}
		}
		sum += value
	}
	return sum
}

// Identity checks accepted = outcomes + in flight for each origin; "" = it holds.
func (m Metrics) Identity() string {
	for _, origin := range []string{"grpc", "source", "replay"} {
		label := fmt.Sprintf("origin=%q", origin)
		accepted, outcomes := m.Sum("gateway_events_accepted_total", label), m.Sum("gateway_events_total", label)
		if inFlight := m.Sum("gateway_events_in_flight", label); accepted != outcomes+inFlight {
			return fmt.Sprintf("origin %s: accepted %.0f, outcomes %.0f, in flight %.0f", origin, accepted, outcomes, inFlight)
		}
	}
	return ""
}

// InFlight is the number of events without an outcome.
func (m Metrics) InFlight() int { return int(m.Sum("gateway_events_in_flight")) }

// Resources is what a gateway holds.
type Resources struct {
	// Files are descriptors, but for the embedded broker's data files: their number grows with the log, which is
	// bounded otherwise.
	Goroutines, Files int
	Bytes             int64 // resident memory
	Peak              int64 // the most it ever was
}

// Resources asks the gateway and the kernel; ok = both answered.
func (g *Gateway) Resources() (r Resources, ok bool) {
	m := g.Metrics()
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", g.Pid()))
	if m == nil || err != nil {
		return r, false
	}
	r.Goroutines = int(m.Sum("go_goroutines"))
	for _, f := range files {
		to, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", g.Pid(), f.Name()))
		if err == nil && !strings.HasPrefix(to, filepath.Join(g.Dir, "data")) {
			r.Files++
		}
	}
	r.Bytes, r.Peak = procStatus(g.Pid(), "VmRSS:"), procStatus(g.Pid(), "VmHWM:")
	return r, true
}

// procStatus reads a line of /proc/pid/status, in bytes.
func procStatus(pid int, name string) int64 {
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name); ok {
			n, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			return n << 10
		}
	}
	return 0
}

// Watcher scrapes a gateway until it is stopped.
type Watcher struct {
	gateway *Gateway
	stop    chan struct{}
	done    sync.WaitGroup

	mu       sync.Mutex // guards the following
	peak     int64
	scrapes  int
	findings []string
}

// Watch begins to scrape every 100 ms; restarts of the gateway do not matter.
func Watch(g *Gateway) *Watcher {
	w := &Watcher{gateway: g, stop: make(chan struct{})}
	w.done.Go(func() {
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			w.look()
			select {
			case <-w.stop:
				return
			case <-tick.C:
			}
		}
	})
	return w
}

func (w *Watcher) look() {
	m := w.gateway.Metrics()
	if m == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.scrapes++
	w.peak = max(w.peak, int64(m.Sum("process_resident_memory_bytes")), int64(m.Sum("process_resident_memory_peak_bytes")))
	if broken := m.Identity(); broken != "" && len(w.findings) < 5 {
		w.findings = append(w.findings, broken)
	}
}

// Stop ends it: the most memory the gateway had, in bytes, how often it was asked, and where the accounting
// did not add up.
func (w *Watcher) Stop() (peak int64, scrapes int, findings []string) {
	close(w.stop)
	w.done.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.peak, w.scrapes, w.findings
}
