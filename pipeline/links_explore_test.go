//go:build !race

package pipeline

// The graphs that the model of the links is explored in, and the faults that must show in them.

import (
	"fmt"
	"testing"

	"github.com/event-gateway/event-gateway/ring/explore"
)

func linksConfigurations() map[string]linksModel {
	graphs := map[string]linksModel{
		"two stages":           {makes: [mostWorkers]uint8{4}, ends: [][2]int{{0, 1}}},
		"three stages":         {makes: [mostWorkers]uint8{3}, ends: [][2]int{{0, 1}, {1, 2}}},
		"two workers into one": {makes: [mostWorkers]uint8{2, 2}, ends: [][2]int{{0, 2}, {1, 2}}},
		"one worker to two":    {makes: [mostWorkers]uint8{4}, ends: [][2]int{{0, 1}, {0, 2}}},
	}
	all := map[string]linksModel{}
	for name, m := range graphs {
		for _, m.capacity = range []uint8{1, 2} {
			for _, m.burst = range []uint8{1, 2} {
				all[fmt.Sprintf("%s, rings of %d, bursts of %d", name, m.capacity, m.burst)] = m
			}
		}
	}
	for _, m := range []struct {
		graph          string
		capacity, made uint8
	}{{"three stages", 1, 1}, {"three stages", 2, 2}, {"two workers into one", 1, 1}, {"two workers into one", 2, 2}} {
		one := graphs[m.graph]
		one.capacity, one.burst, one.makes2, one.drained = m.capacity, 1, m.made == 2, true
		all[fmt.Sprintf("%s, rings of %d, bursts of %d and 1, drained", m.graph, m.capacity, m.made)] = one
	}
	// The whole pattern at once, as far as it goes in a second.
	all["whole pattern: three stages, two in the middle"] = linksModel{
		makes: [mostWorkers]uint8{2}, ends: [][2]int{{0, 1}, {0, 2}, {1, 3}, {2, 3}}, capacity: 1, burst: 2,
	}
	// Workers that decline turns: the wake-up must do instead.
	for _, name := range []string{"two stages, rings of 1, bursts of 1", "three stages, rings of 1, bursts of 2"} {
		m := all[name]
		m.declines = true
		all[name+", turns declined at will"] = m
	}
	return all
}

func TestModelOfTheLinks(t *testing.T) {
	holds(t, linksConfigurations(), explore.Code{
		Dirs: modelDirs,
		Functions: []string{"spsc.go:Free", "spsc.go:Push", "spsc.go:Close", "spsc.go:Len", "spsc.go:Pop", "spsc.go:Drained",
			"links.go:take", "links.go:ready", "links.go:drained", "links.go:push", "links.go:room", "links.go:flush", "links.go:close",
			"worker.go:stageLoop", "worker.go:turn"},
	})
}

func TestModelOfTheLinksFindsEachFault(t *testing.T) {
	findEach(t, linksConfigurations(), map[string]func(*linksModel){
		"push does not wake":                   func(m *linksModel) { m.pushSilent = true },
		"take does not wake":                   func(m *linksModel) { m.takeSilent = true },
		"take wakes while the ring is full":    func(m *linksModel) { m.takeTooLate = true },
		"take wakes before it gives back":      func(m *linksModel) { m.takeEarly = true },
		"close does not wake":                  func(m *linksModel) { m.closeSilent = true },
		"Drained looks at the length first":    func(m *linksModel) { m.lengthFirst = true },
		"ready looks at the first inlet only":  func(m *linksModel) { m.oneInlet = true },
		"a worker returns without close":       func(m *linksModel) { m.noClose = true },
		"a worker does not wait for room":      func(m *linksModel) { m.noFlush = true },
		"no look after Store(parked)":          func(m *linksModel) { m.broken.NoRecheck = true },
		"Store(parked) after the condition":    func(m *linksModel) { m.broken.LateStore = true },
		"token of a faster waker is not taken": func(m *linksModel) { m.broken.TokenLeft = true },

		"a turn keeps what it could not push":            func(m *linksModel) { m.roomIgnored = true },
		"a turn does not say that input is left":         func(m *linksModel) { m.leftIgnored = true },
		"what a turn could not push is not flushed":      func(m *linksModel) { m.noLentFlush = true },
		"lendable without looking again":                 func(m *linksModel) { m.broken.LendBlind = true },
		"lendable stored, a waker in between is lost":    func(m *linksModel) { m.broken.LendStored = true },
		"WaitLending leaves the token of a faster waker": func(m *linksModel) { m.broken.LendTokenLeft = true },
		"WaitLending returns without a token":            func(m *linksModel) { m.broken.LendNoWait = true },
		"Wake ignores lent":                              func(m *linksModel) { m.broken.LentIgnored = true },
		"callers do not agree who borrows":               func(m *linksModel) { m.broken.BorrowNoCAS = true },
		"Call stores lendable, called or not":            func(m *linksModel) { m.broken.ReturnStored = true },
		"handed back without a token":                    func(m *linksModel) { m.broken.KeepToken = true },
	})
}
