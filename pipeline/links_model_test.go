//go:build !race

package pipeline

// The links in every interleaving, from the first push to the last worker's
// return: workers take, stage, push, wait for room and for input, lend, do each
// other's turns, close. Steps quote the code; see ring/explore. Rings hold 1 or 2
// values and bursts are of 1 or 2 events, so that every stage is full at some time.

import (
	"fmt"

	"github.com/event-gateway/event-gateway/ring/explore"
)

const (
	mostWorkers = 4
	mostLinks   = 4
	mostRings   = 2 // inlets or outlets of one worker
)

// Where a worker is; each place is before one shared access, or in a wait.
const (
	takeLoad    = iota // Pop's look at writeSeq
	takeStore          // Pop gives the slots back
	drainClosed        // is the inlet closed?
	drainEmpty         // and empty?
	awaitInput         // in the waiter, ready
	pushLoad           // Push's look at readSeq
	pushStore          // Push publishes
	turnReady          // the end of a turn: ready
	turnFull           // and of one that could not push everything
	awaitRoom          // in the waiter, room
	closeStore         // the outlet ends
	returned
)

// linkState is one ring. Its private cursors next are always equal to the shared ones between two steps.
type linkState struct {
	write, read         uint8
	seenWrite, seenRead uint8 // the consumer's and the producer's stale copies
	closed              bool
}

type linkWorker struct {
	explore.Waiter
	pc      uint8
	at      uint8 // the inlet or outlet it is at
	turns   uint8 // inlets that take has still to look at
	next    uint8 // fanIn.next
	n       uint8 // taken in this burst
	left    uint8 // of a first worker: events still to make
	through uint8 // events taken so far, which decides where the next one goes
	staged  [mostRings]uint8
	partly  bool // the present push has left something staged
	waking  explore.Wake
	whom    uint8 // the worker it wakes
	call    uint8 // and where
	wait    explore.Wait
	eval    uint8 // how far the condition is evaluated
	// lent: one of the workers before it is in a turn of this one. Then all above but wait is the borrower's.
	lent bool
}

type linksState struct {
	links   [mostLinks]linkState
	workers [mostWorkers]linkWorker
	shared  bool // two were at the work of one worker
}

// linksModel is a graph; the fields after burst break the protocol.
type linksModel struct {
	makes    [mostWorkers]uint8 // events that each first worker makes
	ends     [][2]int           // of each link: the worker that pushes and the one that takes
	capacity uint8
	burst    uint8
	declines bool // a turn may hand back at once
	makes2   bool // first workers make bursts of 2, whatever the others take
	// drained: the end comes when everything has arrived, as with Stop after AwaitIdle. Without, its wake-ups make good
	// for lost ones.
	drained bool
	total   uint8
	in, out [mostWorkers][]int // links by worker

	broken      explore.Broken
	pushSilent  bool // push does not wake the receiver
	takeSilent  bool // take does not wake the producer that waits for room
	takeTooLate bool // take wakes only when the ring is full: the comparison the wrong way round
	takeEarly   bool // take wakes before it gives the slots back
	closeSilent bool // close does not wake
	lengthFirst bool // Drained looks at the length first and at closed second
	oneInlet    bool // ready looks at the first inlet only
	noClose     bool // a worker returns without closing its outlets
	noFlush     bool // a worker does not wait for room: what did not fit stays staged
	roomIgnored bool // a turn that could not push everything does not hand back
	leftIgnored bool // a turn that leaves input does not hand back
	noLentFlush bool // a worker does not wait for room for what a turn could not push
}

func (m *linksModel) inlets(worker int) []int  { return m.in[worker] }
func (m *linksModel) outlets(worker int) []int { return m.out[worker] }

func (m linksModel) size() int { return len(m.ends) }

// mesh notes each worker's links.
func (m *linksModel) mesh() {
	for l, ends := range m.ends {
		m.out[ends[0]] = append(m.out[ends[0]], l)
		m.in[ends[1]] = append(m.in[ends[1]], l)
	}
}

// workers is how many the graph has.
func (m *linksModel) workers() (n int) {
	for _, ends := range m.ends {
		n = max(n, ends[1]+1)
	}
	return n
}

func (m linksModel) explore() (explore.Report, error) {
	m.mesh()
	start := linksState{}
	var names [mostWorkers]string // not put together anew for each of millions of steps
	for i := range names {
		names[i] = fmt.Sprintf("worker %d: ", i)
	}
	for i := range start.workers {
		w := &start.workers[i]
		if i >= m.workers() {
			w.pc = returned
			continue
		}
		w.left = m.makes[i]
		m.total += m.makes[i]
		m.begin(&start, i)
	}
	return explore.Model[linksState]{
		Start: start,
		Steps: func(s linksState, take func(string, linksState)) {
			for i := range m.workers() {
				m.step(s, i, func(line string, next linksState) { take(names[i]+line, next) })
			}
		},
		Bad: func(s linksState) string {
			if s.shared {
				return "two are at the work of one worker"
			}
			for i, l := range s.links {
				if l.write-l.read > m.capacity {
					return fmt.Sprintf("ring %d holds more than it can: a value was overwritten", i)
				}
			}
			return ""
		},
		End: func(s linksState) bool {
			for _, w := range s.workers {
				if w.pc != returned || w.waking != explore.Woken || !w.AtRest() {
					return false
				}
			}
			return m.arrived(s)
		},
	}.Explore(4_000_000)
}

