//go:build !race

package ring

// The sleep handshake and lending in every interleaving: one sleeper, several
// wakers, each publishing values and waking or calling, and one that gives room. The
// steps are in explore/waiter.go. Nothing here runs concurrently, so there is
// nothing for the race detector.

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/event-gateway/event-gateway/ring/explore"
)

const modelWakers = 3

// waiterState: the wakers publish values, the sleeper takes each and waits for the next.
type waiterState struct {
	explore.Waiter
	published, taken uint8
	kind             explore.Kind // of the present wait
	late             bool         // the deadline of this WaitUntil has passed
	early            bool         // the timer may fire once before its time
	done             bool         // the sleeper has ended
	wait             explore.Wait
	waking           [modelWakers]explore.Wake
	took             [modelWakers]bool  // in a turn: what is left is still to be looked at
	woke             [modelWakers]bool  // only with earlyWake: it has woken for what it publishes next
	left             [modelWakers]uint8 // what each waker has still to publish
	open             [modelWakers]bool  // it has not said yet that it publishes no more
	// The sleeper's output: something is staged in it that did not fit while it was full. blocks: how often that can happen.
	full, staged bool
	blocks       uint8
	room         explore.Wake // of who gives room
}

// waiterModel is one configuration.
type waiterModel struct {
	values [modelWakers]uint8 // what each waker publishes
	kind   explore.Kind       // how the sleeper waits; Until means Wait where it has given up
	clock  bool               // the deadline may pass; if not, only a wake-up ends a wait
	// With Lending:
	calls  [modelWakers]bool // by Call, not Wake
	push   uint8             // values a publication, 1 or more
	turn   uint8             // values that a turn takes at most
	blocks uint8             // how often room is missing
	hasty  bool              // the end may come before everything is taken, and its wake-up with it

	broken explore.Broken
	// The waker broken: it does not wake, or before it publishes.
	noWake, earlyWake bool
	// The turn broken: it does not say that input is left, or that room is missing.
	inputIgnored, roomIgnored bool
	// Who takes from the sleeper broken.
	noRoomWake bool
}

func (m waiterModel) total() (n uint8) {
	for _, v := range m.values {
		n += v
	}
	return n
}

func (m waiterModel) explore() (explore.Report, error) {
	start := waiterState{left: m.values, kind: m.kind, early: m.clock, wait: explore.Poll, blocks: m.blocks}
	for i, n := range m.values {
		start.open[i] = m.kind == explore.Lending && n > 0
	}
	return explore.Model[waiterState]{
		Start: start,
		Steps: func(s waiterState, take func(string, waiterState)) {
			m.sleeper(s, take)
			for i := range s.left {
				m.waker(s, i, take)
			}
			m.roomGiver(s, take)
			if s.kind == explore.Until && !s.late && m.clock {
				s.late = true
				take("clock: the deadline passes", s)
			}
		},
		Bad: badWaiter,
		End: func(s waiterState) bool {
			return s.taken == m.total() && s.done && s.AtRest() && !s.staged && s.room == explore.Woken &&
				s.left == [modelWakers]uint8{} && s.open == [modelWakers]bool{} && s.waking == [modelWakers]explore.Wake{}
		},
	}.Explore(2_000_000)
}

// badWaiter: a token is left where none can be on its way, or what is the sleeper's has two owners.
func badWaiter(s waiterState) string {
	if s.Token > 0 && (s.wait == explore.Awake || s.wait == explore.Poll || s.wait == explore.Sleep) {
		return "a stale token is left for the next park"
	}
	owners := 0
	if s.wait != explore.Lent {
		owners = 1
	}
	for _, p := range s.waking {
		if p.Owns() {
			owners++
		}
	}
	if owners > 1 {
		return "two own what is the sleeper's"
	}
	return ""
}

// ready is what the sleeper waits for: a value or the end, or, if it lends otherwise, room.
func (m waiterModel) ready(s waiterState) bool {
	if m.kind == explore.Lending && s.kind == explore.Plain {
		return !s.full
	}
	return s.published > s.taken || m.kind == explore.Lending && s.open == [modelWakers]bool{}
}

// sleeper is: for { wait until published > taken; taken++ }, or with Lending
// for { take; if nothing { if closed { return }; WaitLending; wait for room; continue }; wait for room }.
func (m waiterModel) sleeper(s waiterState, take func(string, waiterState)) {
	if s.done {
		return
	}
	if s.wait.Evaluates() {
		ready, line := m.ready(s), "waiter.go: if ready() {"
		if s.wait == explore.Again || s.wait == explore.Last {
			line = "waiter.go: return ready()"
		}
		s.wait = s.wait.Evaluated(ready, s.kind, m.broken)
		m.returned(s, ready, func(next waiterState) { take("sleeper: "+line, next) })
		return
	}
	s.Wait(s.wait, s.kind, s.kind == explore.Until && (s.late || s.early), s.late, m.broken,
		func(line string, w explore.Waiter, p explore.Wait) {
			next := s
			next.Waiter, next.wait = w, p
			if p == explore.TimedOut && !s.late {
				next.early = false
			}
			// Only a condition that holds ends a wait between evaluations, unless it was lending.
			ready := s.wait != explore.Lent && s.wait != explore.Lend
			m.returned(next, ready, func(next waiterState) { take("sleeper: "+line, next) })
		})
}

