// Package safetensors reads and writes the file format of Hugging Face models: a header of JSON that names tensors, then
// their bytes. It is pure Go and knows nothing of libtorch.
//
//	f, err := safetensors.OpenFolder(dir)      // model.safetensors, or the shards its index names
//	defer f.Close()
//	for _, e := range f.Tensors() { … e.Name, e.DType, e.Shape … }
//	values, err := f.Float32("model.norm.weight")
//
// A reader trusts nothing: the header is parsed as a stream, without ever lying in memory as a whole; names, types, shapes and
// offsets are checked against each other and against the file's size before anything is allocated for a tensor; data has
// neither holes nor overlaps. NaN and infinity are values like others: whether they are welcome is for the caller to say.
// Every error is a record.Failure, BadData when the file is at fault, and names file, tensor, field, value and remedy.
//
// Written bytes depend on nothing but the tensors, and are those that the library safetensors itself writes for them.
//
// The package may import record.
package safetensors
