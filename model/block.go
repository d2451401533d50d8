package model

import (
	"fmt"

	"plasticity/config"
	"plasticity/torch"
	"plasticity/torch/nn"
)

// block is one layer: attention and feed-forward, each added to the residual stream x [B, T, D], float32.
type block interface {
	forward(s *torch.Scope, x *torch.Tensor, p pass) *torch.Tensor
}

// pass is what a run through the layers needs to know besides x.
type pass struct {
	layer        int
	offset       int    // position of the first token
	cache        *Cache // nil: attention over the tokens of this pass only
	precision    torch.DType
	cosine, sine *torch.Tensor
}

// mlp is the gated feed-forward network: down(silu(gate(x)) · up(x)).
type mlp struct {
	gate, up nn.Linear // [F, D]
	down     nn.Linear // [D, F]
}

func (m mlp) forward(s *torch.Scope, x *torch.Tensor) *torch.Tensor {
	return m.down.Forward(s, s.SwiGLU(m.gate.Forward(s, x), m.up.Forward(s, x))) // [B, T, F] → [B, T, D]
}

// builder declares parameters. Neighbours in a product are declared as neighbours, so that q, k, v and gate, up lie one
// behind the other and could be read as one matrix.
type builder struct {
	registry *nn.Registry
	config   config.Model
	inner    nn.Init // of matrices, but for
	outer    nn.Init // those whose results are added to the residual stream
}

// newBuilder knows how the matrices of a family start. check has seen the family.
func newBuilder(r *nn.Registry, cfg config.Model) builder {
	b := builder{registry: r, config: cfg}
	if cfg.Family == config.OLMo2 {
		b.inner, b.outer = olmo2Init()
	} else {
		b.inner, b.outer = llama2Init(cfg)
	}
	return b
}

// block declares a layer.
func (b builder) block(layer int) block {
	prefix := fmt.Sprintf("model.layers.%d.", layer)
	if b.config.Family == config.OLMo2 {
		return newOLMo2Block(b, prefix)
	}
	return newLlama2Block(b, prefix)
}

func (b builder) linear(name string, out, in int, init nn.Init) nn.Linear {
	return nn.Linear{W: b.registry.Declare(name+".weight", init, out, in)}
}

func (b builder) rmsNorm(name string, width int) nn.RMSNorm {
	return nn.RMSNorm{Gain: b.registry.Declare(name+".weight", nn.Init{Constant: 1}, width), Eps: b.config.NormEps}
}

func (b builder) mlp(prefix string) mlp {
	width, ffn := b.config.Width, b.config.FFN
	return mlp{
		gate: b.linear(prefix+"mlp.gate_proj", ffn, width, b.inner),
		up:   b.linear(prefix+"mlp.up_proj", ffn, width, b.inner),
		down: b.linear(prefix+"mlp.down_proj", width, ffn, b.outer),
	}
}
