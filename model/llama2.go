package model

import (
	"math"

	"plasticity/config"
	"plasticity/torch"
	"plasticity/torch/nn"
)

// llama2Block normalises what goes into each sub-layer:
//
//	h = x + Attention(RMSNorm(x))
//	y = h + MLP(RMSNorm(h))
type llama2Block struct {
	attention     attention
	mlp           mlp
	input         nn.RMSNorm
	postAttention nn.RMSNorm
}

func newLlama2Block(b builder, prefix string) block {
	return &llama2Block{
		attention:     b.attention(prefix),
		mlp:           b.mlp(prefix),
		input:         b.rmsNorm(prefix+"input_layernorm", b.config.Width),
		postAttention: b.rmsNorm(prefix+"post_attention_layernorm", b.config.Width),
	}
}

func (l *llama2Block) forward(s *torch.Scope, x *torch.Tensor, p pass) *torch.Tensor {
	x = s.Add(x, l.attention.forward(s, l.input.Forward(s, x, p.precision), p))
	return s.Add(x, l.mlp.forward(s, l.postAttention.Forward(s, x, p.precision)))
}

// llama2Init is that of the paper's code: the matrices that write to the residual stream start smaller the more layers do.
func llama2Init(c config.Model) (inner, outer nn.Init) {
	width := float64(c.Width)
	return nn.Init{Std: math.Sqrt(2 / (5 * width))}, nn.Init{Std: 1 / (math.Sqrt(width) * float64(c.Layers))}
}
