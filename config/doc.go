// Package config is the typed configuration of a run and of a grid of runs.
//
// A configuration is read strictly: unknown keys, wrong types, impossible values and contradictions are refused before
// anything starts, all of them at once, each with where it stands, its value, what is allowed and the nearest known key.
// What comes out is a plain value that nobody changes any more; viper stays inside this package.
//
// # Layers
//
// From the highest to the lowest:
//
//	flag         --set optimizer.lr=1e-3
//	environment  PLASTICITY_OPTIMIZER_LR=1e-3 (an empty variable counts as not set)
//	file         the YAML of --config
//	preset       the shape of the model that model.preset names
//	default      Defaults()
//
// Some keys exclude each other: optimizer.weight_decay and optimizer.tau; budget.tokens, budget.tpp, budget.steps and budget.epochs. One
// layer may set one of them only; a layer that sets one removes the others from the layers below it, so that
// --set budget.steps=10 replaces a file's budget.tpp.
//
// # Values
//
// Numbers are decimal: no hexadecimal, octal, underscores, infinities or NaN, and no quotes around them. A whole number
// may have an exponent (10e9). YAML anchors, aliases, tags and several documents in a file are refused. Paths
// (data.train, data.val, init) are relative to the current folder; the paths in a grid are relative to the grid file.
//
// # Use
//
//	run, err := config.Load(config.LoadOptions{File: "run.yaml", Sets: []string{"seed=2"}, Env: os.Environ()})
//	resolved, err := run.Resolve(facts)
//	id := resolved.ID(facts, "")
//	lr, wd := resolved.LRAt(step), resolved.WDAt(step)
//
// It imports record and no other package of this module.
package config
