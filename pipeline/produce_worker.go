package pipeline

// The produce worker: hands batches to the Producer and sends what was not
// handed over straight to the retirer.

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
}

// produceLoop is the goroutine of a produce worker.
func (w *produceWorker) produceLoop() {
	burst := make([]*stages.RecordBatch, burstSize)
	for {
		n := w.in.take(burst)
		if n == 0 {
			if w.in.drained() {
				return
			}
			w.await(w.in.ready)
			continue
		}
		for _, batch := range burst[:n] {
			w.produce(batch)
		}
	}
}

func (w *produceWorker) produce(batch *stages.RecordBatch) {
	if len(batch.Events) > 0 {
		w.count(batch.Events)
		left := w.process(batch)
		w.answer(left)
		for _, ev := range left {
			w.p.retire(ev)
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
