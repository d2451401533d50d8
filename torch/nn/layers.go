package nn

import "plasticity/torch"

// Embedding turns token ids [B, T] into rows [B, T, D], float32.
type Embedding struct {
	Table *Param // [V, D]
}

// Forward gathers the rows of ids.
func (e Embedding) Forward(s *torch.Scope, ids *torch.Tensor) *torch.Tensor {
	return s.Embedding(ids, e.Table.value)
}

// Linear is a product without bias.
type Linear struct {
	W *Param // [out, in]
}

// Forward is x · Wᵀ: [..., in] → [..., out], in the precision of the weight.
func (l Linear) Forward(s *torch.Scope, x *torch.Tensor) *torch.Tensor {
	return s.Linear(x, l.W.Weight())
}

// RMSNorm scales the last dimension to root mean square 1 and then by a gain.
type RMSNorm struct {
	Gain *Param // [D]
	Eps  float64
}

// Forward normalises x, computing in float32 and giving dtype.
func (n RMSNorm) Forward(s *torch.Scope, x *torch.Tensor, dtype torch.DType) *torch.Tensor {
	return s.RMSNorm(x, n.Gain.value, n.Eps, dtype)
}
