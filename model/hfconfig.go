package model

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"plasticity/config"
	"plasticity/record"
)

// hfFamilies are the architectures that are read and written: their names and, where config.json is silent, what the
// Hugging Face implementation assumes.
func hfFamilies() []hfFamily {
	return []hfFamily{
		{config.Llama2, "llama", "LlamaForCausalLM", "LlamaForSequenceClassification", 1e-6},
		{config.OLMo2, "olmo2", "Olmo2ForCausalLM", "", 1e-5},
	}
}

type hfFamily struct {
	family, modelType, architecture string
	classifier                      string // architecture of a classification of texts; empty: transformers has none
	defaultEps                      float64
}

// hfFamilyOf is the family of a model, whose shape has been checked.
func hfFamilyOf(c config.Model) hfFamily {
	i := slices.IndexFunc(hfFamilies(), func(f hfFamily) bool { return f.family == c.Family })
	return hfFamilies()[i]
}

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

// hfConfig is a config.json as it is written, for old and new versions of transformers.
type hfConfig struct {
	Architectures    []string  `json:"architectures"`
	AttentionBias    bool      `json:"attention_bias"`
	AttentionDropout hfNumber  `json:"attention_dropout"`
	BOS              *int32    `json:"bos_token_id"`
	DType            string    `json:"dtype"`
	EOS              hfTokens  `json:"eos_token_id"`
	HeadDim          int       `json:"head_dim,omitempty"` // Llama's
	HiddenAct        string    `json:"hidden_act"`
	HiddenSize       int       `json:"hidden_size"`
	ID2Label         hfLabels  `json:"id2label,omitempty"` // a classifier's
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

// hfLabels are the names of a classifier's labels by their numbers.
type hfLabels map[string]string

// hfGeneration is a generation_config.json: greedy unless asked otherwise.
type hfGeneration struct {
	BOS *int32   `json:"bos_token_id"`
	EOS hfTokens `json:"eos_token_id"`
	PAD *int32   `json:"pad_token_id"`
}

// hfTokens are token ids in the forms that Hugging Face has: null, one number or a list.
type hfTokens []int32

// MarshalJSON writes the simplest form.
func (t hfTokens) MarshalJSON() ([]byte, error) {
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
func (t *hfTokens) UnmarshalJSON(text []byte) error {
	var list []int32
	if len(text) > 0 && text[0] != '[' && string(text) != "null" {
		text = append(append([]byte{'['}, text...), ']')
	}
	err := json.Unmarshal(text, &list)
	*t = list
	return err
}

// newHFConfig describes a language model for Hugging Face. A padding token is named only for generation: in config.json it would
// cut that token's row out of later fine-tuning.
func newHFConfig(c config.Model, dtype string, eos []int32) hfConfig {
	f := hfFamilyOf(c)
	out := hfConfig{
		Architectures: []string{f.architecture}, DType: dtype, EOS: eos, HiddenAct: "silu", HiddenSize: c.Width, InitRange: 0.02,
		Intermediate: c.FFN, MaxPositions: c.Context, ModelType: f.modelType, Heads: c.Heads, Layers: c.Layers, KVHeads: c.KVHeads,
		Eps: hfNumber(c.NormEps), Rope: hfRope{hfNumber(c.RopeTheta), "default"}, RopeTheta: hfNumber(c.RopeTheta),
		Tie: c.TieEmbeddings, TorchDType: dtype, UseCache: true, Vocab: c.Vocab,
	}
	if c.Family == config.Llama2 {
		out.HeadDim, out.MLPBias = c.HeadSize(), new(bool)
	}
	return out
}

// maxHFConfig is the largest config.json in bytes.
const maxHFConfig = 1 << 20

// hfHead says what the output layer of a folder's model is for.
type hfHead int

const (
	nextToken hfHead = iota // scores of all tokens
	oneLabel                // one score of a text
)

// advice says which model to choose instead.
func (h hfHead) advice() string {
	if h == oneLabel {
		return "choose a LlamaForSequenceClassification with one label and without these features, such as plasticity verifier makes"
	}
	return "choose a Llama or OLMo-2 model without these features"
}

// hfFolder is what config.json says of a model.
type hfFolder struct {
	config config.Model
	eos    hfTokens
	pad    *int32 // nil: none
}

// readHFConfig reads config.json of a Hugging Face folder. What this package cannot compute is refused by name, all of it
// at once: the error is a record.Failure with BadData.
func readHFConfig(fsys record.FS, dir string, head hfHead) (hfFolder, error) {
	path := filepath.Join(dir, hfConfigFile)
	text, err := record.ReadFile(fsys, path, maxHFConfig)
	if err != nil {
		return hfFolder{}, missing(err, "name a run folder or the folder of a Hugging Face model")
	}
	r := &hfReader{head: head}
	if r.fields, err = object(text); err != nil {
		return hfFolder{}, record.Fail(record.BadData, "%s: %w: copy or export it again", path, err)
	}
	h := hfFolder{config: r.model()}
	r.read("eos_token_id", &h.eos, "a token id or a list of them")
	if head == oneLabel {
		r.read("pad_token_id", &h.pad, "a token id")
		r.labels()
	}
	if len(r.problems) == 0 {
		if err := check(h.config); err != nil {
			r.problems = append(r.problems, err.Error())
		}
	}
	if len(r.problems) > 0 {
		return hfFolder{}, record.Fail(record.BadData, "%s: this model cannot be used: %s: %s", path, join(r.problems), head.advice())
	}
	return h, nil
}

// hfReader collects the problems of a config.json.
type hfReader struct {
	head     hfHead
	fields   map[string]json.RawMessage
	problems []string
}

func (r *hfReader) problem(key, format string, args ...any) {
	r.problems = append(r.problems, key+": "+fmt.Sprintf(format, args...))
}

// given reports whether a field is there and not null.
func (r *hfReader) given(key string) bool {
	raw, ok := r.fields[key]
	return ok && string(raw) != "null"
}

// read decodes a field into v, which keeps its value when the field is absent or null.
func (r *hfReader) read(key string, v any, what string) {
	if !r.given(key) {
		return
	}
	if err := json.Unmarshal(r.fields[key], v); err != nil {
		r.problem(key, "%.80s is not %s", r.fields[key], what)
	}
}

// size reads a whole number, required when fallback is 0.
func (r *hfReader) size(key string, fallback int) int {
	n := fallback
	if !r.given(key) && fallback == 0 {
		r.problem(key, "is missing")
	}
	r.read(key, &n, "a whole number")
	return n
}

// number reads a float.
func (r *hfReader) number(key string, fallback float64) float64 {
	r.read(key, &fallback, "a number")
	return fallback
}

// model reads the shape and refuses every feature that would change what the weights compute.
func (r *hfReader) model() config.Model {
	f := r.family()
	c := config.Model{
		Family: f.family, Layers: r.size("num_hidden_layers", 0), Width: r.size("hidden_size", 0), Heads: r.size("num_attention_heads", 0),
		FFN: r.size("intermediate_size", 0), Vocab: r.size("vocab_size", 0), Context: r.size("max_position_embeddings", 2048),
		NormEps: r.number("rms_norm_eps", f.defaultEps),
	}
	c.KVHeads = r.size("num_key_value_heads", max(c.Heads, 1))
	r.read("tie_word_embeddings", &c.TieEmbeddings, "true or false")
	c.RopeTheta = r.rope()
	r.refuse(c)
	return c
}

// family finds the architecture by model_type and architectures, which must agree.
func (r *hfReader) family() hfFamily {
	var modelType string
	r.read("model_type", &modelType, "a text")
	i := slices.IndexFunc(hfFamilies(), func(f hfFamily) bool { return f.modelType == modelType })
	if i < 0 {
		r.problem("model_type", "%.80q is not known: llama and olmo2 are", modelType)
		return hfFamily{}
	}
	f := hfFamilies()[i]
	want := f.architecture
	if r.head == oneLabel {
		if want = f.classifier; want == "" {
			r.problem("model_type", "%q has no classification of texts", f.modelType)
			return f
		}
	}
	architectures := []string{want}
	r.read("architectures", &architectures, "a list of texts")
	if len(architectures) != 1 || architectures[0] != want {
		r.problem("architectures", "%.200q is not %q", architectures, want)
	}
	return f
}

// labels refuses a classifier with another number of labels than one. Where config.json is silent transformers takes two.
func (r *hfReader) labels() {
	n, key := 2, "num_labels"
	r.read(key, &n, "a whole number")
	if r.given("id2label") {
		var names map[string]json.RawMessage
		key = "id2label"
		r.read(key, &names, "an object")
		n = len(names)
	}
	if n != 1 {
		r.problem(key, "%d labels and not one", n)
	}
}

// rope reads the rotary base from either spelling.
func (r *hfReader) rope() float64 {
	theta := r.number("rope_theta", 10_000)
	for _, key := range []string{"rope_parameters", "rope_scaling"} {
		if !r.given(key) {
			continue
		}
		fields, err := object(r.fields[key])
		if err != nil {
			r.problem(key, "%v", err)
			continue
		}
		inner := &hfReader{fields: fields}
		kind := "default"
		inner.read("type", &kind, "a text")
		inner.read("rope_type", &kind, "a text")
		if kind != "default" {
			r.problem(key, "rope_type %.40q is not supported, only the default rotary embedding", kind)
			continue
		}
		base := inner.number("rope_theta", theta)
		if share := inner.number("partial_rotary_factor", 1); share != 1 {
			inner.problem("partial_rotary_factor", "%v is not supported", share)
		}
		if r.given("rope_theta") && base != theta {
			r.problem(key, "its rope_theta %v is not the rope_theta %v beside it", base, theta)
		}
		theta = base
		for _, p := range inner.problems {
			r.problem(key, "%s", p)
		}
	}
	return theta
}

// refuse lists the features that would be computed wrongly.
func (r *hfReader) refuse(c config.Model) {
	for _, key := range []string{"attention_bias", "mlp_bias", "use_sliding_window", "is_encoder_decoder", "add_cross_attention"} {
		var on bool
		if r.read(key, &on, "true or false"); on {
			r.problem(key, "true is not supported")
		}
	}
	for _, key := range []string{"sliding_window", "quantization_config", "auto_map", "clip_qkv", "pruned_heads"} {
		if r.given(key) && string(r.fields[key]) != "{}" {
			r.problem(key, "%.80s is not supported", r.fields[key])
		}
	}
	act := "silu"
	if r.read("hidden_act", &act, "a text"); act != "silu" && act != "swish" {
		r.problem("hidden_act", "%.40q is not supported, only silu", act)
	}
	if dropout := r.number("attention_dropout", 0); dropout != 0 {
		r.problem("attention_dropout", "%v is not supported, only 0", dropout)
	}
	if share := r.number("partial_rotary_factor", 1); share != 1 {
		r.problem("partial_rotary_factor", "%v is not supported, only 1", share)
	}
	if size := r.size("head_dim", max(c.HeadSize(), 1)); size != c.HeadSize() && c.Heads > 0 {
		r.problem("head_dim", "%d is not hidden_size over num_attention_heads, %d", size, c.HeadSize())
	}
	var kinds []string
	r.read("layer_types", &kinds, "a list of texts")
	for _, kind := range kinds {
		if kind != "full_attention" {
			r.problem("layer_types", "%.40q is not supported, only full_attention", kind)
			break
		}
	}
}

// object reads a JSON object strictly: no key twice, nothing behind it.
func object(text []byte) (map[string]json.RawMessage, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	if token, err := decoder.Token(); err != nil || token != json.Delim('{') {
		return nil, errors.New("not a JSON object")
	}
	fields := map[string]json.RawMessage{}
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return nil, err
		}
		key, _ := token.(string)
		if _, twice := fields[key]; twice {
			return nil, fmt.Errorf("%.80q comes twice", key)
		}
		var value json.RawMessage
		if err := decoder.Decode(&value); err != nil {
			return nil, err
		}
		fields[key] = value
	}
	if _, err := decoder.Token(); err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("text behind the JSON object")
	}
	return fields, nil
}
