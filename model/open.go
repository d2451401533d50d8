package model

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"plasticity/config"
	"plasticity/data"
	"plasticity/record"
	"plasticity/torch"
	"plasticity/torch/nn"
	"plasticity/torch/safetensors"
)

// WeightsFile is the name of the weights in a checkpoint.
const WeightsFile = safetensors.ModelFile

// Source is where a model lies and what its folder says about it.
type Source struct {
	Path   string       // as given
	Config config.Model // with the vocabulary of the weights
	EOS    []int32      // tokens that end a text, as a Hugging Face folder says; empty for runs: ask the tokenizer
	RunID  string       // empty for a Hugging Face folder
	Step   int64        // of the run's checkpoint

	weights         string   // the file, or the Hugging Face folder
	tokenizers      []string // where a tokenizer may lie, best first
	tokenizerDigest string   // what the run was trained with
}

// Locate finds the model in a run folder (its newest whole checkpoint), a checkpoint folder, or a Hugging Face folder,
// and reads its shape. The error is a record.Failure.
func Locate(path string) (Source, error) {
	fsys := record.OS()
	switch {
	case there(filepath.Join(path, record.InfoFile)):
		return locateRun(fsys, path)
	case there(filepath.Join(path, record.ManifestFile)):
		return locateCheckpoint(fsys, path)
	}
	h, err := readHFConfig(fsys, path, nextToken)
	if err != nil {
		return Source{}, err
	}
	return h.source(path), nil
}

// source is a Hugging Face folder as a Source.
func (h hfFolder) source(path string) Source {
	return Source{Path: path, Config: h.config, EOS: h.eos, weights: path, tokenizers: []string{filepath.Join(path, data.TokenizerFile)}}
}

func there(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// missing turns the absence of a file into bad data with advice.
func missing(err error, advice string) error {
	if errors.Is(err, fs.ErrNotExist) {
		return record.Fail(record.BadData, "%w: %s", err, advice)
	}
	return err
}

// locateRun takes a run's newest checkpoint that is whole.
func locateRun(fsys record.FS, dir string) (Source, error) {
	c, _, err := record.FindCheckpoint(fsys, dir)
	if err != nil {
		return Source{}, err
	}
	if c == nil {
		return Source{}, record.Fail(record.BadData, "%s: the run has no checkpoint yet: let it train up to its first", dir)
	}
	return sourceOf(dir, dir, c)
}

// locateCheckpoint takes a given checkpoint; its run is two folders above.
func locateCheckpoint(fsys record.FS, dir string) (Source, error) {
	c, err := record.OpenCheckpoint(fsys, dir)
	if err != nil {
		return Source{}, err
	}
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return Source{}, record.Fail(record.IO, "%s: %w", dir, err)
	}
	return sourceOf(dir, filepath.Dir(filepath.Dir(absolute)), c)
}

// sourceOf describes the checkpoint c of the run in dir.
func sourceOf(path, dir string, c *record.Checkpoint) (Source, error) {
	run, err := record.Open(dir)
	if err != nil {
		return Source{}, err
	}
	if c.Meta.RunID != "" && c.Meta.RunID != run.Info.ID {
		return Source{}, record.Fail(record.Mismatch, "%s is a checkpoint of run %s, and %s is run %s: put it back where it belongs", c.Dir, c.Meta.RunID, dir, run.Info.ID)
	}
	resolved, err := config.Load(config.LoadOptions{File: run.Path(record.ResolvedFile)})
	if err != nil {
		return Source{}, err
	}
	s := Source{
		Path: path, Config: resolved.Model, RunID: run.Info.ID, Step: c.Step, weights: c.Path(WeightsFile),
		tokenizers: []string{run.Path(data.TokenizerFile)}, tokenizerDigest: run.Info.TokenizerDigest,
	}
	if train := resolved.Data.Train; train != "" {
		s.tokenizers = append(s.tokenizers, filepath.Join(filepath.Dir(train), data.TokenizerFile), filepath.Join(train, data.TokenizerFile))
	}
	return s, nil
}

// Tokenizer reads the tokenizer that belongs to the model: the folder's own, or that of the data a run was trained on. The
// error is a record.Failure: BadData when there is none, Mismatch when it is not the model's.
func (s Source) Tokenizer() (*data.Tokenizer, error) {
	i := slices.IndexFunc(s.tokenizers, there)
	if i < 0 {
		return nil, record.Fail(record.BadData, "%s: no tokenizer is there (looked for %v): put its tokenizer.json into the folder", s.Path, s.tokenizers)
	}
	t, err := data.LoadTokenizer(s.tokenizers[i])
	if err != nil {
		return nil, err
	}
	if s.tokenizerDigest != "" && t.Digest() != s.tokenizerDigest {
		return nil, record.Fail(record.Mismatch, "%s is not the tokenizer of run %s: its digest is %.12s… and should be %.12s…: put the right tokenizer.json into the run's folder",
			s.tokenizers[i], s.RunID, t.Digest(), s.tokenizerDigest)
	}
	if t.Vocab() > s.Config.Vocab {
		return nil, record.Fail(record.Mismatch, "%s has %d tokens and the model %d: use the tokenizer it was trained with", s.tokenizers[i], t.Vocab(), s.Config.Vocab)
	}
	return t, nil
}

// openWeights opens the files; the caller closes them.
func (s Source) openWeights() (*safetensors.File, error) {
	if s.weights == s.Path && s.RunID == "" {
		return safetensors.OpenFolder(s.weights)
	}
	return safetensors.Open(s.weights)
}

// Open loads the model that lies at path, as Locate finds it, for computing without gradients. Shapes are compared before memory is taken. The caller closes
// the model.
func Open(path string, precision torch.DType) (*Transformer, Source, error) {
	s, err := Locate(path)
	if err != nil {
		return nil, Source{}, err
	}
	f, err := s.openWeights()
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
	f, err := s.openWeights()
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
		if err := finite(f.Path(), p.Name, values); err != nil {
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
	return record.Fail(record.Mismatch, "%s is another model: %s: change the fields under model to its own", s.Path, join(differences))
}
