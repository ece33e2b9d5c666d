//go:build !race

package pipeline

// What the models of the lane and of the links share.

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/event-gateway/event-gateway/ring/explore"
)

// modelDirs are where the code is that the models quote.
var modelDirs = []string{".", "../ring"}

// explorable is a model in one configuration.
type explorable interface {
	explore() (explore.Report, error)
	// size orders configurations: a larger one mostly has more states, up to a thousand times as many.
	size() int
}

// holds explores every configuration and holds the steps that were taken against the code.
func holds[M explorable](t *testing.T, configurations map[string]M, code explore.Code) {
	t.Helper()
	steps := map[string]int{}
	for name, m := range configurations {
		report, err := m.explore()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		t.Logf("%s: %d states", name, report.States)
		maps.Copy(steps, report.Steps)
	}
	for _, problem := range code.Compare(steps) {
		t.Error(problem)
	}
}

// findEach breaks the configurations in one way after the other: each must show in one of them at least. The small
// ones, which show most faults, come first.
func findEach[M explorable](t *testing.T, configurations map[string]M, faults map[string]func(*M)) {
	t.Helper()
	smallFirst := slices.SortedFunc(maps.Keys(configurations), func(a, b string) int {
		return cmp.Or(cmp.Compare(configurations[a].size(), configurations[b].size()), strings.Compare(a, b))
	})
	for name, breakIt := range faults {
		found := false
		for _, configuration := range smallFirst {
			m := configurations[configuration]
			breakIt(&m)
			_, err := m.explore()
			if v := new(explore.Violation); errors.As(err, &v) {
				t.Logf("%s: %s: %v", name, configuration, err)
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
