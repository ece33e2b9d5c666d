package pipeline

// On how many processors, and how often, the tests of interleavings run.

import (
	"os"
	"runtime"
	"testing"
)

// processors are the values of GOMAXPROCS that a test of interleavings runs at: 1, where a waiter that spins starves its
// peer, and 4. Who sets GOMAXPROCS, as `make test` does in its passes, chooses.
func processors() []int {
	if os.Getenv("GOMAXPROCS") != "" {
		return []int{runtime.GOMAXPROCS(0)}
	}
	return []int{1, 4}
}

// rounds is how often a test with random shapes or troubles runs. The race detector makes a round about eight times as
// slow, and looks at what happens before what, which is much the same in each.
func rounds(all, short int) int {
	switch {
	case testing.Short():
		return short
	case raceEnabled:
		return all / 4
	}
	return all
}
