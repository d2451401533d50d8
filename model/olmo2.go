package model

import (
	"plasticity/torch"
	"plasticity/torch/nn"
)

// olmo2Block normalises what comes out of each sub-layer, inside the residual branch, and inside attention the queries
// and keys:
//
//	h = x + RMSNorm(Attention(x))
//	y = h + RMSNorm(MLP(h))
type olmo2Block struct {
	attention       attention
	mlp             mlp
	postAttention   nn.RMSNorm
	postFeedForward nn.RMSNorm
}

func newOLMo2Block(b builder, prefix string) block {
	l := &olmo2Block{attention: b.attention(prefix)}
	size := b.config.HeadSize()
	l.attention.qk = &qkNorm{
		q: b.rmsNorm(prefix+"self_attn.q_norm", b.config.Heads*size),
		k: b.rmsNorm(prefix+"self_attn.k_norm", b.config.KVHeads*size),
	}
	l.mlp = b.mlp(prefix)
	l.postAttention = b.rmsNorm(prefix+"post_attention_layernorm", b.config.Width)
	l.postFeedForward = b.rmsNorm(prefix+"post_feedforward_layernorm", b.config.Width)
	return l
}

func (l *olmo2Block) forward(s *torch.Scope, x *torch.Tensor, p pass) *torch.Tensor {
	// No norm rounds what the products read, so it is rounded here, once for all of them.
	y := l.attention.forward(s, round(s, x, p.precision), p)
	x = s.Add(x, l.postAttention.Forward(s, y, torch.Float32))
	y = l.mlp.forward(s, round(s, x, p.precision))
	return s.Add(x, l.postFeedForward.Forward(s, y, torch.Float32))
}

// round converts the residual stream for products.
func round(s *torch.Scope, x *torch.Tensor, precision torch.DType) *torch.Tensor {
	if precision == torch.Float32 {
		return x
	}
	return s.To(x, precision)
}

// olmo2Init is the same for all matrices: normal, cut off at three standard deviations.
func olmo2Init() (inner, outer nn.Init) {
	init := nn.Init{Std: 0.02, Truncate: 3}
	return init, init
}
