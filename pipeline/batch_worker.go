package pipeline

// The batch worker: feeds its Batcher and decides when batches leave: when they
// are full, when they have lingered, or, without linger, when there is no more
// input (smart batching: no delay at light load, large batches at heavy load).

import (
	"time"

	"github.com/event-gateway/event-gateway/ring"
	"github.com/event-gateway/event-gateway/stages"
)

type batchWorker struct {
	worker
	batcher *stages.Batcher
	in      fanIn[*stages.Event]
	out     fanOut[*stages.RecordBatch]
	// empties are the rings on which the produce workers give emptied batches back.
	empties []*ring.Consumer[*stages.RecordBatch]
	buffer  [burstSize]*stages.RecordBatch
	burst   [burstSize]*stages.Event
	now     int64 // when the last burst came, in nanoseconds of Pipeline.now
}

// batchLoop is the goroutine of a batch worker.
func (w *batchWorker) batchLoop() {
	defer w.out.close()
	turn := w.turn
	for {
		n := w.in.take(w.burst[:])
		if n == 0 {
			if w.in.drained() {
				w.release(w.batcher.Flush)
				return
			}
			if w.batcher.Lingers() {
				w.linger()
			} else {
				w.release(w.batcher.Flush)
				w.lend(w.in.ready, turn)
				w.out.flush(&w.worker, w.p.now()) // what a turn could not push
			}
			continue
		}
		w.work(w.burst[:n], w.p.now())
		w.release(w.due)
	}
}

// turn is one burst on somebody else's goroutine, from time at; without linger only.
func (w *batchWorker) turn(at int64) (handBack bool) {
	if w.declined() {
		return true
	}
	n := w.in.take(w.burst[:])
	if n == 0 {
		return w.in.drained()
	}
	w.work(w.burst[:n], at)
	more, next := w.in.ready(), w.due
	if !more {
		next = w.batcher.Flush
	}
	for batch := next(); batch != nil; batch = next() {
		w.send(batch)
	}
	now := w.p.now()
	w.took(at, now)
	all, _ := w.out.push(now)
	return !all || more
}

// work adds a burst, which came at now, to the batches.
func (w *batchWorker) work(burst []*stages.Event, now int64) {
	w.reclaim()
	w.now = now
	w.count(burst, now) // before Add: a batch that leaves takes its events along
	for done := 0; done < len(burst); {
		done += w.add(burst[done:])
	}
}

// due takes out the next batch that is old enough.
func (w *batchWorker) due() *stages.RecordBatch { return w.batcher.Due(w.now) }

// linger waits for input or until the oldest open batch is due.
func (w *batchWorker) linger() {
	due, open := w.batcher.NextDue()
	if !open {
		w.await(w.in.ready)
		return
	}
	start := w.idle()
	if !w.waiter.WaitUntil(w.in.ready, w.p.epoch.Add(time.Duration(due))) {
		w.now = w.p.now()
		w.release(w.due)
	}
	w.resume(start)
}

// release passes on the batches that next gives until it gives none.
func (w *batchWorker) release(next func() *stages.RecordBatch) {
	for batch := next(); batch != nil; batch = next() {
		w.send(batch)
	}
	w.out.flush(&w.worker, w.p.now())
}

// add gives a burst to the batcher and says how many events it is done with.
// After a panic the event at fault is refused and leaves the graph here.
func (w *batchWorker) add(burst []*stages.Event) (done int) {
	defer func() {
		value := recover()
		if value == nil {
			return
		}
		var one int
		if ev := w.rescue(value, burst[done:done+1], &one); ev != nil { // nil: it was added before the panic
			w.answerOne(ev)
			w.p.Report([]*stages.Event{ev})
		}
		done++
	}()
	for ; done < len(burst); done++ {
		ev := burst[done]
		if batch := w.batcher.Add(ev, w.now); batch != nil {
			w.send(batch)
		}
		w.answerOne(ev)
	}
	return done
}

// send stages a batch for the produce worker of its partition. Batches of
// ended events have none; worker i always has a link to i mod n.
func (w *batchWorker) send(batch *stages.RecordBatch) {
	h := uint32(w.index)
	if batch.Partition != nil {
		h = batch.Partition.Route()
	}
	w.out.stage(batch, h)
}

// reclaim takes emptied batches back.
func (w *batchWorker) reclaim() {
	for _, r := range w.empties {
		for _, batch := range w.buffer[:r.Pop(w.buffer[:])] {
			w.batcher.Recycle(batch)
		}
	}
}
