//go:build !race

package pipeline

// A lane in every interleaving: handlers submit, one of them may be preempted
// between claim and publish, the decode worker pops, parks and at last stops.
// Steps quote the code; see ring/explore.

import (
	"testing"

	"github.com/event-gateway/event-gateway/ring/explore"
)

const (
	laneProducers = 3
	laneSlots     = 2 // the least that an MPSC ring has
)

// Where a handler is in Submit.
const (
	submitClaim   = iota // seq := q.writeSeq.Load()
	submitTurn           // turn := s.turn.Load()
	submitCAS            // the claim
	submitValue          // s.value = v
	submitPublish        // s.turn.Store
)

type laneHandler struct {
	pc, seq uint8
	left    uint8 // messages to submit
	waking  explore.Wake
}

// Where the decode worker is.
const (
	lanePop    = iota // is the next turn there?
	laneTake          // the value
	laneGive          // the slot back
	laneStop          // p.stopping.Load()
	laneLast          // && !w.lane.Ready()
	laneWait          // in the waiter
	laneReturn        // gone
)

type laneState struct {
	explore.Waiter
	writeSeq uint8
	turn     [laneSlots]uint8
	value    [laneSlots]uint8 // 16*handler + what it has left; 0 = none
	stopping bool
	handlers [laneProducers]laneHandler
	stop     explore.Wake // of Stop's wake-up

	// The decode worker's: its position, values of the present Pop, what it expects next of each handler.
	pc, next, n uint8
	expect      [laneProducers]uint8
	wait        explore.Wait
	looked      bool // in the condition: the lane was not ready, now stopping
	wrong       bool // a value was not what comes next of its handler
}

// laneModel is one configuration; the fields after messages break the protocol.
type laneModel struct {
	messages [laneProducers]uint8

	broken       explore.Broken
	noWake       bool // Submit does not wake
	wakeFirst    bool // Submit wakes before it publishes
	publishFirst bool // the turn is stored before the value
	giveFirst    bool // the slot is given back before its value is taken
	plainClaim   bool // the claim is a store, not a compare-and-swap
	pastHoles    bool // Pop trusts writeSeq and does not look at the turn
	stopSilently bool // Stop does not wake
	lookFirst    bool // the worker looks at the lane first and at stopping second, before it ends
}

func (m laneModel) size() (n int) {
	for _, messages := range m.messages {
		n += int(messages)
	}
	return n
}

func (m laneModel) explore() (explore.Report, error) {
	start := laneState{expect: m.messages}
	for i := range start.turn {
		start.turn[i] = uint8(i)
	}
	for i, n := range m.messages {
		start.handlers[i].left = n
	}
	return explore.Model[laneState]{
		Start: start,
		Steps: func(s laneState, take func(string, laneState)) {
			for i := range s.handlers {
				m.handler(s, i, take)
			}
			m.decode(s, take)
			m.stop(s, take)
		},
		Bad: func(s laneState) string {
			if s.wrong {
				return "the worker has taken a value that is not the next one of its handler"
			}
			return ""
		},
		End: func(s laneState) bool {
			return s.pc == laneReturn && s.expect == [laneProducers]uint8{} && s.AtRest() && m.submitted(s)
		},
	}.Explore(4_000_000)
}

// submitted reports that all handlers are done.
func (m laneModel) submitted(s laneState) bool {
	for i := range s.handlers {
		if h := &s.handlers[i]; h.left > 0 || h.waking != explore.Woken {
			return false
		}
	}
	return true
}

// stop is Stop, which comes when nothing is submitted any more.
func (m laneModel) stop(s laneState, take func(string, laneState)) {
	if s.stop != explore.Woken {
		s.Wake(s.stop, m.broken, func(line string, w explore.Waiter, p explore.Wake) {
			next := s
			next.Waiter, next.stop = w, p
			take("stop: "+line+" // pipeline.go:Stop: w.waiter.Wake()", next)
		})
		return
	}
	if s.stopping || !m.submitted(s) {
		return
	}
	s.stopping = true
	if !m.stopSilently {
		s.stop = explore.Look
	}
	take("stop: pipeline.go: p.stopping.Store(true)", s)
}

