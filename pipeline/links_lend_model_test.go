//go:build !race

package pipeline

// The part of the model of the links in which workers wake each other, or do each other's turns.

import "github.com/event-gateway/event-gateway/ring/explore"

// beginTurn starts a turn of worker i on another's goroutine.
func (m *linksModel) beginTurn(s *linksState, i int) {
	w := &s.workers[i]
	s.shared = s.shared || w.lent || w.wait != explore.Lent
	w.lent = true
	m.begin(s, i)
}

// endTurn goes on with the Call whose turn this was.
func (m *linksModel) endTurn(s *linksState, i int, handBack bool) {
	for c := range s.workers {
		if caller := &s.workers[c]; caller.waking == explore.Turn && int(caller.whom) == i {
			caller.waking = explore.Turned(handBack)
		}
	}
	w := &s.workers[i]
	w.lent = false
	w.pc, w.at, w.n, w.eval, w.partly = awaitInput, 0, 0, 0, false
}

// turnStep is the end of a turn: return !all || w.in.ready().
func (m *linksModel) turnStep(s linksState, i int, take func(string, linksState)) {
	w := &s.workers[i]
	line, value, known := m.ready(&s, i)
	w.eval++
	if known {
		m.endTurn(&s, i, value && !m.leftIgnored)
	}
	take(line+" // worker.go:turn: return !all || w.in.ready()", s)
}

// The calls of Wake, WakeParked and Call, as indexes of wakeCalls.
const (
	wakeInTake = iota
	wakeInPush
	callInPush
	wakeInClose
)

var wakeCalls = [...]string{"links.go:take: in.peer.WakeParked()", "links.go:push: o.peer.Wake()", "links.go:push: ran = o.peer.Call(at) || ran",
	"links.go:close: o.peer.Wake()"}

// wake begins a wake-up of another worker; it comes before w's next step.
func (m *linksModel) wake(w *linkWorker, whom int, call uint8) {
	first := [...]explore.Wake{explore.LookParked, explore.Look, explore.LookCall, explore.Look}[call]
	w.waking, w.whom, w.call = first, uint8(whom), call
}

// notDrained: nothing was taken, but there may be something later.
func (m *linksModel) notDrained(s *linksState, i int) {
	if w := &s.workers[i]; w.lent {
		m.endTurn(s, i, false)
	} else {
		m.startWait(w, awaitInput)
	}
}
