package torch

import (
	"fmt"
	"strings"

	"plasticity/cgo"
)

// DType is the element type of a tensor.
type DType = cgo.DType

// The element types.
const (
	Float32  = cgo.Float32
	BFloat16 = cgo.BFloat16
	Int64    = cgo.Int64
)

// Tensor is a native tensor with its type and shape. It belongs to the scope that made it until
// [Scope.Keep] hands it over.
type Tensor struct {
	handle cgo.Tensor
	dtype  DType
	rank   int
	dims   [cgo.MaxRank]int64
	owner  *Scope // nil once kept or closed
	slot   int    // place among the owner's tensors
}

func newTensor(r cgo.Result) *Tensor {
	return &Tensor{handle: r.Tensor, dtype: r.DType, rank: r.Rank, dims: r.Dims}
}

// Shape is the size of each dimension, outermost first.
func (t *Tensor) Shape() []int {
	shape := make([]int, t.rank)
	for i := range shape {
		shape[i] = int(t.dims[i])
	}
	return shape
}

// Rank is the number of dimensions.
func (t *Tensor) Rank() int { return t.rank }

// Dim is the size of dimension i, 0 when there is no such dimension.
func (t *Tensor) Dim(i int) int {
	if i < 0 || i >= t.rank {
		return 0
	}
	return int(t.dims[i])
}

// Numel is the number of elements.
func (t *Tensor) Numel() int {
	n := 1
	for i := range t.rank {
		n *= int(t.dims[i])
	}
	return n
}

// DType is the type of the elements.
func (t *Tensor) DType() DType { return t.dtype }

// Close frees a kept tensor. It may be called more than once; a scope's own tensors are left to it.
func (t *Tensor) Close() {
	if t == nil || t.handle.IsNil() || t.owner != nil {
		return
	}
	cgo.Free(t.handle)
	t.handle = cgo.Tensor{}
}

// String gives type and shape, as error messages show them: f32[16 128 64].
func (t *Tensor) String() string {
	if t == nil {
		return "none"
	}
	return dtypeName(t.dtype) + strings.ReplaceAll(fmt.Sprint(t.Shape()), ",", "")
}

func dtypeName(d DType) string {
	switch d {
	case Float32:
		return "f32"
	case BFloat16:
		return "bf16"
	case Int64:
		return "i64"
	default:
		return fmt.Sprintf("dtype(%d)", d)
	}
}

// Live counts the native handles of the process, tensors and engines, that have not been freed.
func Live() int64 { return cgo.Live() }