// handler is: for each message { Submit }.
func (m laneModel) handler(s laneState, i int, take func(string, laneState)) {
	h, name := &s.handlers[i], "handler "+string(rune('A'+i))+": "
	if h.waking != explore.Woken {
		s.Wake(h.waking, m.broken, func(line string, w explore.Waiter, p explore.Wake) {
			next := s
			next.Waiter, next.handlers[i].waking = w, p
			if p == explore.Woken && !m.wakeFirst {
				next.handlers[i].left--
			}
			take(name+line+" // messages.go:Submit: d.waiter.Wake()", next)
		})
		return
	}
	if h.left == 0 {
		return
	}
	slot := h.seq % laneSlots
	switch h.pc {
	case submitClaim:
		h.seq, h.pc = s.writeSeq, submitTurn
		take(name+"mpsc.go: seq := q.writeSeq.Load()", s)
	case submitTurn:
		h.pc = submitClaim // full, or somebody else has this number: again
		if s.turn[slot] == h.seq {
			h.pc = submitCAS
		}
		take(name+"mpsc.go: switch turn := s.turn.Load(); {", s)
	case submitCAS:
		h.pc = submitClaim
		if s.writeSeq == h.seq || m.plainClaim {
			s.writeSeq, h.pc = h.seq+1, submitValue
			if m.publishFirst {
				h.pc = submitPublish
			}
			if m.wakeFirst {
				h.waking = explore.Look
			}
		}
		take(name+"mpsc.go: if !q.writeSeq.CompareAndSwap(seq, seq+1) {", s)
	case submitValue:
		s.value[slot], h.pc = uint8(16*(i+1))+h.left, submitPublish
		if m.publishFirst {
			m.published(h)
		}
		take(name+"mpsc.go: s.value = v", s)
	case submitPublish:
		s.turn[slot] = h.seq + 1
		if h.pc = submitValue; !m.publishFirst {
			m.published(h)
		}
		take(name+"mpsc.go: s.turn.Store(seq + 1)", s)
	}
}

// published goes on to Wake, and with it to the next message.
func (m laneModel) published(h *laneHandler) {
	h.pc = submitClaim
	if m.noWake || m.wakeFirst {
		h.left--
	} else {
		h.waking = explore.Look
	}
}

// decode is the decode worker's loop, its bursts reduced to what they do with the lane.
func (m laneModel) decode(s laneState, take func(string, laneState)) {
	slot := s.next % laneSlots
	there := s.turn[slot] == s.next+1
	switch s.pc {
	case lanePop:
		if m.pastHoles {
			there = s.writeSeq > s.next
		}
		switch {
		case there && m.giveFirst:
			s.pc = laneGive
		case there:
			s.pc = laneTake
		case s.n > 0:
			s.n = 0 // a burst; then Pop again
		default:
			s.pc = laneStop
			if m.lookFirst {
				s.pc = laneLast
			}
		}
		take("decode: mpsc.go: if s.turn.Load() != q.next+1 {", s)
	case laneTake:
		s = m.taken(s, s.value[slot])
		s.value[slot], s.pc = 0, laneGive
		if m.giveFirst {
			s = popped(s)
		}
		take("decode: mpsc.go: into[n], s.value = s.value, zero", s)
	case laneGive:
		s.turn[slot] = s.next + laneSlots
		if s.pc = laneTake; !m.giveFirst {
			s = popped(s)
		}
		take("decode: mpsc.go: s.turn.Store(q.next + uint64(len(q.slots)))", s)
	case laneStop:
		switch {
		case s.stopping && m.lookFirst:
			s.pc = laneReturn
		case s.stopping:
			s.pc = laneLast
		default:
			s.pc, s.wait = laneWait, explore.Poll
		}
		take("decode: decode_worker.go: if w.p.stopping.Load() && !w.lane.Ready() {", s)
	case laneLast:
		switch {
		case there:
			s.pc = lanePop // rest finds the lane ready at once
		case m.lookFirst:
			s.pc = laneStop
		default:
			s.pc = laneReturn
		}
		take("decode: mpsc.go: q.slots[q.next&q.mask].turn.Load() == q.next+1 // before it ends", s)
	case laneWait:
		m.rest(s, there, take)
	}
}

