package pipeline

// When a worker's work is done by the worker before it (ring.Waiter.Call): only
// while it sleeps, only if it is the only one of its stage, and only as long as
// that is quick. With more than one worker a stage is meant to run beside the
// others; then nothing is lent, and the graph is a pipeline over as many
// processors as there are.

import "time"

// A turn longer than maxTurn is more than waking the worker would have cost:
// 5 to 50 us, measured on two shared cores, the lines that move to the other cache
// included. Then the worker's own goroutine does the next declinedTurns, so that a
// stage that has become slow (a rule that computes, a sink that writes to a pipe)
// runs beside the others again.
const (
	maxTurn       = 100 * time.Microsecond
	declinedTurns = 64
)

// declined reports whether this turn is one for the worker's own goroutine.
func (w *worker) declined() bool {
	if w.declines == 0 {
		return false
	}
	w.declines--
	return true
}

// took notes the work of a turn, from start to end. What the turn then does for the next worker is not in it.
func (w *worker) took(start, end int64) {
	bump(&w.counts.lentNanos, uint64(end-start))
	if end-start > int64(maxTurn) {
		w.declines = declinedTurns
	}
}
