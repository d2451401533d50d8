package model

import (
	"plasticity/config"
	"plasticity/data"
	"plasticity/model/source"
	"plasticity/torch"
	"plasticity/torch/nn"
)

// Letters: B batch, T time, D width, H heads, G key/value heads, E head size, F feed-forward width, V vocabulary.

// Transformer is a decoder-only language model with its parameters.
type Transformer struct {
	config    config.Model
	precision torch.DType
	use       nn.Use
	registry  *nn.Registry

	embed  nn.Embedding
	blocks []block
	norm   nn.RMSNorm
	head   *nn.Param // [V, D]; the embedding's table when they are tied

	cosine, sine *torch.Tensor // [context, E/2], nil until built
}

// New makes a model whose products run in precision, torch.Float32 or torch.BFloat16, with the buffers that the use needs and
// all parameters zero: [Transformer.Initialize], [Transformer.Load] or [Transformer.LoadWeights] follows. The error is a record.Failure: Usage when
// the configuration is impossible, OutOfMemory when it does not fit. The caller closes the model.
func New(cfg config.Model, precision torch.DType, use nn.Use) (*Transformer, error) {
	if err := source.Check(cfg); err != nil {
		return nil, err
	}
	m := declare(nn.NewRegistry(), cfg)
	m.precision, m.use = precision, use
	if err := m.registry.Build(precision, use); err != nil {
		return nil, err
	}
	if err := m.buildRotary(); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// Declare adds the parameters of a model to a registry, in order: names, shapes and how they start, without any memory for
// values until the registry is built.
func Declare(r *nn.Registry, cfg config.Model) { declare(r, cfg) }

// declare builds the model's structure: every parameter, in the order of the Hugging Face implementation.
func declare(r *nn.Registry, cfg config.Model) *Transformer {
	m := &Transformer{config: cfg, registry: r}
	b := newBuilder(r, cfg)
	table := r.Declare(embedName, b.inner, cfg.Vocab, cfg.Width)
	m.embed = nn.Embedding{Table: table}
	for layer := range cfg.Layers {
		m.blocks = append(m.blocks, b.block(layer))
	}
	m.norm = b.rmsNorm("model.norm", cfg.Width)
	m.head = table
	if !cfg.TieEmbeddings {
		m.head = r.Declare(headName, b.inner, cfg.Vocab, cfg.Width)
	}
	return m
}

// Names of the matrices outside the layers.
const (
	embedName = "model.embed_tokens.weight"
	headName  = "lm_head.weight"
)

// Close frees the parameters. Closing twice is harmless.
func (m *Transformer) Close() {
	m.registry.Close()
	m.cosine.Close()
	m.sine.Close()
}

// Initialize draws all parameters anew: each from its own stream, keyed by the seed and its name.
func (m *Transformer) Initialize(seed int64) error { return m.registry.Initialize(seed) }

// Config is the model's shape.
func (m *Transformer) Config() config.Model { return m.config }

// Context is the number of tokens of a whole window.
func (m *Transformer) Context() int { return m.config.Context }

// Precision is the type in which products are computed.
func (m *Transformer) Precision() torch.DType { return m.precision }

// Registry holds the parameters, gradients and moments.
func (m *Transformer) Registry() *nn.Registry { return m.registry }

// Hidden runs the layers and the last norm: ids [B, T] → [B, T, D], in the precision of products. T is at most the
// context.
func (m *Transformer) Hidden(s *torch.Scope, ids *torch.Tensor) *torch.Tensor {
	return m.run(s, ids, pass{})
}

// States runs the layers: ids [B, T] → the residual stream [B, T, D], float32, below the first layer and behind each. The last norm
// is not applied.
func (m *Transformer) States(s *torch.Scope, ids *torch.Tensor) []*torch.Tensor {
	states := make([]*torch.Tensor, 0, len(m.blocks)+1)
	m.layers(s, ids, pass{}, func(x *torch.Tensor) { states = append(states, x) })
	return states
}

// run is Hidden for positions that may continue a cache.
func (m *Transformer) run(s *torch.Scope, ids *torch.Tensor, p pass) *torch.Tensor {
	x := m.layers(s, ids, p, func(*torch.Tensor) {})
	return m.norm.Forward(s, x, m.precision)
}

// layers runs the layers and shows the residual stream below the first and behind each; it returns the last.
func (m *Transformer) layers(s *torch.Scope, ids *torch.Tensor, p pass, see func(x *torch.Tensor)) *torch.Tensor {
	p.precision, p.cosine, p.sine = m.precision, m.cosine, m.sine
	x := m.embed.Forward(s, ids) // [B, T, D], float32: the residual stream
	see(x)
	for layer, b := range m.blocks {
		p.layer = layer
		x = b.forward(s, x, p)
		see(x)
	}
	return x
}

// Logits scores every next token: ids [B, T] → [B, T, V], float32.
func (m *Transformer) Logits(s *torch.Scope, ids *torch.Tensor) *torch.Tensor {
	return m.project(s, m.Hidden(s, ids))
}

// project applies the output layer: [..., D] → [..., V], float32.
func (m *Transformer) project(s *torch.Scope, x *torch.Tensor) *torch.Tensor {
	logits := s.Linear(x, m.head.Weight())
	if m.precision == torch.Float32 {
		return logits
	}
	return s.To(logits, torch.Float32)
}

// Loss is the summed cross-entropy in nats of targets [B, T] given ids [B, T], plus zLoss times the squared log-normaliser,
// over divisor: one element. A target of −1 does not count. To average over a step, divisor is the number of targets
// of all its micro-batches. The logits never lie in memory as a whole.
func (m *Transformer) Loss(s *torch.Scope, ids, targets *torch.Tensor, zLoss, divisor float64) *torch.Tensor {
	x := m.Hidden(s, ids)
	rows := ids.Numel()
	x = s.Reshape(x, rows, m.config.Width) // [B·T, D]
	return s.LinearCrossEntropy(x, m.head.Weight(), s.Reshape(targets, rows), zLoss, divisor)
}

// SummedLoss adds up the losses in nats of the targets of a batch that count, without gradients.
func (m *Transformer) SummedLoss(b data.Batch) (float64, error) {
	rows, time := b.Sequences(), b.Time
	s := torch.NewScope(torch.NoGrad)
	defer s.Close()
	loss := m.Loss(s, s.FromInt32(b.Inputs, rows, time), s.FromInt32(b.Targets, rows, time), 0, 1)
	return s.Item(loss), s.Err()
}