// popped moves on to the next slot; a Pop takes two values at most.
func popped(s laneState) laneState {
	s.next++
	s.n = (s.n + 1) % 2
	s.pc = lanePop
	return s
}

// taken holds a value against what is expected: each handler's messages in their order, none twice, none empty.
func (m laneModel) taken(s laneState, value uint8) laneState {
	from, left := int(value/16)-1, value%16
	if from < 0 || s.expect[from] != left {
		s.wrong = true
		return s
	}
	s.expect[from]--
	return s
}

// rest is the wait for lane.Ready() || stopping.
func (m laneModel) rest(s laneState, there bool, take func(string, laneState)) {
	if !s.wait.Evaluates() {
		s.Wait(s.wait, explore.Plain, false, false, m.broken, func(line string, w explore.Waiter, p explore.Wait) {
			next := s
			next.Waiter, next.wait = w, p
			take("decode: "+line, awake(next))
		})
		return
	}
	line, ready := "decode: mpsc.go: q.slots[q.next&q.mask].turn.Load() == q.next+1 // ready()", there
	if s.looked {
		line, ready = "decode: decode_worker.go: return w.lane.Ready() || w.p.stopping.Load() }", s.stopping
	}
	if s.looked = !s.looked && !there; !s.looked { // else stopping is still to be looked at
		s.wait = s.wait.Evaluated(ready, explore.Plain, m.broken)
	}
	take(line, awake(s))
}

func awake(s laneState) laneState {
	if s.wait == explore.Awake {
		s.pc = lanePop
	}
	return s
}

var laneConfigurations = map[string]laneModel{
	"one message each": {messages: [laneProducers]uint8{1, 1, 1}},
	"two handlers":     {messages: [laneProducers]uint8{2, 2, 0}},
	"a full lane":      {messages: [laneProducers]uint8{4, 0, 0}},
}

func TestModelOfTheLane(t *testing.T) {
	holds(t, laneConfigurations, explore.Code{
		Dirs: modelDirs, // the waiter's own steps are held to its code by ring's tests
		Functions: []string{"mpsc.go:TryPush", "mpsc.go:Pop", "mpsc.go:Ready",
			"messages.go:Submit", "decode_worker.go:decodeLoop", "decode_worker.go:rest", "pipeline.go:Stop"},
		Uninvolved: []string{"q.readSeq.Store"}, // what the metrics read
	})
}

func TestModelOfTheLaneFindsEachFault(t *testing.T) {
	findEach(t, laneConfigurations, map[string]func(*laneModel){
		"Submit does not wake":                        func(m *laneModel) { m.noWake = true },
		"Submit wakes before it publishes":            func(m *laneModel) { m.wakeFirst = true },
		"the turn stored before the value":            func(m *laneModel) { m.publishFirst = true },
		"the slot given back before its value":        func(m *laneModel) { m.giveFirst = true },
		"a claim without compare-and-swap":            func(m *laneModel) { m.plainClaim = true },
		"Pop takes what is claimed, published or not": func(m *laneModel) { m.pastHoles = true },
		"Stop does not wake":                          func(m *laneModel) { m.stopSilently = true },
		"the end looks at stopping last":              func(m *laneModel) { m.lookFirst = true },
		"no look after state.Store(parked)":           func(m *laneModel) { m.broken.NoRecheck = true },
	})
}
