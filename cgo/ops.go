package cgo

/*
#include <tgo.h>
#cgo noescape tgo_add
#cgo nocallback tgo_add
#cgo noescape tgo_sub
#cgo nocallback tgo_sub
#cgo noescape tgo_mul
#cgo nocallback tgo_mul
#cgo noescape tgo_scale
#cgo nocallback tgo_scale
#cgo noescape tgo_matmul
#cgo nocallback tgo_matmul
#cgo noescape tgo_reshape
#cgo nocallback tgo_reshape
#cgo noescape tgo_transpose
#cgo nocallback tgo_transpose
#cgo noescape tgo_narrow
#cgo nocallback tgo_narrow
#cgo noescape tgo_cat
#cgo nocallback tgo_cat
#cgo noescape tgo_to_dtype
#cgo nocallback tgo_to_dtype
#cgo noescape tgo_sum
#cgo nocallback tgo_sum
#cgo noescape tgo_softmax
#cgo nocallback tgo_softmax
#cgo noescape tgo_log_softmax
#cgo nocallback tgo_log_softmax
*/
import "C"

import "unsafe"

// Add is a + b, broadcast.
func Add(grad bool, a, b Tensor) (Result, error) {
	var out C.tgo_out
	return take(C.tgo_add(flag(grad), a.p, b.p, &out), &out)
}

// Sub is a − b, broadcast.
func Sub(grad bool, a, b Tensor) (Result, error) {
	var out C.tgo_out
	return take(C.tgo_sub(flag(grad), a.p, b.p, &out), &out)
}

// Mul is a · b elementwise, broadcast.
func Mul(grad bool, a, b Tensor) (Result, error) {
	var out C.tgo_out
	return take(C.tgo_mul(flag(grad), a.p, b.p, &out), &out)
}

// Scale is a times a number.
func Scale(grad bool, a Tensor, factor float64) (Result, error) {
	var out C.tgo_out
	return take(C.tgo_scale(flag(grad), a.p, C.double(factor), &out), &out)
}

// MatMul is the product over the last two dimensions.
func MatMul(grad bool, a, b Tensor) (Result, error) {
	var out C.tgo_out
	return take(C.tgo_matmul(flag(grad), a.p, b.p, &out), &out)
}

// Reshape gives the elements new dimensions.
func Reshape(grad bool, t Tensor, dims []int64) (Result, error) {
	var out C.tgo_out
	d, rank := dimsOf(dims)
	return take(C.tgo_reshape(flag(grad), t.p, d, rank, &out), &out)
}

// Transpose swaps two dimensions.
func Transpose(grad bool, t Tensor, i, j int) (Result, error) {
	var out C.tgo_out
	return take(C.tgo_transpose(flag(grad), t.p, C.int32_t(i), C.int32_t(j), &out), &out)
}

// Narrow is a view of length indices of one dimension from start on.
func Narrow(grad bool, t Tensor, dim int, start, length int64) (Result, error) {
	var out C.tgo_out
	return take(C.tgo_narrow(flag(grad), t.p, C.int32_t(dim), C.int64_t(start), C.int64_t(length), &out), &out)
}

// Cat joins tensors along a dimension.
func Cat(grad bool, tensors []Tensor, dim int) (Result, error) {
	var out C.tgo_out
	p := (**C.tgo_tensor)(unsafe.Pointer(unsafe.SliceData(tensors)))
	return take(C.tgo_cat(flag(grad), p, C.int64_t(len(tensors)), C.int32_t(dim), &out), &out)
}

// ToDType converts the elements.
func ToDType(grad bool, t Tensor, dtype DType) (Result, error) {
	var out C.tgo_out
	return take(C.tgo_to_dtype(flag(grad), t.p, C.int32_t(dtype), &out), &out)
}

// Sum adds all elements into one float32.
func Sum(grad bool, t Tensor) (Result, error) {
	var out C.tgo_out
	return take(C.tgo_sum(flag(grad), t.p, &out), &out)
}

// Softmax normalises over the last dimension, in float32.
func Softmax(grad bool, t Tensor) (Result, error) {
	var out C.tgo_out
	return take(C.tgo_softmax(flag(grad), t.p, &out), &out)
}

// LogSoftmax is the logarithm of Softmax, in float32.
func LogSoftmax(grad bool, t Tensor) (Result, error) {
	var out C.tgo_out
	return take(C.tgo_log_softmax(flag(grad), t.p, &out), &out)
}

// Backward fills the gradients of every leaf that loss, a single element, depends on.
func Backward(loss Tensor) error { return check(C.tgo_backward(loss.p)) }
