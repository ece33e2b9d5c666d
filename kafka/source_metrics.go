package kafka

// What the source says about itself: metrics, warnings of /ready, and lines that
// would repeat.

import (
	"fmt"
	"io"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	vm "github.com/VictoriaMetrics/metrics"

	"github.com/event-gateway/event-gateway/stages"
)

type sourceMetrics struct {
	records, again, rebalances, lost, commits, commitErrors, fetchErrors, dataLoss, truncations, known atomic.Uint64
	refused                                                                                            refusals
}

// refusals counts refused records by what became of them.
type refusals map[OnRefused]*atomic.Uint64

func newRefusals() refusals {
	return refusals{RefusedToDeadLetter: {}, RefusedIsSkipped: {}, RefusedStops: {}}
}

// maxWarnings bounds the partitions that /ready names.
const maxWarnings = 10

// Warnings are the partitions that have stopped, for /ready.
func (s *Source) Warnings() (warnings []string) {
	for _, p := range s.all() {
		p.mu.Lock()
		if p.stopped != "" && !p.gone {
			warnings = append(warnings, p.stopped)
		}
		p.mu.Unlock()
	}
	sort.Strings(warnings)
	if n := len(warnings); n > maxWarnings {
		warnings = append(warnings[:maxWarnings], fmt.Sprintf("%d more source partitions are stopped", n-maxWarnings))
	}
	return warnings
}

// WriteMetrics writes the source's metrics in the Prometheus text format.
func (s *Source) WriteMetrics(w io.Writer) {
	m := &s.metrics
	vm.WriteCounterUint64(w, "gateway_source_records_total", m.records.Load())
	vm.WriteCounterUint64(w, "gateway_source_sent_again_total", m.again.Load())
	for _, what := range []OnRefused{RefusedToDeadLetter, RefusedIsSkipped, RefusedStops} {
		vm.WriteCounterUint64(w, fmt.Sprintf("gateway_source_refused_total{then=%q}", what), m.refused[what].Load())
	}
	vm.WriteCounterUint64(w, "gateway_source_assignments_total", m.rebalances.Load())
	vm.WriteCounterUint64(w, "gateway_source_lost_assignments_total", m.lost.Load())
	vm.WriteCounterUint64(w, "gateway_source_commits_total", m.commits.Load())
	vm.WriteCounterUint64(w, "gateway_source_commit_errors_total", m.commitErrors.Load())
	vm.WriteCounterUint64(w, "gateway_source_fetch_errors_total", m.fetchErrors.Load())
	vm.WriteCounterUint64(w, "gateway_source_data_loss_total", m.dataLoss.Load())
	vm.WriteCounterUint64(w, "gateway_source_truncations_total", m.truncations.Load())
	vm.WriteCounterUint64(w, "gateway_source_known_records_total", m.known.Load())
	all := s.all()
	sort.Slice(all, func(i, j int) bool {
		return all[i].topic < all[j].topic || all[i].topic == all[j].topic && all[i].id < all[j].id
	})
	paused, stopped := uint64(0), uint64(0)
	for _, p := range all {
		p.mu.Lock()
		lag, known := p.lag()
		switch {
		case p.gone:
		case p.stopped != "":
			stopped++
		case p.paused:
			paused++
		}
		gone := p.gone
		p.mu.Unlock()
		if known && !gone {
			vm.WriteGaugeUint64(w, fmt.Sprintf("gateway_source_lag_records{topic=%q,partition=\"%d\"}", p.topic, p.id), uint64(lag))
		}
	}
	vm.WriteGaugeUint64(w, "gateway_source_partitions", uint64(s.assigned.Load()))
	vm.WriteGaugeUint64(w, "gateway_source_paused_partitions", paused)
	vm.WriteGaugeUint64(w, "gateway_source_stopped_partitions", stopped)
}

// lag is how many offsets lie behind the last one that may be committed. Called with mu held. Not known before the
// first record, unless the partition is at its end.
func (p *sourcePartition) lag() (n int64, known bool) {
	from := p.track.done
	if r := p.track.first(); r != nil {
		from = r.Offset
	}
	if from < 0 || p.end < 0 {
		return 0, false
	}
	return max(p.end-from, 0), true
}

func placeText(r *stages.Record) string {
	return fmt.Sprintf("%s/%d at offset %d", r.Topic, r.Partition, r.Offset)
}

// placeOf says in a line which record it was, and why it was refused.
func placeOf(r *stages.Record, res *stages.Result) []any {
	return []any{"topic", r.Topic, "partition", r.Partition, "offset", r.Offset, "reason", res.Reason.String(),
		"stage", res.Stage.String(), "message", messageOf(res)}
}

// messageOf is what a client would be told.
func messageOf(r *stages.Result) string {
	return letterMessage(&stages.Verdict{Reason: r.Reason, Detail: r.Detail})
}

// failing says that records are sent again, and why.
func (s *Source) failing(p *sourcePartition, r *stages.Result) {
	s.failed.say(r.Reason.String(), "source records have no outcome, or are refused for now, and are sent again",
		"topic", p.topic, "partition", p.id, "reason", r.Reason.String(), "stage", r.Stage.String(), "message", messageOf(r))
}

// limitedLog writes each kind of line at most every repeatEvery, with how often it was left out.
type limitedLog struct {
	log   Logger
	level Level
	mu    sync.Mutex
	seen  map[string]*repeat // guarded by mu; at most repeatLines
}

func newLimitedLog(log Logger, level Level) *limitedLog {
	return &limitedLog{log: log, level: level, seen: map[string]*repeat{}}
}

func (l *limitedLog) say(kind, msg string, keyvals ...any) {
	now := time.Now()
	l.mu.Lock()
	r := l.seen[kind]
	if r == nil {
		if len(l.seen) >= repeatLines {
			clear(l.seen)
		}
		r = &repeat{}
		l.seen[kind] = r
	}
	if !r.last.IsZero() && now.Sub(r.last) < repeatEvery {
		r.suppressed++
		l.mu.Unlock()
		return
	}
	left := r.suppressed
	r.last, r.suppressed = now, 0
	l.mu.Unlock()
	if left > 0 {
		keyvals = append(keyvals, "repeated", left)
	}
	l.log.Log(l.level, msg, keyvals...)
}