// returned goes on with the next value when the wait has returned.
func (m waiterModel) returned(s waiterState, ready bool, take func(waiterState)) {
	switch {
	case s.wait != explore.Awake:
		take(s)
	case m.kind == explore.Lending:
		m.worked(s, ready, take)
	default:
		if ready {
			s.taken++
		}
		if s.done = s.taken == m.total(); !s.done {
			s.wait, s.late = explore.Poll, false
			if s.kind = explore.Plain; ready {
				s.kind = m.kind
			}
		}
		take(s)
	}
}

// worked is what a lending sleeper does on its own account after a wait, up to the next one.
func (m waiterModel) worked(s waiterState, ready bool, take func(waiterState)) {
	s.wait = explore.Poll
	switch {
	case s.kind == explore.Plain: // there is room
		s.kind, s.staged = explore.Lending, false
	case s.staged: // what a turn could not push
		s.kind = explore.Plain
	case !ready: // it was lent, or woken: look for input
	case s.published > s.taken:
		s.taken += min(m.turn, s.published-s.taken)
		if s.blocks > 0 {
			blocked := s.blocked()
			blocked.kind = explore.Plain
			take(blocked)
		}
	default:
		s.wait, s.done = explore.Awake, true
	}
	take(s)
}

// blocked finds no room for what was taken.
func (s waiterState) blocked() waiterState {
	s.full, s.staged = true, true
	s.blocks--
	return s
}

// waker is: for each publication { publish; Wake or Call }, and with Lending { close; Wake }.
func (m waiterModel) waker(s waiterState, i int, take func(string, waiterState)) {
	name := "waker " + string(rune('A'+i)) + ": "
	switch {
	case s.waking[i] == explore.Turn:
		m.turnStep(s, i, name, take)
		return
	case s.waking[i] != explore.Woken:
		s.Wake(s.waking[i], m.broken, func(line string, w explore.Waiter, p explore.Wake) {
			next := s
			next.Waiter, next.waking[i] = w, p
			take(name+line, next)
		})
		return
	case s.left[i] == 0:
		// Without haste a lost wake-up shows: nobody comes and makes it good.
		if s.open[i] && (m.hasty || s.taken == m.total() && !s.staged) {
			s.open[i], s.waking[i] = false, explore.Look
			take(name+"closes", s)
		}
		return
	}
	if m.earlyWake && !s.woke[i] {
		s.woke[i], s.waking[i] = true, explore.Look
		take(name+"wakes before it publishes", s)
		return
	}
	n := min(max(m.push, 1), s.left[i])
	s.left[i] -= n
	s.published += n
	s.woke[i] = false
	if !m.noWake && !m.earlyWake {
		s.waking[i] = explore.Look
		if m.calls[i] {
			s.waking[i] = explore.LookCall
		}
	}
	take(name+"publishes", s)
}

// turnStep is the sleeper's work on a waker's account: take; then return !pushed || ready.
func (m waiterModel) turnStep(s waiterState, i int, name string, take func(string, waiterState)) {
	if !s.took[i] {
		n := min(m.turn, s.published-s.taken)
		s.taken += n
		s.took[i] = true
		if n > 0 && s.blocks > 0 {
			blocked := s.blocked()
			take(name+"waiter.go:Call: if w.turn(at) // takes, and finds no room", blocked)
		}
		take(name+"waiter.go:Call: if w.turn(at) // takes", s)
		return
	}
	s.took[i] = false
	s.staged = s.staged && s.full
	s.waking[i] = explore.Turned(s.staged && !m.roomIgnored || m.ready(s) && !m.inputIgnored)
	take(name+"waiter.go:Call: if w.turn(at) // looks whether input is left", s)
}

// roomGiver makes room when there is none, and wakes for it.
func (m waiterModel) roomGiver(s waiterState, take func(string, waiterState)) {
	if s.room != explore.Woken {
		s.Wake(s.room, m.broken, func(line string, w explore.Waiter, p explore.Wake) {
			next := s
			next.Waiter, next.room = w, p
			take("receiver: "+line, next)
		})
	} else if s.full {
		s.full = false
		if !m.noRoomWake {
			s.room = explore.LookParked
		}
		take("receiver: gives room", s)
	}
}

