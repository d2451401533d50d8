package model

import (
	"fmt"

	"plasticity/config"
	"plasticity/model/source"
	"plasticity/record"
	"plasticity/torch"
	"plasticity/torch/nn"
	"plasticity/torch/safetensors"
)

// WeightsFile is the name of the weights in a checkpoint.
const WeightsFile = source.WeightsFile

// Source is where a model lies and what its folder says about it.
type Source = source.Model

// Locate finds the model in a run folder (its newest whole checkpoint), a checkpoint folder, or a Hugging Face folder,
// and reads its shape. The error is a record.Failure.
func Locate(path string) (Source, error) { return source.Locate(path, source.ToCompute) }

// Open loads the model that lies at path, as Locate finds it, for computing without gradients. Shapes are compared before memory is taken. The caller closes
// the model.
func Open(path string, precision torch.DType) (*Transformer, Source, error) {
	s, err := Locate(path)
	if err != nil {
		return nil, Source{}, err
	}
	f, err := s.OpenWeights()
	if err != nil {
		return nil, Source{}, err
	}
	defer f.Close() //nolint:errcheck // only read
	if err := fits(s.Config, f); err != nil {
		return nil, Source{}, err
	}
	m, err := New(s.Config, precision, nn.Inference)
	if err != nil {
		return nil, Source{}, err
	}
	if err := m.Load(f); err != nil {
		m.Close()
		return nil, Source{}, err
	}
	return m, s, nil
}

// LoadWeights sets all parameters from the model at path, which must compute the same function: every difference between
// the two configurations is reported at once, a record.Failure with Mismatch. Only the context may differ, and the
// vocabulary may be smaller than this model's: the rows behind it become zero, so that their tokens have logit 0.
func (m *Transformer) LoadWeights(path string) error {
	s, err := Locate(path)
	if err != nil {
		return err
	}
	if err := m.same(s); err != nil {
		return err
	}
	f, err := s.OpenWeights()
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	return m.load(s.Config, f)
}

// Load sets all parameters from a file, F32, BF16 or F16. Names and shapes are compared first and every difference is
// reported at once, a record.Failure with Mismatch; then nothing has been changed. A value that is not finite is
// BadData.
func (m *Transformer) Load(f *safetensors.File) error { return m.load(m.config, f) }

// load reads the weights of a model of shape cfg, whose vocabulary may be smaller than m's.
func (m *Transformer) load(cfg config.Model, f *safetensors.File) error {
	if err := fits(cfg, f); err != nil {
		return err
	}
	for _, p := range m.registry.Params() {
		values, err := f.Float32(p.Name)
		if err != nil {
			return err
		}
		if err := source.Finite(f.Path(), p.Name, values); err != nil {
			return err
		}
		if missing := p.Len() - int64(len(values)); missing > 0 {
			values = append(values, make([]float32, missing)...)
		}
		if err := m.registry.Write(nn.Params, p.Name, values); err != nil {
			return err
		}
	}
	return m.registry.Round()
}

// same compares the configuration of a source with the model's.
func (m *Transformer) same(s Source) error {
	a, b := s.Config, m.config
	var differences []string
	for _, f := range []struct {
		name      string
		got, want any
	}{
		{"family", a.Family, b.Family},
		{"layers", a.Layers, b.Layers},
		{"width", a.Width, b.Width},
		{"heads", a.Heads, b.Heads},
		{"kv_heads", a.KVHeads, b.KVHeads},
		{"ffn", a.FFN, b.FFN},
		{"rope_theta", a.RopeTheta, b.RopeTheta},
		{"norm_eps", a.NormEps, b.NormEps},
		{"tie_embeddings", a.TieEmbeddings, b.TieEmbeddings},
	} {
		if f.got != f.want {
			differences = append(differences, fmt.Sprintf("model.%s is %v there and %v here", f.name, f.got, f.want))
		}
	}
	if a.Vocab > b.Vocab {
		differences = append(differences, fmt.Sprintf("model.vocab is %d there and %d here, and cannot shrink", a.Vocab, b.Vocab))
	}
	if len(differences) == 0 {
		return nil
	}
	return record.Fail(record.Mismatch, "%s is another model: %s: change the fields under model to its own", s.Path, source.Join(differences))
}
