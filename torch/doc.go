// Package torch holds tensors the Go way: a [Scope] owns every tensor made in it, carries the
// first error, and frees everything when it closes.
//
//	s := torch.NewScope()
//	defer s.Close()
//	y := s.Linear(s.RMSNorm(x, gain, 1e-5, torch.BFloat16), weight)
//	if err := s.Err(); err != nil { … }
//
// Operations are methods of the scope, so ownership shows in every line. After the first failure
// the scope's operations do nothing and return a tensor that no operation reads; Err names the
// operation and its shapes. What must outlive its scope leaves it through [Scope.Keep] and is
// then closed by its new owner. [Live] counts the native handles that are out.
//
// [Engine] is the other way to compute: a whole training step in one crossing, over [Flat] buffers.
//
// The package may import cgo and record; nothing of models, configs or files. Its subpackages are
// nn (parameters and layers), optim (AdamW), safetensors (the file format, without libtorch) and
// torchtest (checks for tests).
package torch
