package pipeline

// Lending in a running graph: where it happens, where it must not, and what the
// metrics say of it.

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

// burner is a stage that computes for a while, without sleeping, and counts on whose goroutine.
type burner struct {
	stages.Stage
	burn      time.Duration
	worker    *worker // its own; set before the first event
	own, lent int
}

func (b *burner) Process(burst []*stages.Event) {
	if b.worker.counts.idleSince.Load() != 0 { // its goroutine still waits for input
		b.lent++
	} else {
		b.own++
	}
	for start := time.Now(); time.Since(start) < b.burn; {
	}
	b.Stage.Process(burst)
}

// burning puts the burner around the transform stage.
func burning(b *burner) option {
	return func(_ *Config, parts *Parts) {
		parts.wrapStage = func(id stages.StageID, _ int, s stages.Stage) stages.Stage {
			if id != stages.AtTransform {
				return s
			}
			b.Stage = s
			return b
		}
	}
}

// workersOf are the workers of one stage.
func (h *harness) workersOf(id stages.StageID) (all []*worker) {
	h.p.eachWorker(func(w *worker) {
		if w.id == id {
			all = append(all, w)
		}
	})
	return all
}

// callUntil sends events one after the other until enough.
func (h *harness) callUntil(enough func() bool) {
	h.t.Helper()
	for i, deadline := 0, time.Now().Add(patience); !enough(); i++ {
		h.callOne(i)
		if time.Now().After(deadline) {
			h.t.Fatalf("not enough in %v and %d events", patience, i)
		}
	}
}

func (h *harness) callOne(i int) {
	h.t.Helper()
	event := testEvent{id: strconv.Itoa(i), source: "lend", key: strconv.Itoa(i), data: stamp(0, i)}
	h.p.Release(h.call(stages.Single, frameOf(event), 1))
}

// lentNanos of all workers of a stage.
func (h *harness) lentNanos(id stages.StageID) (n uint64) {
	for _, w := range h.workersOf(id) {
		n += w.counts.lentNanos.Load()
	}
	return n
}

var lendingStages = []stages.StageID{stages.AtValidate, stages.AtRateLimit, stages.AtTransform, stages.AtBatch, stages.AtProduce}

func TestLendingInTheGraph(t *testing.T) {
	h := newHarness(t, withWorkers(1, 1, 1, 1, 1, 1))
	defer h.close()
	h.callUntil(func() bool {
		for _, id := range lendingStages {
			if h.lentNanos(id) == 0 {
				return false
			}
		}
		// Validate's work can only have been lent to decode, which notes its time away after the turn, and so perhaps
		// after the event has been answered.
		return h.p.decoders[0].counts.awayNanos.Load() > 0
	})
}

func TestNothingLentByOneOfTwoWorkers(t *testing.T) {
	h := newHarness(t, withWorkers(1, 2, 1, 2, 1, 2))
	defer h.close()
	h.callUntil(func() bool { return h.lentNanos(stages.AtRateLimit) > 0 && h.lentNanos(stages.AtBatch) > 0 })
	for i := range 1000 {
		h.callOne(i)
	}
	for _, id := range []stages.StageID{stages.AtValidate, stages.AtTransform, stages.AtProduce} {
		if n := h.lentNanos(id); n != 0 {
			t.Errorf("%v has two workers, and for %d ns others did their work", id, n)
		}
	}
}

// A stage whose turns are slow is soon run by its own goroutine again.
func TestSlowTurnsAreDeclined(t *testing.T) {
	b := &burner{burn: 2 * maxTurn}
	h := newHarness(t, withWorkers(1, 1, 1, 1, 1, 1), burning(b))
	defer h.close()
	b.worker = h.workersOf(stages.AtTransform)[0]
	h.callUntil(func() bool { return h.lentNanos(stages.AtTransform) > 0 })
	before, own := b.lent, b.own
	const calls = 3 * declinedTurns
	for i := range calls {
		h.callOne(i)
	}
	if lent := b.lent - before; lent > calls/declinedTurns {
		t.Errorf("%d of %d turns of %v on other goroutines", lent, calls, b.burn)
	}
	if b.own == own {
		t.Error("the worker's own goroutine did nothing")
	}
}

// A worker is busy while others do its work, and what it is does not add up to more than the time there was.
func TestMetricsOfLentWork(t *testing.T) {
	b := &burner{burn: maxTurn / 2}
	h := newHarness(t, withWorkers(1, 1, 1, 1, 1, 1), burning(b))
	defer h.close()
	b.worker = h.workersOf(stages.AtTransform)[0]
	h.callUntil(func() bool { return h.lentNanos(stages.AtTransform) > uint64(20*time.Millisecond) })
	lent := seconds(int64(h.lentNanos(stages.AtTransform)))
	var page bytes.Buffer
	h.p.WriteMetrics(&page)
	up := h.p.now()
	const readLater = 0.001 // the parts are read one after the other, while time goes on
	workers, all := 0, 0.0
	h.p.eachWorker(func(w *worker) {
		value := func(what string) float64 { return metric(t, page.String(), what, w) }
		busy, idle, full := value("busy"), value("idle"), value("full")
		if busy < 0 || idle < 0 || full < 0 || busy+idle+full > seconds(up)+readLater {
			t.Errorf("%v: busy %g s, idle %g s, full %g s of %g s", w.id, busy, idle, full, seconds(up))
		}
		if w == b.worker && busy+readLater < lent {
			t.Errorf("busy %g s, although others worked %g s for it", busy, lent)
		}
		workers++
		all += busy + idle + full
	})
	// While a goroutine works for another worker, that one is busy and its own is neither busy, idle nor full.
	if most := float64(workers) * (seconds(up) + readLater); all+lent > most {
		t.Errorf("%d workers account for %g s of %g s, of which %g s are work for others", workers, all, most, lent)
	}
}

// metric reads gateway_stage_WHAT_seconds_total of a worker.
func metric(t *testing.T, page, what string, w *worker) float64 {
	t.Helper()
	name := fmt.Sprintf(`gateway_stage_%s_seconds_total{stage=%q,worker="%d"} `, what, w.id, w.index)
	_, rest, found := strings.Cut(page, name)
	line, _, _ := strings.Cut(rest, "\n")
	value, err := strconv.ParseFloat(line, 64)
	if !found || err != nil {
		t.Fatalf("%s: found %v, %v", name, found, err)
	}
	return value
}
