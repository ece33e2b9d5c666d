//go:build race

package ring

// raceEnabled scales the torture tests: the race detector makes them 5 to 20 times slower.
const raceEnabled = true
