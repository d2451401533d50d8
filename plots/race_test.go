//go:build race

package plots

// underRace tells that the race detector is on, which makes everything an order of magnitude slower.
const underRace = true
