// Package source finds a language model wherever it lies, in a run, a checkpoint or a Hugging Face folder, and reads what its
// folder says about it, in pure Go: no weight is read and no library loaded.
//
//	m, err := source.Locate(path, source.ToInspect)
//	f, err := m.OpenWeights()
//	defer f.Close()
//	q, err := f.Float32("model.layers.0.self_attn.q_proj.weight")
//
// source.go has the three places, hfconfig.go and hfwrite.go read and write Hugging Face's config.json, shape.go has the limits on a model's shape and values.
//
// The package may import config, data, record and torch/safetensors.
package source
