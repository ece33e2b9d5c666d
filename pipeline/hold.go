package pipeline

// The worker of a stage that may keep events: validate, while a schema is
// fetched (stages/hold.go). It lends no turns: what wakes it is not only input.

import "github.com/event-gateway/event-gateway/stages"

// holdLoop is stageLoop for a stage that may keep events.
func (w *stageWorker) holdLoop() {
	defer w.out.close()
	for {
		for w.resumeKept() {
		}
		w.kept.Store(int64(w.holder.Kept()))
		n := w.in.take(w.burst[:max(0, min(burstSize, w.holder.Room()))])
		if n > 0 {
			w.out.flush(&w.worker, w.workSifted(w.burst[:n]))
			w.kept.Store(int64(w.holder.Kept()))
			continue
		}
		if w.in.drained() && w.holder.Kept() == 0 {
			return
		}
		w.await(w.holdReady)
	}
}

// holdReady reports whether the worker has something to do, or is to end.
func (w *stageWorker) holdReady() bool {
	h := w.holder
	if h.Resumable() {
		return true
	}
	if w.in.drained() {
		return h.Kept() == 0
	}
	return h.Room() > 0 && w.in.ready()
}

// workSifted is work for a burst of which the stage keeps some. now is when the stage was done.
func (w *stageWorker) workSifted(burst []*stages.Event) (now int64) {
	for done := 0; done < len(burst); {
		done += w.process(burst[done:])
	}
	now = w.p.now()
	w.count(burst, now) // also what is kept: nobody else has it yet
	w.passOn(w.holder.Sift(burst), now)
	return now
}

// resumeKept passes on what need not be kept any longer, a burst at a time, and reports whether there may be more.
func (w *stageWorker) resumeKept() (more bool) {
	n := 0
	for n < burstSize {
		ev := w.resumeOne()
		if ev == nil {
			break
		}
		w.burst[n] = ev
		n++
	}
	if n == 0 {
		return false
	}
	now := w.p.now()
	w.passOn(w.burst[:n], now)
	w.out.flush(&w.worker, now)
	return true
}

// resumeOne is the next event that goes on; one at which the stage panics goes on refused.
func (w *stageWorker) resumeOne() (ev *stages.Event) {
	defer func() {
		value := recover()
		if value == nil {
			return
		}
		fault := w.holder.Fault()
		if fault == nil {
			panic(value) // not one event's: it goes on
		}
		var done int
		fault.At = stages.AtDecode // not finished with
		w.rescue(value, []*stages.Event{fault}, &done)
		ev = fault
	}()
	return w.holder.Resume()
}
