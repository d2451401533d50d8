package model

import (
	"slices"

	"plasticity/config"
	"plasticity/data"
	"plasticity/model/source"
	"plasticity/record"
	"plasticity/torch"
	"plasticity/torch/nn"
	"plasticity/torch/safetensors"
)

const (
	// VerifierFile says, in the folder of a reward model that was trained here, of what.
	VerifierFile = "verifier.json"

	scoreName   = "score.weight"
	rewardLabel = "reward"
)

// RewardSource is where a reward model lies and what its folder says about it: a LlamaForSequenceClassification of transformers
// with one label.
type RewardSource struct{ Source }

// LocateReward finds the reward model in a folder and compares its tensors with config.json. The error is a record.Failure: Usage
// for a run, which has no reward, and BadData for what is no reward model or cannot be computed.
func LocateReward(path string) (RewardSource, error) {
	if kind := source.KindOf(path); kind == source.Run || kind == source.Checkpoint {
		return RewardSource{}, record.Fail(record.Usage, "%s is a run, which scores tokens and not texts: name the folder that plasticity verifier made of it, or another LlamaForSequenceClassification", path)
	}
	m, err := source.Locate(path, source.ToScore)
	if err != nil {
		return RewardSource{}, err
	}
	s := RewardSource{m}
	f, err := s.OpenWeights()
	if err != nil {
		return RewardSource{}, err
	}
	defer f.Close() //nolint:errcheck // only read
	return s, s.fits(f)
}

// fits compares the tensors of a file with the trunk and the score.
func (s RewardSource) fits(f *safetensors.File) error {
	trunk := s.Config
	trunk.TieEmbeddings = true // there is no output layer over tokens
	r := nn.NewRegistry()
	Declare(r, trunk)
	r.Declare(scoreName, nn.Init{}, 1, trunk.Width)
	differences := compare(r.Params(), f, notPart)
	if len(differences) == 0 {
		return nil
	}
	return record.Fail(record.BadData, "%s is not the reward model that its %s describes, %d differences: %s: copy the folder again, or name one whose weights are model.* and %s",
		f.Path(), source.HFConfigFile, len(differences), source.Join(differences), scoreName)
}

// Reward is a model that scores a text by one number: the product of Score [D] with the last hidden state of the text's last token.
type Reward struct {
	Trunk *Transformer // as [Transformer.Trunk] makes it
	Score []float32
}

// Close frees the weights. Closing twice is harmless.
func (r *Reward) Close() { r.Trunk.Close() }

// Open loads the weights, in float32, for texts of at most context tokens. Rotary embedding has no end, so that may be more than the
// model was trained with. A value that is not finite is BadData. The caller closes the model.
func (s RewardSource) Open(context int) (*Reward, error) {
	f, err := s.OpenWeights()
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	if err := s.fits(f); err != nil {
		return nil, err
	}
	read := func(name string) ([]float32, error) {
		values, err := f.Float32(name)
		if err != nil {
			return nil, err
		}
		return values, source.Finite(f.Path(), name, values)
	}
	score, err := read(scoreName)
	if err != nil {
		return nil, err
	}
	trunk, err := newTrunk(s.Config, context, read)
	if err != nil {
		return nil, err
	}
	return &Reward{trunk, score}, nil
}

// Trunk copies a model without its output layer, in float32, for texts of at most context tokens. In the layer's place the copy has
// one that hands the hidden state through: logits 0 … D−1 of a position are what the output layer would see there, behind the last
// norm. So all that computes logits, the engine with its cache included, computes hidden states. The caller closes
// both.
func (m *Transformer) Trunk(context int) (*Transformer, error) {
	return newTrunk(m.config, context, func(name string) ([]float32, error) { return m.registry.Read(nn.Params, name) })
}

