package model

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"plasticity/config"
	"plasticity/model/source"
	"plasticity/record"
	"plasticity/torch/nn"
	"plasticity/torch/safetensors"
)

// sources lists the parameters for a file, rounded to dtype.
func (m *Transformer) sources(dtype safetensors.DType) []safetensors.Source {
	var list []safetensors.Source
	for _, p := range m.registry.Params() {
		list = append(list, safetensors.Source{
			Name: p.Name, DType: dtype, Shape: p.Shape,
			Float32: func() ([]float32, error) { return m.registry.Read(nn.Params, p.Name) },
		})
	}
	return list
}

// Save writes the float32 masters as a safetensors file under their Hugging Face names. A tied head is not written twice.
func (m *Transformer) Save(w io.Writer) error {
	return safetensors.Write(w, safetensors.PyTorch(), m.sources(safetensors.F32))
}

// SavedBytes is the length of the file that Save writes.
func (m *Transformer) SavedBytes() (int64, error) {
	return safetensors.Size(safetensors.PyTorch(), m.sources(safetensors.F32))
}

// fits compares the tensors of a file with the parameters of a model and lists every difference.
func fits(cfg config.Model, f *safetensors.File) error {
	if err := source.Check(cfg); err != nil {
		return err
	}
	r := nn.NewRegistry()
	Declare(r, cfg)
	differences := compare(r.Params(), f, func(e safetensors.Entry) error {
		if e.Name == headName && cfg.TieEmbeddings {
			return sameHead(f, e)
		}
		return notPart(e)
	})
	if len(differences) == 0 {
		return nil
	}
	return record.Fail(record.Mismatch, "%s does not fit the model (%s, %d layers, width %d, vocabulary %d), %d differences: %s: name the weights that belong to this configuration",
		f.Path(), cfg.Family, cfg.Layers, cfg.Width, cfg.Vocab, len(differences), source.Join(differences))
}

// notPart is the error of a tensor that nobody asked for.
func notPart(e safetensors.Entry) error {
	return fmt.Errorf("%s %v is not part of the model", e.Name, e.Shape)
}

// compare lists how the tensors of a file differ from parameters; further says what is wrong with one beyond them, if anything.
func compare(params []*nn.Param, f *safetensors.File, further func(safetensors.Entry) error) []string {
	var differences []string
	wanted := map[string]bool{}
	for _, p := range params {
		wanted[p.Name] = true
		e, ok := f.Tensor(p.Name)
		switch {
		case !ok:
			differences = append(differences, fmt.Sprintf("%s %v is missing", p.Name, p.Shape))
		case !slices.Equal(e.Shape, p.Shape):
			differences = append(differences, fmt.Sprintf("%s has shape %v and should have %v", p.Name, e.Shape, p.Shape))
		}
	}
	for _, e := range f.Tensors() {
		if wanted[e.Name] || strings.HasSuffix(e.Name, ".rotary_emb.inv_freq") {
			continue // old files carry the rotary frequencies, which follow from the configuration
		}
		if err := further(e); err != nil {
			differences = append(differences, err.Error())
		}
	}
	return differences
}

// sameHead checks that a head which is stored although it is tied says what the embedding says.
func sameHead(f *safetensors.File, head safetensors.Entry) error {
	embed, ok := f.Tensor(embedName)
	if !ok || !slices.Equal(embed.Shape, head.Shape) {
		return fmt.Errorf("%s %v is stored although the embeddings are tied, with another shape than %s", headName, head.Shape, embedName)
	}
	a, err := f.Float32(embedName)
	if err != nil {
		return err
	}
	b, err := f.Float32(headName)
	if err != nil {
		return err
	}
	if !slices.Equal(a, b) {
		return fmt.Errorf("%s is stored although the embeddings are tied, with other values than %s", headName, embedName)
	}
	return nil
}

// PadVocab returns a model with a larger vocabulary: the same, with rows of zeros behind those of the embedding and the
// head, so that the new tokens have logit 0. The moments of the optimizer do not come along. The caller closes both.
func (m *Transformer) PadVocab(vocab int) (*Transformer, error) {
	if vocab < m.config.Vocab {
		return nil, record.Fail(record.Mismatch, "the model's vocabulary has %d tokens and cannot shrink to %d: use the tokenizer it was trained with", m.config.Vocab, vocab)
	}
	cfg := m.config
	cfg.Vocab = vocab
	padded, err := New(cfg, m.precision, m.use)
	if err != nil {
		return nil, err
	}
	if err := m.copyInto(padded); err != nil {
		padded.Close()
		return nil, err
	}
	return padded, nil
}

// copyInto copies all values; rows that only the other model has become zero.
func (m *Transformer) copyInto(other *Transformer) error {
	for _, p := range other.registry.Params() {
		values, err := m.registry.Read(nn.Params, p.Name)
		if err != nil {
			return err
		}
		values = append(values, make([]float32, p.Len()-int64(len(values)))...)
		if err := other.registry.Write(nn.Params, p.Name, values); err != nil {
			return err
		}
	}
	return other.registry.Round()
}
