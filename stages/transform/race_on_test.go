//go:build race

package transform

// raceEnabled: the race detector is on, which makes computing some ten times as slow.
const raceEnabled = true
