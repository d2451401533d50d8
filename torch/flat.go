package torch

import (
	"fmt"

	"plasticity/cgo"
)

// Flat is a one-dimensional buffer that lives until Close: parameters, gradients and moments lie in
// such buffers, one behind the other, and are read and written by range.
//
// A buffer counts what changes its values, so that an [Engine], which keeps copies of them, can tell
// whether its copies are the newest: nobody who writes parameters has to remember that there is one.
type Flat struct {
	tensor  *Tensor
	changes uint64
}

// NewFlat makes a buffer of n zeros, float32 or bfloat16.
func NewFlat(dtype DType, n int64) (*Flat, error) {
	r, err := cgo.Zeros(dtype, []int64{n})
	if err != nil {
		return nil, wrap("NewFlat", fmt.Errorf("%d elements: %w", n, err))
	}
	return &Flat{tensor: newTensor(r)}, nil
}

// NewFlatOn is NewFlat in a CUDA device's memory, or on the host for CPU.
func NewFlatOn(device int, dtype DType, n int64) (*Flat, error) {
	if device == CPU {
		return NewFlat(dtype, n)
	}
	r, err := cgo.CUDAZeros(device, dtype, []int64{n})
	if err != nil {
		return nil, wrap("NewFlatOn", fmt.Errorf("%d elements on cuda:%d: %w", n, device, err))
	}
	return &Flat{tensor: newTensor(r)}, nil
}

// Close frees the buffer; views of it stay valid until they are closed.
func (f *Flat) Close() { f.tensor.Close() }

// Len is the number of elements.
func (f *Flat) Len() int64 { return f.tensor.dims[0] }

// Read copies the elements from offset on into data.
func (f *Flat) Read(offset int64, data []float32) error {
	return wrap("Flat.Read", cgo.ReadFloat32(f.tensor.handle, offset, data))
}

// Write overwrites the elements from offset on.
func (f *Flat) Write(offset int64, data []float32) error {
	f.changes++
	return wrap("Flat.Write", cgo.WriteFloat32(f.tensor.handle, offset, data))
}

// Zero sets every element to 0.
func (f *Flat) Zero() error {
	f.changes++
	return wrap("Flat.Zero", cgo.Fill(f.tensor.handle, 0))
}

// Norm is the Euclidean norm, the same for any number of threads.
func (f *Flat) Norm() (float64, error) {
	norm, err := cgo.FlatNorm(f.tensor.handle)
	return norm, wrap("Flat.Norm", err)
}

// RoundTo writes the bfloat16 copy of a float32 buffer.
func (f *Flat) RoundTo(copy16 *Flat) error {
	copy16.changes++
	return wrap("Flat.RoundTo", cgo.FlatRound(f.tensor.handle, copy16.tensor.handle))
}

// View is the range from offset on as a tensor of the given shape. The caller closes it.
func (f *Flat) View(offset int64, shape ...int) (*Tensor, error) {
	d, _, err := dims(shape)
	if err != nil {
		return nil, wrap("Flat.View", err)
	}
	r, err := cgo.FlatView(f.tensor.handle, offset, d)
	if err != nil {
		return nil, wrap("Flat.View", err)
	}
	return newTensor(r), nil
}

// Leaf is the same view as an autograd leaf; its gradient is added to that range of grads.
func (f *Flat) Leaf(grads *Flat, offset int64, shape ...int) (*Tensor, error) {
	d, _, err := dims(shape)
	if err != nil {
		return nil, wrap("Flat.Leaf", err)
	}
	r, err := cgo.FlatLeaf(f.tensor.handle, grads.tensor.handle, offset, d)
	if err != nil {
		return nil, wrap("Flat.Leaf", err)
	}
	return newTensor(r), nil
}

// Segment is a stretch of the flat buffers with its own weight decay.
type Segment = cgo.Segment

// AdamW holds the numbers of one update.
type AdamW = cgo.AdamW

// AdamWStep updates params and the moments m and v from grads, and copy16 unless it is nil.
func AdamWStep(params, grads, m, v, copy16 *Flat, segments []Segment, o AdamW) error {
	var rounded cgo.Tensor
	if copy16 != nil {
		rounded = copy16.tensor.handle
	}
	for _, f := range []*Flat{params, m, v} {
		f.changes++
	}
	return wrap("AdamWStep", cgo.AdamWStep(params.tensor.handle, grads.tensor.handle,
		m.tensor.handle, v.tensor.handle, rounded, segments, o))
}
