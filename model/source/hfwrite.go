package source

import (
	"encoding/json"
	"strconv"
	"strings"

	"plasticity/config"
)

// hfNumber is a float that JSON readers take for one: 10000.0, not 10000.
type hfNumber float64

// MarshalJSON writes the shortest text that gives the number back, with a point or an exponent.
func (n hfNumber) MarshalJSON() ([]byte, error) {
	text := strconv.FormatFloat(float64(n), 'g', -1, 64)
	if !strings.ContainsAny(text, ".e") {
		text += ".0"
	}
	return []byte(text), nil
}

// hfRope is how transformers 5 spells the rotary base; before, it was rope_theta at the top.
type hfRope struct {
	Theta hfNumber `json:"rope_theta"`
	Type  string   `json:"rope_type"`
}

// HFConfig is a config.json as it is written, for old and new versions of transformers.
type HFConfig struct {
	Architectures    []string  `json:"architectures"`
	AttentionBias    bool      `json:"attention_bias"`
	AttentionDropout hfNumber  `json:"attention_dropout"`
	BOS              *int32    `json:"bos_token_id"`
	DType            string    `json:"dtype"`
	EOS              HFTokens  `json:"eos_token_id"`
	ExportedBy       string    `json:"exported_by"`        // Exporter: the folder may be replaced by another export
	HeadDim          int       `json:"head_dim,omitempty"` // Llama's
	HiddenAct        string    `json:"hidden_act"`
	HiddenSize       int       `json:"hidden_size"`
	ID2Label         HFLabels  `json:"id2label,omitempty"` // a classifier's
	InitRange        hfNumber  `json:"initializer_range"`
	Intermediate     int       `json:"intermediate_size"`
	MaxPositions     int       `json:"max_position_embeddings"`
	MLPBias          *bool     `json:"mlp_bias,omitempty"` // Llama's
	ModelType        string    `json:"model_type"`
	Heads            int       `json:"num_attention_heads"`
	Layers           int       `json:"num_hidden_layers"`
	KVHeads          int       `json:"num_key_value_heads"`
	PAD              *int32    `json:"pad_token_id"` // a classifier's
	Eps              hfNumber  `json:"rms_norm_eps"`
	Rope             hfRope    `json:"rope_parameters"`
	RopeScaling      *struct{} `json:"rope_scaling"`
	RopeTheta        hfNumber  `json:"rope_theta"`
	Tie              bool      `json:"tie_word_embeddings"`
	TorchDType       string    `json:"torch_dtype"`
	UseCache         bool      `json:"use_cache"`
	Vocab            int       `json:"vocab_size"`
}

// HFLabels are the names of a classifier's labels by their numbers.
type HFLabels map[string]string

// HFGeneration is a generation_config.json: greedy unless asked otherwise.
type HFGeneration struct {
	BOS *int32   `json:"bos_token_id"`
	EOS HFTokens `json:"eos_token_id"`
	PAD *int32   `json:"pad_token_id"`
}

// HFTokens are token ids in the forms that Hugging Face has: null, one number or a list.
type HFTokens []int32

// MarshalJSON writes the simplest form.
func (t HFTokens) MarshalJSON() ([]byte, error) {
	switch len(t) {
	case 0:
		return []byte("null"), nil
	case 1:
		return json.Marshal(t[0])
	default:
		return json.Marshal([]int32(t))
	}
}

// UnmarshalJSON reads all forms.
func (t *HFTokens) UnmarshalJSON(text []byte) error {
	var list []int32
	if len(text) > 0 && text[0] != '[' && string(text) != "null" {
		text = append(append([]byte{'['}, text...), ']')
	}
	err := json.Unmarshal(text, &list)
	*t = list
	return err
}

// Exporter is what a config.json written here is known by.
const Exporter = "plasticity"

// NewHFConfig describes a language model for Hugging Face. A padding token is named only for generation: in config.json it would
// cut that token's row out of later fine-tuning.
func NewHFConfig(c config.Model, dtype string, eos []int32) HFConfig {
	f := familyOf(c)
	out := HFConfig{
		Architectures: []string{f.architecture}, DType: dtype, EOS: eos, ExportedBy: Exporter, HiddenAct: "silu", HiddenSize: c.Width, InitRange: 0.02,
		Intermediate: c.FFN, MaxPositions: c.Context, ModelType: f.modelType, Heads: c.Heads, Layers: c.Layers, KVHeads: c.KVHeads,
		Eps: hfNumber(c.NormEps), Rope: hfRope{hfNumber(c.RopeTheta), "default"}, RopeTheta: hfNumber(c.RopeTheta),
		Tie: c.TieEmbeddings, TorchDType: dtype, UseCache: true, Vocab: c.Vocab,
	}
	if c.Family == config.Llama2 {
		out.HeadDim, out.MLPBias = c.HeadSize(), new(bool)
	}
	return out
}
