package pipeline

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/event-gateway/event-gateway/stages"
)

// stall holds up worker 0 of a stage, and says when it has come to a standstill.
type stall struct {
	stages.Stage
	entered, gate chan struct{}
}

func (s stall) Process(burst []*stages.Event) {
	select {
	case s.entered <- struct{}{}:
	default:
	}
	<-s.gate
	s.Stage.Process(burst)
}

// keyOf returns a key whose events go to worker w of two.
func keyOf(w uint32) string {
	for i := 0; ; i++ {
		if key := fmt.Sprint("key-", i); stages.KeyHash([]byte(key))%2 == w {
			return key
		}
	}
}

// A worker that stays at one burst: the events of the stage's other worker go on, operators see which one it is, and
// afterwards nothing is missing. With one worker a stage, its work is done by the worker before it; it is still named.
func TestStuckWorker(t *testing.T) {
	for _, at := range []stages.StageID{stages.AtValidate, stages.AtRateLimit, stages.AtTransform} {
		for _, workers := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s of %d", at, workers), func(t *testing.T) { stickOnce(t, at, workers) })
		}
	}
}

func stickOnce(t *testing.T, at stages.StageID, workers int) {
	log := &testLog{}
	s := stall{entered: make(chan struct{}, 1), gate: make(chan struct{})}
	counts := map[stages.StageID]int{stages.AtValidate: 1, stages.AtRateLimit: 1, stages.AtTransform: 1}
	counts[at] = workers
	h := newHarness(t, withWorkers(1, counts[stages.AtValidate], counts[stages.AtRateLimit], counts[stages.AtTransform], 1, 1),
		func(_ *Config, parts *Parts) {
			parts.Log, parts.unwatched = log, true
			parts.wrapStage = func(id stages.StageID, worker int, stage stages.Stage) stages.Stage {
				if id == at && worker == 0 {
					s.Stage = stage
					return s
				}
				return stage
			}
		})
	h.awaitWaiting() // a goroutine that has not begun yet does not wait
	var frames []testEvent
	for i := range 10 {
		frames = append(frames, testEvent{source: "s", key: keyOf(0), data: stamp(0, i)})
	}
	w := newWaiting()
	m, _ := h.submit(0, w, stages.Batch, frameOf(frames...), len(frames))
	<-s.entered
	if workers == 2 {
		for i := range 100 {
			other := h.call(stages.Single, frameOf(testEvent{source: "s", key: keyOf(1), data: stamp(1, i)}), 1)
			mustOutcome(t, other, 0, stages.Acknowledged, stages.NoReason, stages.AtProduce)
			h.p.Release(other)
		}
		h.awaitWaiting(h.workersOf(at)[0]) // the others have yet to get there
	}

	const second = int64(time.Second)
	look := func(at int64, want ...string) {
		t.Helper()
		h.p.watchdog.look(at)
		if got := log.taken(); !slices.Equal(got, want) {
			t.Fatalf("the watchdog said %q, want %q", got, want)
		}
	}
	gauge := fmt.Sprintf(`gateway_stage_stuck_seconds{stage=%q,worker="0"} `, at)
	metric := func(want string) {
		t.Helper()
		var b strings.Builder
		h.p.WriteMetrics(&b)
		if !strings.Contains(b.String(), gauge+want+"\n") {
			t.Errorf("the metrics lack %s%s", gauge, want)
		}
	}
	now := h.p.now()
	look(now)
	look(now + 4*second)
	look(now+6*second, fmt.Sprintf("%s 0 stuck for 6s", at))
	metric("6")
	look(now + 7*second)
	metric("7")

	close(s.gate)
	w.await(t)
	for i := range frames {
		mustOutcome(t, m, i, stages.Acknowledged, stages.NoReason, stages.AtProduce)
	}
	h.p.Release(m)
	h.awaitWaiting()
	look(now+8*second, fmt.Sprintf("%s 0 goes on", at))
	metric("0")
	look(now + 60*second)
	h.close()
}

// A worker that does one burst after another of the worker behind it stands still itself, and is not stuck. Nor are those
// before it; when the lent one stands still, too, it alone is.
func TestWorkOfALentWorkerThatMovesIsNotStuck(t *testing.T) {
	log := &testLog{}
	s := stall{entered: make(chan struct{}, 1), gate: make(chan struct{})}
	h := newHarness(t, withWorkers(1, 1, 1, 1, 1, 1), func(_ *Config, parts *Parts) {
		parts.Log, parts.unwatched = log, true
		parts.wrapStage = func(id stages.StageID, _ int, stage stages.Stage) stages.Stage {
			if id == stages.AtTransform {
				s.Stage = stage
				return s
			}
			return stage
		}
	})
	h.awaitWaiting()
	w := newWaiting()
	m, _ := h.submit(0, w, stages.Batch, frameOf(testEvent{source: "s", key: "k", data: stamp(0, 0)}), 1)
	<-s.entered
	lent := h.workersOf(stages.AtTransform)[0]
	if !lent.waiter.Lent() {
		t.Fatal("the transform worker's work is not lent")
	}
	now := h.p.now()
	for i := range int64(4) {
		lent.counts.bursts.Add(1) // as if the turn had done another one
		h.p.watchdog.look(now + i*4*int64(time.Second))
		if got := log.taken(); len(got) > 0 {
			t.Fatalf("look %d: the watchdog said %q while the lent worker moved", i, got)
		}
	}
	h.p.watchdog.look(now + 18*int64(time.Second)) // 6 s after it last moved
	if got, want := log.taken(), []string{"transform 0 stuck for 6s"}; !slices.Equal(got, want) {
		t.Errorf("the watchdog said %q, want %q", got, want)
	}
	close(s.gate)
	w.await(t)
	h.p.Release(m)
	h.close()
}

// awaitWaiting returns when every worker waits, but those.
func (h *harness) awaitWaiting(but ...*worker) {
	h.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; {
		waits := true
		h.p.eachWorker(func(w *worker) { waits = waits && (slices.Contains(but, w) || w.waits() && !w.waiter.Lent()) })
		if waits {
			return
		}
		if time.Now().After(deadline) {
			h.t.Fatal("the workers do not come to rest")
		}
	}
}
