package pipeline

// The produce worker: hands batches to the Producer and sends what was not
// handed over straight to the retirer (retire.go).

import (
	"runtime/debug"

	"github.com/event-gateway/event-gateway/ring"
	"github.com/event-gateway/event-gateway/stages"
)

type produceWorker struct {
	worker
	stage *stages.Produce
	in    fanIn[*stages.RecordBatch]
	// empties[i] gives emptied batches back to batch worker i; nil where no link is.
	empties []*ring.Producer[*stages.RecordBatch]
	burst   [burstSize]*stages.RecordBatch
}

// produceLoop is the goroutine of a produce worker.
func (w *produceWorker) produceLoop() {
	turn := w.turn
	for {
		n := w.in.take(w.burst[:])
		if n == 0 {
			if w.in.drained() {
				return
			}
			w.lend(w.in.ready, turn)
			continue
		}
		w.work(w.burst[:n], w.p.now())
	}
}

// turn is what is there, on somebody else's goroutine, from time at.
func (w *produceWorker) turn(at int64) (handBack bool) {
	if w.declined() {
		return true
	}
	w.work(w.burst[:w.in.take(w.burst[:])], at)
	w.took(at, w.p.now())
	return w.in.ready()
}

// work hands over batches that came at now.
func (w *produceWorker) work(batches []*stages.RecordBatch, now int64) {
	for _, batch := range batches {
		w.produce(batch, now)
	}
}

func (w *produceWorker) produce(batch *stages.RecordBatch, now int64) {
	if len(batch.Events) > 0 {
		w.count(batch.Events, now)
		left := w.process(batch)
		w.answer(left)
		if len(left) > 0 {
			w.p.Report(left)
		}
	}
	// A full ring only means that nobody has fetched the empty ones yet: let this one go.
	w.empties[batch.Owner].TryPush(batch)
}

// process hands the batch over. A panic inside the Producer leaves its events
// handed and unreported: nobody can say whether Kafka has them, so the deadline
// answers them unknown and they are never recycled.
func (w *produceWorker) process(batch *stages.RecordBatch) (left []*stages.Event) {
	defer func() {
		if value := recover(); value != nil {
			bump(&w.counts.panics, 1)
			w.p.log.Panic(w.id, w.index, value, debug.Stack(), "a batch handed to the producer; its events become unknown")
			left = w.stage.Left()
		}
	}()
	return w.stage.Process(batch)
}