// newTrunk makes a trunk of the values that read returns. Where the vocabulary is smaller than the width, rows of zeros make up.
func newTrunk(cfg config.Model, context int, read func(name string) ([]float32, error)) (*Transformer, error) {
	cfg.TieEmbeddings, cfg.Vocab, cfg.Context = false, max(cfg.Vocab, cfg.Width), context
	m, err := New(cfg, torch.Float32, nn.Inference)
	if err != nil {
		return nil, err
	}
	if err := m.fillTrunk(read); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// fillTrunk sets the values of a trunk.
func (m *Transformer) fillTrunk(read func(name string) ([]float32, error)) error {
	cfg := m.config
	through := func(string) ([]float32, error) {
		rows := make([]float32, cfg.Vocab*cfg.Width)
		for i := range cfg.Width {
			rows[i*cfg.Width+i] = 1
		}
		return rows, nil
	}
	for _, p := range m.registry.Params() {
		from := read
		if p.Name == headName {
			from = through
		}
		values, err := from(p.Name)
		if err != nil {
			return err
		}
		values = append(values, make([]float32, p.Len()-int64(len(values)))...)
		if err := m.registry.Write(nn.Params, p.Name, values); err != nil {
			return err
		}
	}
	return m.registry.Round()
}

// The verdicts on a text that [Transformer.VerdictScore] compares: tokens whose rows of the output layer stand for them.
const (
	Wrong int32 = 0
	Right int32 = 1
)

// LoadLayers sets all that lies below the output layer from another model, and the output layer, which must not be tied, to zero.
func (m *Transformer) LoadLayers(from *Transformer) error {
	for _, p := range m.registry.Params() {
		values := make([]float32, p.Len())
		if p.Name != headName {
			var err error
			if values, err = from.registry.Read(nn.Params, p.Name); err != nil {
				return err
			}
		}
		if err := m.registry.Write(nn.Params, p.Name, values); err != nil {
			return err
		}
	}
	return m.registry.Round()
}

// VerdictScore is the score [D] whose product with a hidden state is the logit of Right less that of Wrong: the log-odds that a model
// trained to say one of them gives.
func (m *Transformer) VerdictScore() ([]float32, error) {
	rows, err := m.registry.Read(nn.Params, headName)
	if err != nil {
		return nil, err
	}
	width := m.config.Width
	score := make([]float32, width)
	for i := range score {
		score[i] = rows[int(Right)*width+i] - rows[int(Wrong)*width+i]
	}
	return score, nil
}

// CanReward refuses a model that SaveReward cannot write: the error is Usage.
func CanReward(cfg config.Model) error {
	if source.Classifier(cfg) == "" {
		return record.Fail(record.Usage, "transformers has no sequence classification of the family %s: take a model of the family %s, whose rewards are for answers of any model", cfg.Family, config.Llama2)
	}
	return nil
}

// SaveReward writes a reward model, the layers of m below a score [D], as a folder that transformers'
// AutoModelForSequenceClassification loads, with VerifierFile made of about. The folder appears complete or not at all, as that of
// SaveHF. The token that ends a text is the one that fills up batches.
func SaveReward(fsys record.FS, dir string, m *Transformer, score []float32, tokenizer *data.Tokenizer, about any) error {
	if err := CanReward(m.config); err != nil {
		return err
	}
	if len(score) != m.config.Width {
		return record.Fail(record.Internal, "a score of %d weights for a width of %d", len(score), m.config.Width)
	}
	files, eos, err := ExportOptions{Tokenizer: tokenizer}.tokenizer(m)
	if err != nil {
		return err
	}
	c := source.NewHFConfig(m.config, "float32", eos)
	c.Architectures = []string{source.Classifier(m.config)}
	c.ID2Label, c.Tie = source.HFLabels{"0": rewardLabel}, false
	if len(eos) > 0 {
		c.PAD = &eos[0]
	}
	settings, err := jsonFile(source.HFConfigFile, c)
	if err != nil {
		return err
	}
	origin, err := jsonFile(VerifierFile, about)
	if err != nil {
		return err
	}
	files = append(files, settings, origin)
	weights := slices.DeleteFunc(m.sources(safetensors.F32), func(s safetensors.Source) bool { return s.Name == headName })
	weights = append(weights, safetensors.Source{
		Name: scoreName, DType: safetensors.F32, Shape: []int{1, len(score)},
		Float32: func() ([]float32, error) { return score, source.Finite(dir, scoreName, score) },
	})
	return saveFolder(fsys, dir, files, weights)
}
