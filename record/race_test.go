//go:build race

package record_test

// raceEnabled reports that the race detector is on.
const raceEnabled = true
