// Package trainer is the loop and nothing else: batches in, updates, evaluation, checkpoints,
// events out. Pretraining is the loop over shards; what a step computes is behind [Stepper], so
// that the readable reference and a hand-written engine are the same to the loop.
//
// A run is a folder (package record). Train locks it, decides whether to start or to go on,
// trains, and marks it DONE last. Between two optimizer steps everything that the next one depends
// on is in the weights, the two moments and one integer: schedules and data order are pure functions
// of the step. So a run that was killed and started again ends with the same bits.
//
// Errors carry exit codes (record.Failure): 64 config, 65 data or checkpoint, 75 stopped with a
// valid checkpoint, 76 not finite, 77 owned by another process, 78 the checkpoint does not match.
//
// The package may import analyze/lowrank, eval, model, torch and its subpackages, config, data, data/task and record.
package trainer
