//go:build !race && !poison

package pipeline

// The graphs that the model of the links is explored in, and the faults that must show in them.

import (
	"fmt"
	"maps"
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
	// The whole pattern at once, as far as it goes in a second.
	all["three stages, two in the middle"] = linksModel{
		makes: [mostWorkers]uint8{2}, ends: [][2]int{{0, 1}, {0, 2}, {1, 3}, {2, 3}}, capacity: 1, burst: 2,
	}
	return all
}

func TestModelOfTheLinks(t *testing.T) {
	steps := map[string]int{}
	for name, m := range linksConfigurations() {
		report, err := m.explore()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		t.Logf("%s: %d states", name, report.States)
		maps.Copy(steps, report.Steps)
	}
	code := explore.Code{
		Dirs: modelDirs,
		Functions: []string{"spsc.go:Free", "spsc.go:Push", "spsc.go:Close", "spsc.go:Len", "spsc.go:Pop", "spsc.go:Drained",
			"links.go:take", "links.go:ready", "links.go:drained", "links.go:push", "links.go:room", "links.go:flush", "links.go:close",
			"worker.go:stageLoop"},
	}
	for _, problem := range code.Compare(steps) {
		t.Error(problem)
	}
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
		"no look after sleeping.Store":         func(m *linksModel) { m.broken.NoRecheck = true },
		"sleeping.Store after the condition":   func(m *linksModel) { m.broken.LateStore = true },
		"token of a faster waker is not taken": func(m *linksModel) { m.broken.TokenLeft = true },
	})
}