var waiterConfigurations = map[string]waiterModel{
	"Wait":                       {values: [modelWakers]uint8{2, 2, 1}},
	"WaitUntil, never too late":  {values: [modelWakers]uint8{2, 2, 1}, kind: explore.Until},
	"WaitUntil, deadline passes": {values: [modelWakers]uint8{2, 2, 1}, kind: explore.Until, clock: true},

	"WaitLending, two callers": {
		values: [modelWakers]uint8{2, 2, 0}, kind: explore.Lending, calls: [modelWakers]bool{true, true}, turn: 1, blocks: 1},
	"WaitLending, two callers and a waker": {
		values: [modelWakers]uint8{1, 1, 1}, kind: explore.Lending, calls: [modelWakers]bool{true, true}, turn: 1},
	"WaitLending, turns that leave input": {
		values: [modelWakers]uint8{4, 2, 0}, kind: explore.Lending, calls: [modelWakers]bool{true, true}, push: 2, turn: 1, blocks: 1},
	"WaitLending, turns that take all, no room twice": {
		values: [modelWakers]uint8{4, 0, 1}, kind: explore.Lending, calls: [modelWakers]bool{true}, push: 2, turn: 9, blocks: 2},
	"WaitLending, an end in haste": {
		values: [modelWakers]uint8{2, 1, 1}, kind: explore.Lending, calls: [modelWakers]bool{true, true}, turn: 1, hasty: true},
}

func TestModelOfTheWaiter(t *testing.T) {
	steps := map[string]int{}
	for name, m := range waiterConfigurations {
		report, err := m.explore()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		t.Logf("%s: %d states", name, report.States)
		maps.Copy(steps, report.Steps)
	}
	code := explore.Code{Dirs: []string{"."}, Functions: explore.WaiterCode, Uninvolved: []string{"w.parks.Store", "w.parks.Load"}}
	for _, problem := range code.Compare(steps) {
		t.Error(problem)
	}
}

// A turn may leave input behind without saying so only if the wake-up for it is still to come. That holds when
// every turn takes as much as its caller has published; then others' calls or marks are on their way for the rest.
func TestModelOfTheWaiterInputLeftForACallToCome(t *testing.T) {
	m := waiterConfigurations["WaitLending, two callers"]
	m.inputIgnored = true
	if _, err := m.explore(); err != nil {
		t.Error(err)
	}
}

// The explorer finds what would go wrong without each part of the handshake.
func TestModelOfTheWaiterFindsEachFault(t *testing.T) {
	smallFirst := slices.SortedFunc(maps.Values(waiterConfigurations), func(a, b waiterModel) int { return cmp.Compare(a.total(), b.total()) })
	for name, breakIt := range map[string]func(m *waiterModel){
		"no wake-up":                func(m *waiterModel) { m.noWake = true },
		"wake-up before publishing": func(m *waiterModel) { m.earlyWake = true },
		"condition not evaluated after Store(parked)": func(m *waiterModel) { m.broken.NoRecheck = true },
		"Store(parked) after the condition":           func(m *waiterModel) { m.broken.LateStore = true },
		"token of a faster waker not taken":           func(m *waiterModel) { m.broken.TokenLeft = true },
		"the same after a time-out":                   func(m *waiterModel) { m.broken.LateLeft = true },
		"wakers do not agree who wakes":               func(m *waiterModel) { m.broken.NoCAS = true },
		"parked left set by a sleeper that goes on":   func(m *waiterModel) { m.broken.NeverRetract = true },

		"lendable without looking again":                 func(m *waiterModel) { m.broken.LendBlind = true },
		"lendable stored, a waker in between is lost":    func(m *waiterModel) { m.broken.LendStored = true },
		"WaitLending leaves the token of a faster waker": func(m *waiterModel) { m.broken.LendTokenLeft = true },
		"WaitLending returns without a token":            func(m *waiterModel) { m.broken.LendNoWait = true },
		"Wake ignores lent":                              func(m *waiterModel) { m.broken.LentIgnored = true },
		"callers do not agree who borrows":               func(m *waiterModel) { m.broken.BorrowNoCAS = true },
		"Call stores lendable, called or not":            func(m *waiterModel) { m.broken.ReturnStored = true },
		"handed back without a token":                    func(m *waiterModel) { m.broken.KeepToken = true },
		"a turn does not say that input is left":         func(m *waiterModel) { m.inputIgnored = true },
		"a turn does not say that room is missing":       func(m *waiterModel) { m.roomIgnored = true },
		"WakeParked does not wake":                       func(m *waiterModel) { m.noRoomWake = true },
	} {
		found := false
		for _, m := range smallFirst {
			breakIt(&m)
			_, err := m.explore()
			if v := new(explore.Violation); errors.As(err, &v) {
				t.Logf("%s: %v", name, err)
				found = true
				break
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if !found {
			t.Errorf("%s: not found", name)
		}
	}
}
