package torch

import (
	"errors"
	"fmt"
	"math"

	"plasticity/cgo"
)

// errLength says that a slice does not fit a shape.
func errLength(n int, shape []int) error { return fmt.Errorf("%d values for shape %v", n, shape) }

// dims checks a shape and gives it as the border wants it.
func dims(shape []int) ([]int64, int, error) {
	if len(shape) > cgo.MaxRank {
		return nil, 0, fmt.Errorf("shape %v has more than %d dimensions", shape, cgo.MaxRank)
	}
	out, n := make([]int64, len(shape)), 1
	for i, d := range shape {
		if d < 0 || (d > 0 && n > math.MaxInt32*64/d) {
			return nil, 0, fmt.Errorf("shape %v is not possible", shape)
		}
		out[i], n = int64(d), n*d
	}
	return out, n, nil
}

// FromFloat32 copies data into a new float32 tensor.
func (s *Scope) FromFloat32(data []float32, shape ...int) *Tensor {
	d, n, err := dims(shape)
	if err == nil && n != len(data) {
		err = errLength(len(data), shape)
	}
	if err != nil {
		s.fail("FromFloat32", err)
	}
	if !s.ready("FromFloat32") {
		return s.dead
	}
	r, err := cgo.FromFloat32(data, d)
	return s.own("FromFloat32", r, err)
}

// FromInt32 copies token ids into a new int64 tensor. Targets may hold −1, which a loss leaves out;
// whoever uses the ids checks them against the vocabulary.
func (s *Scope) FromInt32(data []int32, shape ...int) *Tensor {
	d, n, err := dims(shape)
	if err == nil && n != len(data) {
		err = errLength(len(data), shape)
	}
	if err != nil {
		s.fail("FromInt32", err)
	}
	if !s.ready("FromInt32") {
		return s.dead
	}
	r, err := cgo.FromIDs(data, -1, math.MaxInt32, d)
	return s.own("FromInt32", r, err)
}

// Zeros is a new tensor of zeros.
func (s *Scope) Zeros(dtype DType, shape ...int) *Tensor {
	d, _, err := dims(shape)
	if err != nil {
		s.fail("Zeros", err)
	}
	if !s.ready("Zeros") {
		return s.dead
	}
	r, err := cgo.Zeros(dtype, d)
	return s.own("Zeros", r, err)
}

// Float32s copies t's elements out, in row-major order; nil after a failure.
func (s *Scope) Float32s(t *Tensor) []float32 {
	if !s.ready("Float32s", t) {
		return nil
	}
	data := make([]float32, t.Numel())
	if err := cgo.ToFloat32(t.handle, data); err != nil {
		s.fail("Float32s", err, t)
		return nil
	}
	return data
}

// Int64s copies the elements of an int64 tensor out; nil after a failure.
func (s *Scope) Int64s(t *Tensor) []int64 {
	if !s.ready("Int64s", t) {
		return nil
	}
	data := make([]int64, t.Numel())
	if err := cgo.ToInt64(t.handle, data); err != nil {
		s.fail("Int64s", err, t)
		return nil
	}
	return data
}

// Item is the value of a tensor with one element; NaN after a failure.
func (s *Scope) Item(t *Tensor) float64 {
	if s.ready("Item", t) && t.Numel() != 1 {
		s.fail("Item", errors.New("the tensor has more or fewer than one element"), t)
	}
	values := s.Float32s(t)
	if len(values) != 1 {
		return math.NaN()
	}
	return float64(values[0])
}

// Add is a + b, broadcast.
func (s *Scope) Add(a, b *Tensor) *Tensor { return s.binary("Add", cgo.Add, a, b) }

// Sub is a − b, broadcast.
func (s *Scope) Sub(a, b *Tensor) *Tensor { return s.binary("Sub", cgo.Sub, a, b) }

// Mul is a · b elementwise, broadcast.
func (s *Scope) Mul(a, b *Tensor) *Tensor { return s.binary("Mul", cgo.Mul, a, b) }

// MatMul is the product over the last two dimensions.
func (s *Scope) MatMul(a, b *Tensor) *Tensor { return s.binary("MatMul", cgo.MatMul, a, b) }

