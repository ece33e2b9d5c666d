//go:build !race

package ring

// The sleep handshake in every interleaving: one sleeper, several wakers, each
// publishing values and waking. The steps are in explore/waiter.go. Nothing here
// runs concurrently, so there is nothing for the race detector.

import (
	"errors"
	"maps"
	"testing"

	"github.com/event-gateway/event-gateway/ring/explore"
)

const modelWakers = 3

// waiterState: the wakers publish values one by one, the sleeper takes each and waits for the next.
type waiterState struct {
	explore.Waiter
	published, taken uint8
	until            bool // the present wait is a WaitUntil
	late             bool // and its deadline has passed
	early            bool // the timer may fire once before its time
	wait             explore.Wait
	waking           [modelWakers]explore.Wake
	woke             [modelWakers]bool  // only with earlyWake: it has woken for what it publishes next
	left             [modelWakers]uint8 // what each waker has still to publish
}

// waiterModel is one configuration.
type waiterModel struct {
	values [modelWakers]uint8 // what each waker publishes
	until  bool               // WaitUntil, and Wait where it has given up
	clock  bool               // the deadline may pass; if not, only a wake-up ends a wait
	broken explore.Broken
	// The waker broken: it does not wake, or before it publishes.
	noWake, earlyWake bool
}

func (m waiterModel) total() (n uint8) {
	for _, v := range m.values {
		n += v
	}
	return n
}

func (m waiterModel) explore() (explore.Report, error) {
	return explore.Model[waiterState]{
		Start: waiterState{left: m.values, until: m.until, early: m.clock, wait: explore.Poll},
		Steps: func(s waiterState, take func(string, waiterState)) {
			m.sleeper(s, take)
			for i := range s.left {
				m.waker(s, i, take)
			}
			if s.until && !s.late && m.clock {
				s.late = true
				take("clock: the deadline passes", s)
			}
		},
		Bad: func(s waiterState) string {
			if s.Token > 0 && (s.wait == explore.Awake || s.wait == explore.Poll || s.wait == explore.Sleep) {
				return "a stale token is left for the next park"
			}
			return ""
		},
		End: func(s waiterState) bool {
			return s.taken == m.total() && s.AtRest() && s.left == [modelWakers]uint8{} && s.waking == [modelWakers]explore.Wake{}
		},
	}.Explore(2_000_000)
}

// sleeper is: for taken < total { wait until published > taken; taken++ }.
func (m waiterModel) sleeper(s waiterState, take func(string, waiterState)) {
	if s.wait == explore.Awake {
		return // it has everything
	}
	if s.wait.Evaluates() {
		ready, line := s.published > s.taken, "waiter.go: if ready() {"
		if s.wait == explore.Again || s.wait == explore.Last {
			line = "waiter.go: return ready()"
		}
		s.wait = s.wait.Evaluated(ready, s.until, m.broken)
		take("sleeper: "+line, m.returned(s, ready))
		return
	}
	s.Wait(s.wait, s.until && (s.late || s.early), s.late, m.broken, func(line string, w explore.Waiter, p explore.Wait) {
		next := s
		next.Waiter, next.wait = w, p
		if p == explore.TimedOut && !s.late {
			next.early = false
		}
		take("sleeper: "+line, m.returned(next, true)) // only a condition that holds ends a wait between evaluations
	})
}

// returned goes on with the next value when the wait has returned.
func (m waiterModel) returned(s waiterState, ready bool) waiterState {
	if s.wait != explore.Awake {
		return s
	}
	if ready {
		s.taken++
	}
	if s.taken < m.total() {
		s.wait, s.until, s.late = explore.Poll, m.until && ready, false
	}
	return s
}

// waker is: for each value { publish; Wake }.
func (m waiterModel) waker(s waiterState, i int, take func(string, waiterState)) {
	name := "waker " + string(rune('A'+i)) + ": "
	if s.waking[i] != explore.Woken {
		s.Waiter.Wake(s.waking[i], m.broken, func(line string, w explore.Waiter, p explore.Wake) {
			next := s
			next.Waiter, next.waking[i] = w, p
			take(name+line, next)
		})
		return
	}
	if s.left[i] == 0 {
		return
	}
	if m.earlyWake && !s.woke[i] {
		s.woke[i], s.waking[i] = true, explore.Look
		take(name+"wakes before it publishes", s)
		return
	}
	s.left[i]--
	s.published++
	s.woke[i] = false
	if !m.noWake && !m.earlyWake {
		s.waking[i] = explore.Look
	}
	take(name+"publishes", s)
}

var waiterConfigurations = map[string]waiterModel{
	"Wait":                       {values: [modelWakers]uint8{2, 2, 1}},
	"WaitUntil, never too late":  {values: [modelWakers]uint8{2, 2, 1}, until: true},
	"WaitUntil, deadline passes": {values: [modelWakers]uint8{2, 2, 1}, until: true, clock: true},
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

// The explorer finds what would go wrong without each part of the handshake.
func TestModelOfTheWaiterFindsEachFault(t *testing.T) {
	for name, breakIt := range map[string]func(m *waiterModel){
		"no wake-up":                func(m *waiterModel) { m.noWake = true },
		"wake-up before publishing": func(m *waiterModel) { m.earlyWake = true },
		"condition not evaluated after sleeping.Store": func(m *waiterModel) { m.broken.NoRecheck = true },
		"sleeping.Store after the condition":           func(m *waiterModel) { m.broken.LateStore = true },
		"token of a faster waker not taken":            func(m *waiterModel) { m.broken.TokenLeft = true },
		"the same after a time-out":                    func(m *waiterModel) { m.broken.LateLeft = true },
		"wakers do not agree who wakes":                func(m *waiterModel) { m.broken.NoCAS = true },
		"sleeping left set by a sleeper that goes on":  func(m *waiterModel) { m.broken.NeverRetract = true },
	} {
		found := 0
		for _, m := range waiterConfigurations {
			breakIt(&m)
			_, err := m.explore()
			if v := new(explore.Violation); errors.As(err, &v) {
				if found++; found == 1 {
					t.Logf("%s: %v", name, err)
				}
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if found == 0 {
			t.Errorf("%s: not found", name)
		}
	}
}
