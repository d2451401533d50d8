package source

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"plasticity/config"
	"plasticity/data"
	"plasticity/record"
	"plasticity/torch/safetensors"
)

// WeightsFile is the name of the weights in a checkpoint.
const WeightsFile = safetensors.ModelFile

// Use says what a model is wanted for, and so which features of a Hugging Face folder have to be known.
type Use int

// The uses.
const (
	ToCompute Use = iota // scores of all tokens: everything that reaches them
	ToScore              // one score of a text: the same of a classifier with one label
	ToInspect            // its matrices: that they are what names and shapes say
)

// advice says which model to choose instead.
func (u Use) advice() string {
	if u == ToScore {
		return "choose a LlamaForSequenceClassification with one label and without these features, such as plasticity verifier makes"
	}
	return "choose a Llama or OLMo-2 model without these features"
}

// Kind is what a folder is.
type Kind int

// The kinds of folders that hold a model.
const (
	Unknown Kind = iota
	Run
	Checkpoint
	HuggingFace
)

// KindOf tells a folder by the file that each kind has.
func KindOf(path string) Kind {
	switch {
	case there(filepath.Join(path, record.InfoFile)):
		return Run
	case there(filepath.Join(path, record.ManifestFile)):
		return Checkpoint
	case there(filepath.Join(path, HFConfigFile)):
		return HuggingFace
	default:
		return Unknown
	}
}

// Model is where a model lies and what its folder says about it.
type Model struct {
	Path   string       // as given
	Config config.Model // with the vocabulary of the weights
	EOS    []int32      // tokens that end a text, as a Hugging Face folder says; empty for runs: ask the tokenizer
	Pad    *int32       // token that fills up batches of a classifier; nil: none
	RunID  string       // empty for a Hugging Face folder
	RunDir string       // folder of the run; empty for a Hugging Face folder
	Step   int64        // of the run's checkpoint
	Tokens int64        // that the run had read by then; 0 when its checkpoint does not say
	// LeftOut are newer checkpoints of the run that are damaged, so that this one was taken.
	LeftOut []record.Problem

	weights         string   // the file, or the Hugging Face folder
	tokenizers      []string // where a tokenizer may lie, best first
	tokenizerDigest string   // what the run was trained with
}

// Locate finds the model in a run folder (its newest whole checkpoint), a checkpoint folder, or a Hugging Face folder,
// and reads its shape. The error is a record.Failure.
func Locate(path string, use Use) (Model, error) {
	fsys := record.OS()
	switch KindOf(path) {
	case Run:
		return locateRun(fsys, path)
	case Checkpoint:
		return locateCheckpoint(fsys, path)
	default:
	}
	h, err := ReadHFConfig(fsys, path, use)
	if err != nil {
		return Model{}, err
	}
	return Model{Path: path, Config: h.Config, EOS: h.EOS, Pad: h.PAD, weights: path, tokenizers: []string{filepath.Join(path, data.TokenizerFile)}}, nil
}

// LeftOut is a checkpoint that cannot be used, and why.
type LeftOut struct {
	Step int64
	record.Problem
}