// arrived reports whether the last workers have taken all that the first ones made.
func (m *linksModel) arrived(s linksState) bool {
	n := uint8(0)
	for i, w := range s.workers {
		if len(m.outlets(i)) == 0 {
			n += w.through
		}
	}
	return n == m.total
}

// step is the next step of worker i's goroutine. What is private to the worker happens together with the shared
// access before it. In a Call, it does the work of another worker f, which may be in a Call in turn.
func (m *linksModel) step(s linksState, i int, take func(string, linksState)) {
	if s.workers[i].wait == explore.Lent {
		m.await(s, i, take) // whatever is done in its place
		return
	}
	f := i
	for s.workers[f].waking == explore.Turn {
		f = int(s.workers[f].whom)
	}
	w := &s.workers[f]
	switch {
	case w.waking != explore.Woken:
		s.workers[w.whom].Wake(w.waking, m.broken, func(line string, waiter explore.Waiter, p explore.Wake) {
			next := s
			next.workers[w.whom].Waiter, next.workers[f].waking = waiter, p
			line += " // " + wakeCalls[w.call]
			if p != explore.Turn {
				take(line, next)
				return
			}
			if m.declines {
				declined := next
				declined.workers[f].waking = explore.Turned(true)
				take(line+" // worker.go:turn: if w.declined() {", declined)
			}
			m.beginTurn(&next, int(w.whom))
			take(line, next)
		})
	case w.pc == awaitInput || w.pc == awaitRoom:
		m.await(s, f, take)
	case w.pc == turnFull:
		m.endTurn(&s, f, true)
		take("worker.go:turn: return !all || w.in.ready()", s)
	case w.pc == turnReady:
		m.turnStep(s, f, take)
	case w.pc <= drainEmpty:
		m.takeStep(s, f, take)
	case w.pc == closeStore && m.drained && !m.arrived(s): // not yet
	case w.pc < returned:
		m.pushStep(s, f, take)
	}
}

// begin starts a round of the loop, or a turn: a first worker makes a burst, the others take one.
func (m *linksModel) begin(s *linksState, i int) {
	w := &s.workers[i]
	w.n = 0
	inlets := m.inlets(i)
	if len(inlets) > 0 {
		w.turns = uint8(len(inlets))
		m.nextInlet(s, i)
		return
	}
	w.n = min(w.left, m.burst)
	if m.makes2 {
		w.n = min(w.left, 2)
	}
	w.left -= w.n
	m.endTake(s, i)
}

// nextInlet goes on with take: for range f.inlets.
func (m *linksModel) nextInlet(s *linksState, i int) {
	w := &s.workers[i]
	if w.turns == 0 || w.n == m.burst {
		m.endTake(s, i)
		return
	}
	inlets := m.inlets(i)
	w.turns--
	w.at = w.next
	if w.next++; int(w.next) == len(inlets) {
		w.next = 0
	}
	l := &s.links[inlets[w.at]]
	w.pc = takeStore
	if l.seenWrite-l.read < m.burst-w.n { // have < len(into)
		w.pc = takeLoad
	}
}

// takeStep is a step of take, or of the look at drained after it.
func (m *linksModel) takeStep(s linksState, i int, take func(string, linksState)) {
	w, inlets := &s.workers[i], m.inlets(i)
	l := &s.links[inlets[w.at]]
	peer := m.ends[inlets[w.at]][0]
	switch w.pc {
	case takeLoad:
		l.seenWrite = l.write
		if w.pc = takeStore; l.seenWrite == l.read {
			m.nextInlet(&s, i)
		} else if m.takeEarly {
			m.wake(w, peer, wakeInTake)
		}
		take("spsc.go: c.seenWrite = c.shared.writeSeq.Load() // links.go:take: got := in.ring.Pop(into[n:])", s)
	case takeStore:
		n := min(l.seenWrite-l.read, m.burst-w.n)
		l.read += n
		w.n += n
		w.through += n
		backlog, half := l.seenWrite-l.read, m.capacity/2
		if backlog <= half && !m.takeSilent && !m.takeEarly && !m.takeTooLate || m.takeTooLate && backlog > half {
			m.wake(w, peer, wakeInTake)
		}
		m.nextInlet(&s, i)
		take("spsc.go:Pop: c.shared.readSeq.Store(c.next) // links.go:take: if in.ring.Backlog() <= in.ring.Cap()/2 {", s)
	case drainClosed:
		if !l.closed {
			m.notDrained(&s, i)
		} else if m.lengthFirst {
			m.drainedInlet(&s, i)
		} else {
			w.pc = drainEmpty
		}
		take("spsc.go: c.shared.closed.Load() && c.Len() == 0 // worker.go:stageLoop: if w.in.drained() {", s)
	case drainEmpty:
		l.seenWrite = l.write
		switch {
		case l.seenWrite != l.read:
			m.notDrained(&s, i)
		case m.lengthFirst:
			w.pc = drainClosed
		default:
			m.drainedInlet(&s, i)
		}
		take("spsc.go: c.seenWrite = c.shared.writeSeq.Load() // links.go:drained: if !f.inlets[i].ring.Drained() {", s)
	}
}

