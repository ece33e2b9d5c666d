package explore

// The explorer on protocols whose faults are known by heart.

import (
	"errors"
	"strings"
	"testing"
)

// mutex is two goroutines that enter a section with a flag each (Peterson's algorithm, and without the turn).
type mutex struct {
	flag [2]bool
	turn uint8
	pc   [2]uint8 // 0 outside, 1 flag set, 2 turn given, 3 inside, 4 done
}

func mutexModel(peterson bool) Model[mutex] {
	return Model[mutex]{
		Steps: func(s mutex, take func(string, mutex)) {
			for i := range s.pc {
				next, who := s, "AB"[i:i+1]
				next.pc[i]++
				switch s.pc[i] {
				case 0:
					next.flag[i] = true
					take(who+" raises its flag", next)
				case 1:
					next.turn = uint8(1 - i)
					take(who+" lets the other go first", next)
				case 2:
					if !s.flag[1-i] || peterson && s.turn == uint8(i) {
						take(who+" enters", next)
					} else {
						take(who+" looks again", s)
					}
				case 3:
					next.flag[i] = false
					take(who+" leaves", next)
				}
			}
		},
		Bad: func(s mutex) string {
			if s.pc == [2]uint8{3, 3} {
				return "both are inside"
			}
			return ""
		},
		End: func(s mutex) bool { return s.pc == [2]uint8{4, 4} },
	}
}

func TestExplore(t *testing.T) {
	report, err := mutexModel(true).Explore(1000)
	if err != nil || report.States < 10 || report.Steps["A enters"] == 0 {
		t.Errorf("Peterson: %+v, %v", report, err)
	}
	// Without the turn both wait for each other, looking again and again: no deadlock, but no end either.
	_, err = mutexModel(false).Explore(1000)
	if err == nil || !strings.Contains(err.Error(), "the end cannot be reached any more, after 2 steps") {
		t.Errorf("without the turn: %v", err)
	}
	if _, err = mutexModel(true).Explore(5); err == nil || !strings.Contains(err.Error(), "more than 5 states") {
		t.Errorf("bounded: %v", err)
	}
}

func TestExploreFindsTheShortestTrace(t *testing.T) {
	m := mutexModel(true)
	m.Bad = func(s mutex) string {
		if s.pc[1] == 3 {
			return "B is inside"
		}
		return ""
	}
	_, err := m.Explore(1000)
	var v *Violation
	if !errors.As(err, &v) || strings.Join(v.Trace, ", ") != "B raises its flag, B lets the other go first, B enters" {
		t.Errorf("%v", err)
	}
	m.Bad, m.End = func(mutex) string { return "" }, func(mutex) bool { return false }
	if _, err := m.Explore(1000); err == nil || !strings.Contains(err.Error(), "nobody can go on, and it is not the end") {
		t.Errorf("stuck: %v", err)
	}
}

// Models notice when the code moves away from them.
func TestCompare(t *testing.T) {
	steps := map[string]int{
		"waker: waiter.go:Wake: switch s := w.state.Load(); s {": 1, "waker: waiter.go: w.token <- struct{}{} // remark": 1,
		"waker: waiter.go: w.state.Store(7)": 1, "waker: publishes": 1,
	}
	got := strings.Join(Code{Dirs: []string{".", ".."}, Functions: []string{"waiter.go:Wake"}}.Compare(steps), "\n")
	for _, want := range []string{
		`the model has a step "w.state.Store(7)" that the code has not`,
		`no step of the model stands for "w.state.CompareAndSwap("`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if strings.Contains(got, "w.token") || strings.Contains(got, `"switch s := w.state.Load`) {
		t.Errorf("steps that the code has:\n%s", got)
	}
	if len(Code{Dirs: []string{".."}, Functions: []string{"waiter.go:Gone", "gone.go:x"}}.Compare(nil)) != 2 {
		t.Error("functions and files that are gone are not reported")
	}
}
