//go:build race

package schema

// raceEnabled: the race detector is on, which makes computing some ten times as slow.
const raceEnabled = true