func (s *Scope) binary(op string, f func(bool, cgo.Tensor, cgo.Tensor) (cgo.Result, error), a, b *Tensor) *Tensor {
	if !s.ready(op, a, b) {
		return s.dead
	}
	r, err := f(s.grad, a.handle, b.handle)
	return s.own(op, r, err, a, b)
}

// Scale is a times a number.
func (s *Scope) Scale(a *Tensor, factor float64) *Tensor {
	if !s.ready("Scale", a) {
		return s.dead
	}
	r, err := cgo.Scale(s.grad, a.handle, factor)
	return s.own("Scale", r, err, a)
}

// Reshape gives the elements new dimensions; the number of elements stays.
func (s *Scope) Reshape(t *Tensor, shape ...int) *Tensor {
	if !s.ready("Reshape", t) {
		return s.dead
	}
	d, n, err := dims(shape)
	if err == nil && n != t.Numel() {
		err = errLength(t.Numel(), shape)
	}
	if err != nil {
		s.fail("Reshape", err, t)
		return s.dead
	}
	r, err := cgo.Reshape(s.grad, t.handle, d)
	return s.own("Reshape", r, err, t)
}

// Transpose swaps dimensions i and j.
func (s *Scope) Transpose(t *Tensor, i, j int) *Tensor {
	if !s.ready("Transpose", t) {
		return s.dead
	}
	r, err := cgo.Transpose(s.grad, t.handle, i, j)
	return s.own("Transpose", r, err, t)
}

// Narrow is a view of indices start … start+length−1 of a dimension.
func (s *Scope) Narrow(t *Tensor, dim, start, length int) *Tensor {
	if !s.ready("Narrow", t) {
		return s.dead
	}
	r, err := cgo.Narrow(s.grad, t.handle, dim, int64(start), int64(length))
	return s.own("Narrow", r, err, t)
}

// Cat joins tensors along a dimension.
func (s *Scope) Cat(dim int, tensors ...*Tensor) *Tensor {
	if !s.ready("Cat", tensors...) {
		return s.dead
	}
	handles := make([]cgo.Tensor, len(tensors))
	for i, t := range tensors {
		handles[i] = t.handle
	}
	r, err := cgo.Cat(s.grad, handles, dim)
	return s.own("Cat", r, err, tensors...)
}

// To converts the elements to another type.
func (s *Scope) To(t *Tensor, dtype DType) *Tensor {
	if !s.ready("To", t) {
		return s.dead
	}
	r, err := cgo.ToDType(s.grad, t.handle, dtype)
	return s.own("To", r, err, t)
}

// Sum adds all elements, in float32.
func (s *Scope) Sum(t *Tensor) *Tensor { return s.unary("Sum", cgo.Sum, t) }

// Softmax normalises over the last dimension, in float32.
func (s *Scope) Softmax(t *Tensor) *Tensor { return s.unary("Softmax", cgo.Softmax, t) }

// LogSoftmax is the logarithm of Softmax, in float32.
func (s *Scope) LogSoftmax(t *Tensor) *Tensor { return s.unary("LogSoftmax", cgo.LogSoftmax, t) }

func (s *Scope) unary(op string, f func(bool, cgo.Tensor) (cgo.Result, error), t *Tensor) *Tensor {
	if !s.ready(op, t) {
		return s.dead
	}
	r, err := f(s.grad, t.handle)
	return s.own(op, r, err, t)
}

// CopyInto writes src into dst along dim from index start on, outside autograd: a cache that grows.
func (s *Scope) CopyInto(dst *Tensor, dim, start int, src *Tensor) {
	if !s.ready("CopyInto", dst, src) {
		return
	}
	if err := cgo.CopySlice(dst.handle, dim, int64(start), src.handle); err != nil {
		s.fail("CopyInto", err, dst, src)
	}
}

// Backward adds the gradient of loss, a single element, to every leaf it depends on.
func (s *Scope) Backward(loss *Tensor) {
	if !s.ready("Backward", loss) {
		return
	}
	if err := cgo.Backward(loss.handle); err != nil {
		s.fail("Backward", err, loss)
	}
}