// Kept finds every whole checkpoint of the run in dir, the oldest first. Those that are damaged, or that the run's owner removes
// meanwhile, are left out and reported. The error is a record.Failure, BadData when no checkpoint is whole.
func Kept(dir string) ([]Model, []LeftOut, error) {
	fsys := record.OS()
	steps, err := record.Checkpoints(fsys, dir)
	if err != nil {
		return nil, nil, err
	}
	var models []Model
	var leftOut []LeftOut
	for _, step := range steps {
		path := record.CheckpointPath(dir, step)
		c, err := record.OpenCheckpoint(fsys, path)
		if record.CodeOf(err) == record.BadData {
			leftOut = append(leftOut, LeftOut{step, record.Problem{Path: path, What: err.Error() + ": left out"}})
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		m, err := modelOf(path, dir, c)
		if err != nil {
			return nil, nil, err
		}
		models = append(models, m)
	}
	if len(models) == 0 {
		if len(leftOut) > 0 {
			return nil, nil, record.Fail(record.BadData, "%s: none of its %d checkpoints is whole (%s): restore one", dir, len(steps), leftOut[0].What)
		}
		return nil, nil, noCheckpoint(dir)
	}
	return models, leftOut, nil
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

func noCheckpoint(dir string) error {
	return record.Fail(record.BadData, "%s: the run has no checkpoint yet: let it train up to its first", dir)
}

// locateRun takes a run's newest checkpoint that is whole.
func locateRun(fsys record.FS, dir string) (Model, error) {
	c, problems, err := record.FindCheckpoint(fsys, dir)
	if err != nil {
		return Model{}, err
	}
	if c == nil {
		return Model{}, noCheckpoint(dir)
	}
	m, err := modelOf(dir, dir, c)
	m.LeftOut = problems
	return m, err
}

// locateCheckpoint takes a given checkpoint; its run is two folders above.
func locateCheckpoint(fsys record.FS, dir string) (Model, error) {
	c, err := record.OpenCheckpoint(fsys, dir)
	if err != nil {
		return Model{}, err
	}
	absolute, err := filepath.Abs(dir)
	if err != nil {
		return Model{}, record.Fail(record.IO, "%s: %w", dir, err)
	}
	return modelOf(dir, filepath.Dir(filepath.Dir(absolute)), c)
}

// modelOf describes the checkpoint c of the run in dir.
func modelOf(path, dir string, c *record.Checkpoint) (Model, error) {
	run, err := record.Open(dir)
	if err != nil {
		return Model{}, err
	}
	if c.Meta.RunID != "" && c.Meta.RunID != run.Info.ID {
		return Model{}, record.Fail(record.Mismatch, "%s is a checkpoint of run %s, and %s is run %s: put it back where it belongs", c.Dir, c.Meta.RunID, dir, run.Info.ID)
	}
	resolved, err := config.Load(config.LoadOptions{File: run.Path(record.ResolvedFile)})
	if err != nil {
		return Model{}, err
	}
	m := Model{
		Path: path, Config: resolved.Model, RunID: run.Info.ID, RunDir: dir, Step: c.Step, Tokens: c.Meta.Tokens, weights: c.Path(WeightsFile),
		tokenizers: []string{run.Path(data.TokenizerFile)}, tokenizerDigest: run.Info.TokenizerDigest,
	}
	if train := resolved.Data.Train; train != "" {
		m.tokenizers = append(m.tokenizers, filepath.Join(filepath.Dir(train), data.TokenizerFile), filepath.Join(train, data.TokenizerFile))
	}
	return m, nil
}

// Tokenizer reads the tokenizer that belongs to the model: the folder's own, or that of the data a run was trained on. The
// error is a record.Failure: BadData when there is none, Mismatch when it is not the model's.
func (m Model) Tokenizer() (*data.Tokenizer, error) {
	i := slices.IndexFunc(m.tokenizers, there)
	if i < 0 {
		return nil, record.Fail(record.BadData, "%s: no tokenizer is there (looked for %v): put its tokenizer.json into the folder", m.Path, m.tokenizers)
	}
	t, err := data.LoadTokenizer(m.tokenizers[i])
	if err != nil {
		return nil, err
	}
	if m.tokenizerDigest != "" && t.Digest() != m.tokenizerDigest {
		return nil, record.Fail(record.Mismatch, "%s is not the tokenizer of run %s: its digest is %.12s… and should be %.12s…: put the right tokenizer.json into the run's folder",
			m.tokenizers[i], m.RunID, t.Digest(), m.tokenizerDigest)
	}
	if t.Vocab() > m.Config.Vocab {
		return nil, record.Fail(record.Mismatch, "%s has %d tokens and the model %d: use the tokenizer it was trained with", m.tokenizers[i], t.Vocab(), m.Config.Vocab)
	}
	return t, nil
}

// OpenWeights opens the files of the weights; the caller closes them.
func (m Model) OpenWeights() (*safetensors.File, error) {
	if m.RunID == "" {
		return safetensors.OpenFolder(m.weights)
	}
	return safetensors.Open(m.weights)
}
