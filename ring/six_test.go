package ring

// What moving an event through six workers costs when the workers do nothing:
// rings used as the pipeline's links use them, beside channels.

import "testing"

const (
	sixStages = 6
	sixBurst  = 64 // what a worker of the pipeline takes at most
)

// BenchmarkSixStages sends values, one at a time, through six goroutines, of which
// the last one checks that they arrive in order. An operation is one value all
// the way. With push=event the workers pass on every value by itself, as a
// channel has to; with push=burst what they took at once goes on at once, as in
// the pipeline.
func BenchmarkSixStages(b *testing.B) {
	for _, push := range []string{"event", "burst"} {
		b.Run("push="+push+"/impl=gateway", func(b *testing.B) { benchSixRings(b, push == "burst") })
		b.Run("push="+push+"/impl=plain-channel", benchSixChannels)
	}
}

func benchSixRings(b *testing.B, bursts bool) {
	source, first, done := startSixRings(bursts)
	room := NewWaiter() // the first worker wakes it
	first.prev = room
	go first.loop()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range uint64(b.N) {
		for !source.TryPush(i) {
			room.Wait(func() bool { return source.Free() >= source.Cap()/2 })
		}
		first.waiter.Wake()
	}
	source.Close()
	first.waiter.Wake()
	if n := <-done; n != uint64(b.N) {
		b.Fatalf("%d of %d values arrived in order", n, b.N)
	}
}

func benchSixChannels(b *testing.B) {
	source := make(chan uint64, benchCapacity)
	done := make(chan uint64, 1)
	in := source
	for range sixStages - 1 {
		from, to := in, make(chan uint64, benchCapacity)
		go func() {
			defer close(to)
			for v := range from {
				to <- v
			}
		}()
		in = to
	}
	go func() {
		inOrder := uint64(0)
		for v := range in {
			if v == inOrder {
				inOrder++
			}
		}
		done <- inOrder
	}()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range uint64(b.N) {
		source <- i
	}
	close(source)
	if n := <-done; n != uint64(b.N) {
		b.Fatalf("%d of %d values arrived in order", n, b.N)
	}
}

// idleStage is a worker that does nothing with what it passes on. It takes
// bursts, wakes whom it has to once a burst and lends its turn while it
// sleeps, as the pipeline's workers do.
type idleStage struct {
	bursts  bool // pass on a burst with one publication, else every value by itself
	in      *Consumer[uint64]
	out     *Producer[uint64] // nil in the last one
	waiter  *Waiter
	prev    *Waiter
	next    *idleStage
	burst   [sixBurst]uint64
	staged  []uint64 // what of burst is not passed on yet
	inOrder uint64   // of the last one: how many have arrived, none missing
	done    chan uint64
}

// startSixRings starts all workers but the first. The last one says on done how many values have arrived in order.
func startSixRings(bursts bool) (source *Producer[uint64], first *idleStage, done chan uint64) {
	done = make(chan uint64, 1)
	var workers [sixStages]idleStage
	for i := range workers {
		p, c := NewSPSC[uint64](benchCapacity)
		workers[i].bursts, workers[i].in, workers[i].waiter = bursts, c, NewWaiter()
		if i == 0 {
			source = p
			continue
		}
		workers[i-1].out, workers[i-1].next, workers[i].prev = p, &workers[i], workers[i-1].waiter
	}
	workers[sixStages-1].done = done
	for i := range workers[1:] {
		go workers[i+1].loop()
	}
	return source, &workers[0], done
}

func (s *idleStage) loop() {
	turn := s.turn
	for {
		if s.take() {
			s.flush()
			continue
		}
		if s.in.Drained() {
			break
		}
		s.waiter.WaitLending(s.ready, turn)
		s.flush() // what a turn could not push
	}
	if s.out == nil {
		s.done <- s.inOrder
		return
	}
	s.out.Close()
	s.next.waiter.Wake()
}

// turn is one burst on the goroutine of the worker before.
func (s *idleStage) turn(at int64) (handBack bool) {
	if !s.take() {
		return s.in.Drained()
	}
	return !s.push(at) || s.ready()
}

func (s *idleStage) ready() bool { return s.in.Len() > 0 || s.in.Drained() }

func (s *idleStage) take() bool {
	n := s.in.Pop(s.burst[:])
	if n == 0 {
		return false
	}
	if s.in.Backlog() <= s.in.Cap()/2 {
		s.prev.WakeParked()
	}
	s.staged = s.burst[:n]
	return true
}

// push passes on what is staged and reports whether everything fitted.
func (s *idleStage) push(at int64) (all bool) {
	if s.out == nil {
		for _, v := range s.staged {
			if v == s.inOrder {
				s.inOrder++
			}
		}
		s.staged = nil
		return true
	}
	n := 0
	if s.bursts {
		n = s.out.Push(s.staged)
	} else {
		for n < len(s.staged) && s.out.TryPush(s.staged[n]) {
			n++
		}
	}
	s.staged = s.staged[n:]
	if n > 0 {
		s.next.waiter.Call(at)
	}
	return len(s.staged) == 0
}

func (s *idleStage) flush() {
	for !s.push(0) {
		s.waiter.Wait(func() bool { return s.out.Free() >= min(len(s.staged), s.out.Cap()/2) })
	}
}
