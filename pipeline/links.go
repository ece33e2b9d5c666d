package pipeline

// Links: the mesh of SPSC rings between two stages, seen from a worker as what
// it takes from and what it passes on to.

import (
	"github.com/event-gateway/event-gateway/ring"
)

// inlet is one ring into a worker, with the worker to wake when it has room again.
type inlet[T any] struct {
	ring *ring.Consumer[T]
	peer *ring.Waiter
}

// fanIn is everything that a worker takes from.
type fanIn[T any] struct {
	inlets []inlet[T]
	next   int // the inlet to begin with, so that none starves
}

// take fills into from the inlets, in turn, and says how many it got.
func (f *fanIn[T]) take(into []T) (n int) {
	for range f.inlets {
		in := &f.inlets[f.next]
		if f.next++; f.next == len(f.inlets) {
			f.next = 0
		}
		got := in.ring.Pop(into[n:])
		if got == 0 {
			continue
		}
		// Half free wakes the producer if it waits for room (one load if not). Backlog can only be too
		// small, so the wake comes at the crossing or earlier, and again at each later pop.
		if in.ring.Backlog() <= in.ring.Cap()/2 {
			in.peer.WakeParked()
		}
		if n += got; n == len(into) {
			break
		}
	}
	return n
}

// ready reports whether take would get something, or there will never be anything again.
func (f *fanIn[T]) ready() bool {
	for i := range f.inlets {
		if f.inlets[i].ring.Len() > 0 {
			return true
		}
	}
	return f.drained()
}

// drained reports whether all inlets are closed and empty.
func (f *fanIn[T]) drained() bool {
	for i := range f.inlets {
		if !f.inlets[i].ring.Drained() {
			return false
		}
	}
	return true
}

// outlet is one ring out of a worker, with the worker to wake when something is in it.
type outlet[T any] struct {
	ring *ring.Producer[T] // nil: no value can take this way
	peer *ring.Waiter
	// alone: peer is the only worker of its stage. If it sleeps, its work is done here (ring.Waiter.Call);
	// one of several is woken instead, because several are there to work at the same time, and because one that
	// is stuck must not hold up the others.
	alone  bool
	staged []T // what is to be pushed in this turn
}

// fanOut is everything that a worker passes on to, indexed by the worker of the next stage.
type fanOut[T any] struct{ outlets []outlet[T] }

// stage puts v on the way to worker h mod n.
func (f *fanOut[T]) stage(v T, h uint32) {
	o := &f.outlets[h%uint32(len(f.outlets))]
	o.staged = append(o.staged, v)
}

// stageAll is stage for a burst. With one worker behind, nobody looks at the values.
func (f *fanOut[T]) stageAll(burst []T, route func(T) uint32) {
	if len(f.outlets) == 1 {
		f.outlets[0].staged = append(f.outlets[0].staged, burst...)
		return
	}
	for _, v := range burst {
		f.stage(v, route(v))
	}
}

// push moves what is staged into the rings, wakes each receiver once or does its
// work, and reports whether everything fitted and whether it worked for others.
// at is the time now: there is one outlet where work is lent.
func (f *fanOut[T]) push(at int64) (all, ran bool) {
	all = true
	for i := range f.outlets {
		o := &f.outlets[i]
		if len(o.staged) == 0 {
			continue
		}
		n := o.ring.Push(o.staged)
		left := copy(o.staged, o.staged[n:])
		o.staged = o.staged[:left]
		all = all && left == 0
		switch {
		case n == 0:
		case o.alone:
			ran = o.peer.Call(at) || ran
		default:
			o.peer.Wake()
		}
	}
	return all, ran
}

// room reports whether a waiting push could go on: an outlet with something
// staged has half its ring free, or as much as is staged.
func (f *fanOut[T]) room() bool {
	for i := range f.outlets {
		if o := &f.outlets[i]; len(o.staged) > 0 && o.ring.Free() >= min(len(o.staged), max(1, o.ring.Cap()/2)) {
			return true
		}
	}
	return false
}

// flush pushes everything that is staged, waiting for room as long as it takes.
// The graph has no cycle and its end never blocks, so room always comes.
// w is the worker itself, and since when it began.
func (f *fanOut[T]) flush(w *worker, since int64) {
	all, ran := f.push(since)
	if ran {
		bump(&w.counts.awayNanos, uint64(w.p.now()-since))
	}
	if all {
		return
	}
	start := w.full()
	for !all {
		w.waiter.Wait(f.room)
		all, _ = f.push(w.p.now()) // what it does for others meanwhile counts as waiting
	}
	w.goOn(start)
}

// close ends all outlets.
func (f *fanOut[T]) close() {
	for i := range f.outlets {
		if o := &f.outlets[i]; o.ring != nil {
			o.ring.Close()
			o.peer.Wake()
		}
	}
}

// linkGauge names a ring for the metrics.
type linkGauge struct {
	from, to     string // stages
	fromID, toID int    // workers
	gauge        ring.Gauge
}

// end is one worker as a link sees it.
type end[T any] struct {
	waiter *ring.Waiter
	in     *fanIn[T]
	out    *fanOut[T]
}

// connect builds the mesh between two stages. sameHash says that both choose
// their worker by the same hash: then worker i meets worker j only if some h has
// h = i mod m and h = j mod n, which is when i = j modulo gcd(m, n) (the Chinese
// remainder theorem); the other rings are not allocated.
func connect[T any](p *Pipeline, from, to string, sources, targets []end[T], capacity int, sameHash bool) {
	step := 1
	if sameHash {
		step = gcd(len(sources), len(targets))
	}
	for i, s := range sources {
		s.out.outlets = make([]outlet[T], len(targets))
		for j, t := range targets {
			if (i-j)%step != 0 {
				continue
			}
			producer, consumer := ring.NewSPSC[T](capacity)
			s.out.outlets[j] = outlet[T]{ring: producer, peer: t.waiter, alone: len(targets) == 1, staged: make([]T, 0, burstSize)}
			t.in.inlets = append(t.in.inlets, inlet[T]{ring: consumer, peer: s.waiter})
			p.links = append(p.links, linkGauge{from, to, i, j, consumer.Gauge()})
		}
	}
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
