// Package eval measures and uses trained models: the validation loss on fixed windows, text
// generation with a key/value cache, and the log-likelihoods of continuations.
//
// The package may import model, torch, torch/nn, config, data, data/task, eval/metric and record.
package eval
