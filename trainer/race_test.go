//go:build race

package trainer

// raceDetector says that the memory of this process is mostly the race detector's.
const raceDetector = true
