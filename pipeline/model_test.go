//go:build !race && !poison

package pipeline

// What the models of the lane and of the links share.

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/event-gateway/event-gateway/ring/explore"
)

// modelDirs are where the code is that the models quote.
var modelDirs = []string{".", "../ring"}

// explorable is a model in one configuration.
type explorable interface {
	explore() (explore.Report, error)
}

// findEach breaks the configurations in one way after the other: each must show in one of them at least.
func findEach[M explorable](t *testing.T, configurations map[string]M, faults map[string]func(*M)) {
	t.Helper()
	for name, breakIt := range faults {
		found := false
		for _, configuration := range slices.Sorted(maps.Keys(configurations)) {
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
