// Package eval measures and uses trained models: the validation loss on fixed windows, and text
// generation with a key/value cache.
//
// The package may import model, torch, data, config and record.
package eval
