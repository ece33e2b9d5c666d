package transform

import (
	"errors"
	"testing"
	"time"
)

// A bound in steps is the same on a slow machine, where each step looks at the clock, and whatever the steps come by.
func TestMostStepsDoNotDependOnTheClock(t *testing.T) {
	for name, each := range map[string]func(m *meter) error{
		"step":         func(m *meter) error { return m.step() },
		"step, slowly": func(m *meter) error { m.slow = true; return m.step() },
		"work":         func(m *meter) error { return m.work(1) },
	} {
		m := meter{most: 1000}
		m.startAt(time.Hour, clock())
		n := 1
		for ; each(&m) == nil && n < 10_000; n++ {
		}
		if n != 1024 || !errors.Is(m.spent, errLimit) || m.late {
			t.Errorf("%s: %d steps, %v", name, n, m.spent)
		}
	}
	var m meter // rules have time alone
	m.startAt(time.Hour, clock())
	for range 2_000_000 {
		if err := m.step(); err != nil {
			t.Fatal(err)
		}
	}
}
