//go:build faults

package faults

// The table of scenarios, in the order of docs/reliability.md.

import "slices"

func cells() []cell {
	return slices.Concat(plainCells(), processCells(), brokerCells(), answerCells(), networkCells(), topicCells(), embeddedCells(),
		shareCells(), subscribeCells(), overloadCells(), drainCells())
}
