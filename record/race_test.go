//go:build race

package record_test

// raceEnabled tells the long sweeps that the race detector makes everything about ten times slower.
const raceEnabled = true
