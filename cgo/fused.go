package cgo

/*
#include <tgo.h>
#cgo noescape tgo_embedding
#cgo nocallback tgo_embedding
#cgo noescape tgo_linear
#cgo nocallback tgo_linear
#cgo noescape tgo_rms_norm
#cgo nocallback tgo_rms_norm
#cgo noescape tgo_rope
#cgo nocallback tgo_rope
#cgo noescape tgo_swiglu
#cgo nocallback tgo_swiglu
#cgo noescape tgo_attention
#cgo nocallback tgo_attention
#cgo noescape tgo_linear_cross_entropy
#cgo nocallback tgo_linear_cross_entropy
*/
import "C"

// Embedding gathers rows of table, float32.
func Embedding(grad bool, ids, table Tensor) (Result, error) {
	var out C.tgo_out
	return take(C.tgo_embedding(flag(grad), ids.p, table.p, &out), &out)
}

// Linear is x · wᵀ, in bfloat16 when w16 is given.
func Linear(grad bool, x, w, w16 Tensor) (Result, error) {
	var out C.tgo_out
	return take(C.tgo_linear(flag(grad), x.p, w.p, w16.p, &out), &out)
}

// RMSNorm is x / sqrt(mean(x²) + eps) · gain over the last dimension.
func RMSNorm(grad bool, x, gain Tensor, eps float64, dtype DType) (Result, error) {
	var out C.tgo_out
	return take(C.tgo_rms_norm(flag(grad), x.p, gain.p, C.double(eps), C.int32_t(dtype), &out), &out)
}

// Rope rotates pairs of a head's halves by the angles of positions offset, offset+1, ….
func Rope(grad bool, x, cosine, sine Tensor, offset int64) (Result, error) {
	var out C.tgo_out
	return take(C.tgo_rope(flag(grad), x.p, cosine.p, sine.p, C.int64_t(offset), &out), &out)
}

// SwiGLU is silu(gate) · up.
func SwiGLU(grad bool, gate, up Tensor) (Result, error) {
	var out C.tgo_out
	return take(C.tgo_swiglu(flag(grad), gate.p, up.p, &out), &out)
}

// Attention is causal grouped-query attention; query t sees keys up to offset + t.
func Attention(grad bool, q, k, v Tensor, offset int64) (Result, error) {
	var out C.tgo_out
	return take(C.tgo_attention(flag(grad), q.p, k.p, v.p, C.int64_t(offset), &out), &out)
}

// LinearCrossEntropy is the summed cross-entropy of x · wᵀ against targets ≥ 0, over divisor.
func LinearCrossEntropy(grad bool, x, w, w16, targets Tensor, zLoss, divisor float64) (Result, error) {
	var out C.tgo_out
	return take(C.tgo_linear_cross_entropy(flag(grad), x.p, w.p, w16.p, targets.p,
		C.double(zLoss), C.double(divisor), &out), &out)
}
