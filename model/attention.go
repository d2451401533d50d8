package model

import (
	"math"

	"plasticity/torch"
	"plasticity/torch/nn"
)

// attention is causal self-attention with grouped queries: H query heads share G key and value heads.
type attention struct {
	q, k, v, o           nn.Linear // [H·E, D], [G·E, D], [G·E, D], [D, H·E]
	qk                   *qkNorm   // nil: none
	heads, kvHeads, size int
}

// qkNorm normalises queries and keys, each as one vector over all heads.
type qkNorm struct{ q, k nn.RMSNorm }

// attention declares the four projections.
func (b builder) attention(prefix string) attention {
	c := b.config
	size := c.HeadSize()
	return attention{
		q:     b.linear(prefix+"self_attn.q_proj", c.Heads*size, c.Width, b.inner),
		k:     b.linear(prefix+"self_attn.k_proj", c.KVHeads*size, c.Width, b.inner),
		v:     b.linear(prefix+"self_attn.v_proj", c.KVHeads*size, c.Width, b.inner),
		o:     b.linear(prefix+"self_attn.o_proj", c.Width, c.Heads*size, b.outer),
		heads: c.Heads, kvHeads: c.KVHeads, size: size,
	}
}

// forward mixes positions: x [B, T, D] → [B, T, D].
func (a attention) forward(s *torch.Scope, x *torch.Tensor, p pass) *torch.Tensor {
	batch, time := x.Dim(0), x.Dim(1)
	q, k, v := a.q.Forward(s, x), a.k.Forward(s, x), a.v.Forward(s, x) // [B, T, H·E], [B, T, G·E] twice
	if a.qk != nil {
		q, k = a.qk.q.Forward(s, q, p.precision), a.qk.k.Forward(s, k, p.precision)
	}
	q = s.Reshape(q, batch, time, a.heads, a.size)   // [B, T, H, E]
	k = s.Reshape(k, batch, time, a.kvHeads, a.size) // [B, T, G, E]
	v = s.Reshape(v, batch, time, a.kvHeads, a.size)
	q, k = s.Rope(q, p.cosine, p.sine, p.offset), s.Rope(k, p.cosine, p.sine, p.offset)
	if p.cache != nil {
		k, v = p.cache.extend(s, p, k, v) // [B, S, G, E]
	}
	y := s.Attention(q, k, v, p.offset) // [B, T, H, E]
	return a.o.Forward(s, s.Reshape(y, batch, time, a.heads*a.size))
}

// buildRotary makes the tables of rotary embedding: position t turns pair i by t · θ^(−2i/E). Frequencies and angles are
// rounded to float32 as the Hugging Face implementation does, so that published weights see the angles they grew up with.
func (m *Transformer) buildRotary() error {
	half, size := m.config.HeadSize()/2, m.config.HeadSize()
	cosine, sine := make([]float32, m.config.Context*half), make([]float32, m.config.Context*half)
	for i := range half {
		power := float32(math.Pow(m.config.RopeTheta, float64(float32(2*i)/float32(size))))
		frequency := 1 / power
		for t := range m.config.Context {
			angle := float64(float32(t) * frequency)
			cosine[t*half+i], sine[t*half+i] = float32(math.Cos(angle)), float32(math.Sin(angle))
		}
	}
	s := torch.NewScope(torch.NoGrad)
	defer s.Close()
	m.cosine = s.Keep(s.FromFloat32(cosine, m.config.Context, half))
	m.sine = s.Keep(s.FromFloat32(sine, m.config.Context, half))
	return s.Err()
}
