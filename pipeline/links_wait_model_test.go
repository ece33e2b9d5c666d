//go:build !race

package pipeline

// The part of the links' model in which a worker waits for input or for room, and goes on.

import "github.com/event-gateway/event-gateway/ring/explore"

func (m *linksModel) startWait(w *linkWorker, where uint8) {
	w.pc, w.wait, w.at, w.eval = where, explore.Poll, 0, 0
}

// await is a step of a wait for input or for room.
func (m *linksModel) await(s linksState, i int, take func(string, linksState)) {
	w, kind := &s.workers[i], explore.Lending
	if w.pc == awaitRoom {
		kind = explore.Plain
	}
	if !w.wait.Evaluates() {
		w.Wait(w.wait, kind, false, false, m.broken, func(line string, waiter explore.Waiter, p explore.Wait) {
			next := s
			next.workers[i].Waiter, next.workers[i].wait = waiter, p
			next.shared = next.shared || w.lent && p == explore.Awake
			m.resume(&next, i)
			take(line, next)
		})
		return
	}
	evaluate := m.ready
	if w.pc == awaitRoom {
		evaluate = m.room
	}
	line, value, known := evaluate(&s, i)
	if known {
		w.eval = 0
		w.wait = w.wait.Evaluated(value, kind, m.broken)
		m.resume(&s, i)
	} else {
		w.eval++
	}
	take(line, s)
}

// resume goes on after a wait that has returned.
func (m *linksModel) resume(s *linksState, i int) {
	switch w := &s.workers[i]; {
	case w.wait != explore.Awake:
	case w.pc == awaitRoom, len(m.outlets(i)) > 0 && !m.noLentFlush: // also what a turn could not push
		m.push(s, i, 0)
	default:
		m.begin(s, i)
	}
}

// ready is fanIn.ready, one load a call: first the lengths, then for each inlet closed and length.
func (m *linksModel) ready(s *linksState, i int) (line string, value, known bool) {
	w, inlets := &s.workers[i], m.inlets(i)
	if int(w.eval) < len(inlets) {
		l := &s.links[inlets[w.eval]]
		l.seenWrite = l.write
		if m.oneInlet && l.seenWrite == l.read {
			w.eval = uint8(len(inlets) - 1) // the next load is the first of drained
		}
		return "spsc.go: c.seenWrite = c.shared.writeSeq.Load() // links.go:ready: if f.inlets[i].ring.Len() > 0 {", true, l.seenWrite != l.read
	}
	at, length := (int(w.eval)-len(inlets))/2, (int(w.eval)-len(inlets))%2 == 1
	l := &s.links[inlets[at]]
	if length != m.lengthFirst {
		l.seenWrite = l.write
		empty := l.seenWrite == l.read
		return "spsc.go: c.seenWrite = c.shared.writeSeq.Load() // links.go:ready: return f.drained()", empty, !empty || length && at == len(inlets)-1
	}
	return "spsc.go: c.shared.closed.Load() && c.Len() == 0 // links.go:ready: return f.drained()", l.closed, !l.closed || length && at == len(inlets)-1
}

// room is fanOut.room, one load a call.
func (m *linksModel) room(s *linksState, i int) (line string, value, known bool) {
	w, outlets := &s.workers[i], m.outlets(i)
	for w.staged[w.eval] == 0 {
		w.eval++
	}
	l := &s.links[outlets[w.eval]]
	l.seenRead = l.read
	value = m.capacity-(l.write-l.seenRead) >= min(w.staged[w.eval], max(1, m.capacity/2))
	last := true
	for at := int(w.eval) + 1; at < len(outlets); at++ {
		last = last && w.staged[at] == 0
	}
	return "spsc.go: p.seenRead = p.shared.readSeq.Load() // links.go:flush: w.waiter.Wait(f.room) // " +
		"links.go:room: len(o.staged) > 0 && o.ring.Free() >= min(len(o.staged), max(1, o.ring.Cap()/2)) {", value, value || last
}