// endTake decides by what was taken: nothing leads to drained and a wait or the end, else the burst is pushed on.
func (m *linksModel) endTake(s *linksState, i int) {
	w := &s.workers[i]
	inlets, outlets := m.inlets(i), m.outlets(i)
	switch {
	case w.n == 0 && len(inlets) == 0:
		m.close(s, i, 0)
	case w.n == 0:
		w.at, w.pc = 0, drainClosed
		if m.lengthFirst {
			w.pc = drainEmpty
		}
	case len(outlets) == 0 && w.lent:
		w.pc, w.eval = turnReady, 0
	case len(outlets) == 0:
		m.begin(s, i)
	default:
		first := w.through - w.n
		if len(inlets) == 0 {
			first = m.makes[i] - w.left - w.n
		}
		for k := range w.n {
			w.staged[int(first+k)%len(outlets)]++
		}
		w.n = 0
		m.push(s, i, 0)
	}
}

// drainedInlet: one inlet is closed and empty; after the last one the worker ends.
func (m *linksModel) drainedInlet(s *linksState, i int) {
	w := &s.workers[i]
	if w.at++; int(w.at) == len(m.inlets(i)) {
		if w.lent {
			m.endTurn(s, i, true)
		} else {
			m.close(s, i, 0)
		}
		return
	}
	w.pc = drainClosed
	if m.lengthFirst {
		w.pc = drainEmpty
	}
}

// push goes on with the push of what is staged, from outlet at.
func (m *linksModel) push(s *linksState, i int, at uint8) {
	w, outlets := &s.workers[i], m.outlets(i)
	if at == 0 {
		w.partly = false
	}
	for ; int(at) < len(outlets); at++ {
		if w.staged[at] == 0 {
			continue
		}
		l := &s.links[outlets[at]]
		w.at, w.pc = at, pushStore
		if m.capacity-(l.write-l.seenRead) < w.staged[at] { // free < len(values)
			w.pc = pushLoad
		}
		return
	}
	switch {
	case w.lent && w.partly && !m.roomIgnored:
		w.pc = turnFull // not before the wake-up or the Call for what was pushed
	case w.lent:
		w.at, w.pc, w.eval = 0, turnReady, 0
	case w.partly && !m.noFlush:
		m.startWait(w, awaitRoom)
	default:
		m.begin(s, i)
	}
}

// close goes on with the end of the outlets, from outlet at.
func (m *linksModel) close(s *linksState, i int, at uint8) {
	w := &s.workers[i]
	w.at, w.pc = at, closeStore
	if m.noClose || int(at) == len(m.outlets(i)) {
		w.at, w.n, w.next, w.pc = 0, 0, 0, returned
	}
}

// pushStep is a step of push or close.
func (m *linksModel) pushStep(s linksState, i int, take func(string, linksState)) {
	w, outlets := &s.workers[i], m.outlets(i)
	l, at := &s.links[outlets[w.at]], w.at
	peer := m.ends[outlets[at]][1]
	switch w.pc {
	case pushLoad:
		l.seenRead = l.read
		if w.pc = pushStore; l.write-l.seenRead == m.capacity {
			w.partly = true
			m.push(&s, i, at+1)
		}
		take("spsc.go: p.seenRead = p.shared.readSeq.Load() // spsc.go:Push: free = p.Free()", s)
	case pushStore:
		n := min(m.capacity-(l.write-l.seenRead), w.staged[at])
		l.write += n
		w.staged[at] -= n
		w.partly = w.partly || w.staged[at] > 0
		if !m.pushSilent {
			call := uint8(wakeInPush)
			if len(outlets) == 1 { // alone
				call = callInPush
			}
			m.wake(w, peer, call)
		}
		m.push(&s, i, at+1)
		take("spsc.go:Push: p.shared.writeSeq.Store(p.next) // links.go:push: n := o.ring.Push(o.staged)", s)
	case closeStore:
		l.closed = true
		if !m.closeSilent {
			m.wake(w, peer, wakeInClose)
		}
		m.close(&s, i, at+1)
		take("spsc.go: p.shared.closed.Store(true) // links.go:close: o.ring.Close() // worker.go:stageLoop: defer w.out.close()", s)
	}
}
