package cgo

/*
#include <tgo.h>
#cgo noescape tgo_tensors_free
#cgo nocallback tgo_tensors_free
#cgo noescape tgo_from_ids
#cgo nocallback tgo_from_ids
#cgo noescape tgo_from_float32
#cgo nocallback tgo_from_float32
#cgo noescape tgo_to_float32
#cgo nocallback tgo_to_float32
*/
import "C"

import "unsafe"

// DType is the element type of a tensor.
type DType int32

// The element types of tgo.h.
const (
	Float32  DType = C.TGO_FLOAT32
	BFloat16 DType = C.TGO_BFLOAT16
	Int64    DType = C.TGO_INT64
)

// MaxRank is the largest number of dimensions that crosses the border.
const MaxRank = C.TGO_MAX_RANK

// Tensor is a native tensor handle; its zero value is none.
type Tensor struct{ p *C.tgo_tensor }

// IsNil reports whether the handle is none.
func (t Tensor) IsNil() bool { return t.p == nil }

// Result is a new tensor, owned by the caller, with its element type and dimensions.
type Result struct {
	Tensor Tensor
	DType  DType
	Rank   int
	Dims   [MaxRank]int64
}

// take turns a status and its output into a result.
func take(status C.tgo_status, out *C.tgo_out) (Result, error) {
	if err := check(status); err != nil {
		return Result{}, err
	}
	r := Result{Tensor: Tensor{out.tensor}, DType: DType(out.dtype), Rank: int(out.rank)}
	for i := range r.Rank {
		r.Dims[i] = int64(out.dims[i])
	}
	return r, nil
}

// flag is a Go bool as the border's int32.
func flag(b bool) C.int32_t {
	if b {
		return 1
	}
	return 0
}

// dimsOf is the address and count of dims as C reads them; no dimensions are a null address.
func dimsOf(dims []int64) (*C.int64_t, C.int32_t) {
	return (*C.int64_t)(unsafe.Pointer(unsafe.SliceData(dims))), C.int32_t(len(dims))
}

// floatsOf is the address of data as C reads it.
func floatsOf(data []float32) *C.float { return (*C.float)(unsafe.Pointer(unsafe.SliceData(data))) }

// Live counts the handles of the process, tensors and engines, that have not been freed.
func Live() int64 { return int64(C.tgo_live()) }

// Free frees handles and makes them none; those that are none already are passed over.
func Free(tensors ...Tensor) {
	if len(tensors) > 0 {
		C.tgo_tensors_free((**C.tgo_tensor)(unsafe.Pointer(unsafe.SliceData(tensors))), C.int64_t(len(tensors)))
	}
}

// Zeros makes a contiguous tensor of zeros.
func Zeros(dtype DType, dims []int64) (Result, error) {
	var out C.tgo_out
	d, rank := dimsOf(dims)
	return take(C.tgo_zeros(C.int32_t(dtype), d, rank, &out), &out)
}

// FromFloat32 copies data, whose length is the product of dims, into a new tensor.
func FromFloat32(data []float32, dims []int64) (Result, error) {
	var out C.tgo_out
	d, rank := dimsOf(dims)
	return take(C.tgo_from_float32(floatsOf(data), d, rank, &out), &out)
}

// FromIDs copies token ids, each in [low, high), into a new int64 tensor.
func FromIDs(data []int32, low, high int64, dims []int64) (Result, error) {
	var out C.tgo_out
	d, rank := dimsOf(dims)
	ids := (*C.int32_t)(unsafe.Pointer(unsafe.SliceData(data)))
	return take(C.tgo_from_ids(ids, C.int64_t(low), C.int64_t(high), d, rank, &out), &out)
}

// ToFloat32 copies the tensor's elements, converted to float32, into data.
func ToFloat32(t Tensor, data []float32) error {
	return check(C.tgo_to_float32(t.p, floatsOf(data), C.int64_t(len(data))))
}

// ToInt64 copies the elements of an int64 tensor into data.
func ToInt64(t Tensor, data []int64) error {
	return check(C.tgo_to_int64(t.p, (*C.int64_t)(unsafe.Pointer(unsafe.SliceData(data))), C.int64_t(len(data))))
}

// WriteFloat32 overwrites elements of a contiguous tensor from offset on.
func WriteFloat32(t Tensor, offset int64, data []float32) error {
	return check(C.tgo_write_float32(t.p, C.int64_t(offset), floatsOf(data), C.int64_t(len(data))))
}

// ReadFloat32 copies elements of a contiguous tensor from offset on into data.
func ReadFloat32(t Tensor, offset int64, data []float32) error {
	return check(C.tgo_read_float32(t.p, C.int64_t(offset), floatsOf(data), C.int64_t(len(data))))
}

// Fill sets every element to value.
func Fill(t Tensor, value float64) error { return check(C.tgo_fill(t.p, C.double(value))) }

// FlatView is a view of a flat tensor from offset on, with the given dimensions.
func FlatView(flat Tensor, offset int64, dims []int64) (Result, error) {
	var out C.tgo_out
	d, rank := dimsOf(dims)
	return take(C.tgo_flat_view(flat.p, C.int64_t(offset), d, rank, &out), &out)
}

// FlatLeaf is that view as an autograd leaf whose gradient is the same view of grads.
func FlatLeaf(values, grads Tensor, offset int64, dims []int64) (Result, error) {
	var out C.tgo_out
	d, rank := dimsOf(dims)
	return take(C.tgo_flat_leaf(values.p, grads.p, C.int64_t(offset), d, rank, &out), &out)
}

// CopySlice writes src into dst along dim from start on, outside autograd.
func CopySlice(dst Tensor, dim int, start int64, src Tensor) error {
	return check(C.tgo_copy_slice(dst.p, C.int32_t(dim), C.int64_t(start), src.p))
}
