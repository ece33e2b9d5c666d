package pipeline

// The decode worker: its lane, its events, and the walk from messages to events.

import (
	"slices"
	"time"

	"github.com/event-gateway/event-gateway/ring"
	"github.com/event-gateway/event-gateway/stages"
)

// slabSize is how many events are allocated at once.
const slabSize = 256

// resetAhead is how many events are reset together. Events come back from other processors, so their lines are
// not in this one's cache. Reset only stores, and stores wait for their lines side by side, where the decoding
// would wait for one after the other; and a line that is stored to first moves once, not as a copy to read and
// then again to write. 16 events take 10 KiB of the 32 to 48 that a first-level cache has.
const resetAhead = 16

// decodeWorker turns the messages of one lane into events.
type decodeWorker struct {
	worker
	lane    *ring.MPSC[*stages.Message]
	decoder *stages.Decoder
	out     fanOut[*stages.Event]
	// burst is what fill has decoded.
	burst []*stages.Event

	// waiting are messages taken from the lane, in order, not started yet.
	waiting []*stages.Message
	buffer  [16]*stages.Message

	// stack are free events. Last in, first out: under light load the same few stay in the cache.
	stack []*stages.Event
	// returned brings back retired events; it holds all of them.
	returned *ring.Consumer[*stages.Event]
	// clean is how many events at the end of stack are reset.
	clean int
	// forgotten: the worker has been without input for a while and its free events hold no message.
	forgotten bool
	// made and most count the events of this worker: allocated in slabs, up to a bound, never given back.
	made, most int
}

// decodeLoop is the goroutine of a decode worker.
func (w *decodeWorker) decodeLoop() {
	defer w.out.close()
	w.burst = make([]*stages.Event, 0, burstSize)
	for {
		w.fill()
		burst := w.burst
		if len(burst) == 0 {
			if w.decoder.Active() { // all events are on their way
				start := w.full()
				w.waiter.Wait(func() bool { return w.returned.Len() > 0 })
				w.goOn(start)
				continue
			}
			if w.p.stopping.Load() && !w.lane.Ready() {
				return
			}
			w.rest()
			continue
		}
		w.decoder.NextRun()
		w.answer(burst)
		now := w.p.now()
		w.count(burst, now)
		w.out.stageAll(burst, byShard)
		w.out.flush(&w.worker, now)
	}
}

// idleAfter is how long a decode worker is without input before its idle events let go of their last messages.
const idleAfter = 100 * time.Millisecond

// rest waits for a message. Returned events still point into the bytes of
// their last message. Under load they are used again soon; when nothing comes,
// they would keep dead memory, so after a while they are made to forget it.
func (w *decodeWorker) rest() {
	ready := func() bool { return w.lane.Ready() || w.p.stopping.Load() }
	if w.forgotten && w.returned.Len() == 0 {
		w.await(func() bool { return ready() || w.returned.Len() > 0 }) // late acknowledgements bring events back
		w.forgotten = false
		return
	}
	start := w.idle()
	came := w.waiter.WaitUntil(ready, time.Now().Add(idleAfter))
	w.resume(start)
	if !came {
		w.forget()
	}
	w.forgotten = !came
}

// reclaim puts all returned events on top of the free ones.
func (w *decodeWorker) reclaim() {
	for {
		w.stack = slices.Grow(w.stack, slabSize)
		n := w.returned.Pop(w.stack[len(w.stack):cap(w.stack)])
		if n == 0 {
			return
		}
		w.stack, w.clean = w.stack[:len(w.stack)+n], 0
	}
}

// forget empties the free events.
func (w *decodeWorker) forget() {
	w.reclaim()
	for _, ev := range w.stack {
		ev.Forget()
	}
}

// fill decodes events into the burst until it is full, the lane is empty, or no event is free.
func (w *decodeWorker) fill() {
	w.reclaim() // also when some are free: those that came back last are the likeliest to be in a cache
	w.burst = w.burst[:0]
	for full := false; !full; {
		full = w.fillOn()
	}
}

// fillOn goes on filling the burst. False: a panic refused the event that was being decoded, which is the
// burst's last. A panic elsewhere is not one event's, and goes on.
func (w *decodeWorker) fillOn() (full bool) {
	var done int
	defer func() {
		if value := recover(); value != nil && w.rescue(value, w.burst, &done) == nil {
			panic(value)
		}
	}()
	for len(w.burst) < burstSize {
		if !w.decoder.Active() && !w.next() {
			break
		}
		if m := w.decoder.Answered(); m != nil { // a deadline was faster
			w.decoder.Skip()
			w.p.drop(m, 1)
			continue
		}
		ev := w.take()
		if ev == nil {
			break
		}
		w.burst = append(w.burst, ev)
		w.decoder.Next(ev)
	}
	return true
}

// next starts the next message of the lane; false when there is none.
func (w *decodeWorker) next() bool {
	if len(w.waiting) == 0 {
		n := w.lane.Pop(w.buffer[:])
		w.waiting = w.buffer[:n]
		if n == 0 {
			return false
		}
	}
	w.decoder.Start(w.waiting[0])
	w.waiting = w.waiting[1:]
	return true
}

// take is a free event, or nil when all that the worker may have are on their way.
func (w *decodeWorker) take() *stages.Event {
	if w.clean == 0 && !w.prepare() {
		return nil
	}
	n := len(w.stack) - 1
	ev := w.stack[n]
	w.stack = w.stack[:n]
	w.clean--
	return ev
}

// prepare resets the next free events, as many as are sure to be taken soon. False: there are none.
func (w *decodeWorker) prepare() bool {
	if len(w.stack) == 0 {
		w.reclaim()
	}
	if len(w.stack) == 0 && w.made < w.most {
		w.grow()
	}
	w.clean = min(len(w.stack), resetAhead, w.decoder.Left()+len(w.waiting))
	for _, ev := range w.stack[len(w.stack)-w.clean:] {
		ev.Reset()
	}
	return w.clean > 0
}

// grow allocates a slab.
func (w *decodeWorker) grow() {
	slab := make([]stages.Event, slabSize)
	for i := range slab {
		slab[i].Home = int16(w.index) // at most maxWorkers
		w.stack = append(w.stack, &slab[i])
	}
	w.made += slabSize
}
