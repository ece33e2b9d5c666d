//go:build !race

package pipeline

// raceEnabled: see rounds.
const raceEnabled = false
