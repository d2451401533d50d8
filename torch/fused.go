package torch

import (
	"fmt"

	"plasticity/cgo"
)

// Letters: B batch, T time, S cached time, D width, H heads, G key/value heads, E head size,
// V vocabulary, N rows.

// Weight is a matrix [out, in] as products use it: the float32 master that gradients belong to
// and, when products run in bfloat16, its rounded copy.
type Weight struct {
	Value   *Tensor // float32
	Compute *Tensor // bfloat16 copy, or nil
}

// DType is the precision of products with the weight.
func (w Weight) DType() DType {
	if w.Compute != nil {
		return BFloat16
	}
	return Float32
}

func (w Weight) copyHandle() cgo.Tensor {
	if w.Compute == nil {
		return cgo.Tensor{}
	}
	return w.Compute.handle
}

// Embedding gathers rows of table [V, D] by ids: [B, T] → [B, T, D], float32.
func (s *Scope) Embedding(ids, table *Tensor) *Tensor {
	return s.binary("Embedding", cgo.Embedding, ids, table)
}

// Linear is x · wᵀ: [..., in] → [..., out], in the weight's precision.
func (s *Scope) Linear(x *Tensor, w Weight) *Tensor {
	if !s.ready("Linear", x, w.Value) {
		return s.dead
	}
	if x.Dim(x.rank-1) != w.Value.Dim(1) {
		s.fail("Linear", fmt.Errorf("the input ends in %d, the weight takes %d", x.Dim(x.rank-1), w.Value.Dim(1)), x, w.Value)
		return s.dead
	}
	r, err := cgo.Linear(s.grad, x.handle, w.Value.handle, w.copyHandle())
	return s.own("Linear", r, err, x, w.Value)
}

// RMSNorm is x / sqrt(mean(x²) + eps) · gain over the last dimension, given as dtype.
func (s *Scope) RMSNorm(x, gain *Tensor, eps float64, dtype DType) *Tensor {
	if !s.ready("RMSNorm", x, gain) {
		return s.dead
	}
	r, err := cgo.RMSNorm(s.grad, x.handle, gain.handle, eps, dtype)
	return s.own("RMSNorm", r, err, x, gain)
}

// Rope turns x [B, T, H, E] by the angles of positions offset … offset+T−1, half-split layout;
// cosine and sine are [≥ offset+T, E/2].
func (s *Scope) Rope(x, cosine, sine *Tensor, offset int) *Tensor {
	if !s.ready("Rope", x, cosine, sine) {
		return s.dead
	}
	r, err := cgo.Rope(s.grad, x.handle, cosine.handle, sine.handle, int64(offset))
	return s.own("Rope", r, err, x, cosine, sine)
}

// SwiGLU is silu(gate) · up, elementwise.
func (s *Scope) SwiGLU(gate, up *Tensor) *Tensor { return s.binary("SwiGLU", cgo.SwiGLU, gate, up) }

// Attention is causal grouped-query attention of q [B, T, H, E] over k and v [B, S, G, E]:
// query t sees keys 0 … offset+t. Gradients need S = T and offset 0. → [B, T, H, E].
func (s *Scope) Attention(q, k, v *Tensor, offset int) *Tensor {
	if !s.ready("Attention", q, k, v) {
		return s.dead
	}
	r, err := cgo.Attention(s.grad, q.handle, k.handle, v.handle, int64(offset))
	return s.own("Attention", r, err, q, k, v)
}

// LinearCrossEntropy is the output layer with its loss: for rows of x [N, D] with target ≥ 0, the
// sum of (lse − logit[target] + zLoss·lse²) / divisor in nats, logits = x · wᵀ. It works through
// chunks of rows and never holds all N × V logits.
func (s *Scope) LinearCrossEntropy(x *Tensor, w Weight, targets *Tensor, zLoss, divisor float64) *Tensor {
	if !s.ready("LinearCrossEntropy", x, w.Value, targets) {
		return s.dead
	}
	r, err := cgo.LinearCrossEntropy(s.grad, x.handle, w.Value.handle, w.copyHandle(), targets.handle, zLoss, divisor)
	return s.own("LinearCrossEntropy", r, err, x, w.Value, targets)
}
