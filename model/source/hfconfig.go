package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"

	"plasticity/config"
	"plasticity/record"
)

// The files of a Hugging Face folder that are not weights and not the tokenizer's.
const (
	HFConfigFile     = "config.json"
	HFGenerationFile = "generation_config.json"
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

// familyOf is the family of a model, whose shape has been checked.
func familyOf(c config.Model) hfFamily {
	i := slices.IndexFunc(hfFamilies(), func(f hfFamily) bool { return f.family == c.Family })
	return hfFamilies()[i]
}

// Classifier is the architecture that classifies texts by a model of this family; empty: transformers has none.
func Classifier(c config.Model) string { return familyOf(c).classifier }

// maxHFConfig is the largest config.json in bytes.
const maxHFConfig = 1 << 20

// HF is what config.json says of a model.
type HF struct {
	Config config.Model
	EOS    HFTokens // that end a text
	PAD    *int32   // of a classifier, what fills up batches; nil: none
}

// ReadHFConfig reads config.json of a Hugging Face folder. What this program cannot use as asked is refused by name, all of it at
// once: the error is a record.Failure with BadData.
func ReadHFConfig(fsys record.FS, dir string, use Use) (HF, error) {
	path := filepath.Join(dir, HFConfigFile)
	text, err := record.ReadFile(fsys, path, maxHFConfig)
	if err != nil {
		return HF{}, missing(err, "name a run folder or the folder of a Hugging Face model")
	}
	r := &hfReader{use: use}
	if r.fields, err = object(text); err != nil {
		return HF{}, record.Fail(record.BadData, "%s: %w: copy or export it again", path, err)
	}
	h := HF{Config: r.model()}
	r.read("eos_token_id", &h.EOS, "a token id or a list of them")
	if use == ToScore {
		r.read("pad_token_id", &h.PAD, "a token id")
		r.labels()
	}
	if len(r.problems) == 0 {
		if err := check(h.Config, use); err != nil {
			r.problems = append(r.problems, err.Error())
		}
	}
	if len(r.problems) > 0 {
		return HF{}, record.Fail(record.BadData, "%s: this model cannot be used: %s: %s", path, Join(r.problems), use.advice())
	}
	return h, nil
}

// Exported says that a folder's config.json was written by NewHFConfig.
func Exported(fsys record.FS, dir string) bool {
	text, err := record.ReadFile(fsys, filepath.Join(dir, HFConfigFile), maxHFConfig)
	if err != nil {
		return false
	}
	var c HFConfig
	fields, err := object(text)
	return err == nil && json.Unmarshal(fields["exported_by"], &c.ExportedBy) == nil && c.ExportedBy == Exporter
}

// hfReader collects the problems of a config.json.
type hfReader struct {
	use      Use
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

// model reads the shape and refuses every feature that matters to the use.
func (r *hfReader) model() config.Model {
	f := r.family()
	c := config.Model{
		Family: f.family, Layers: r.size("num_hidden_layers", 0), Width: r.size("hidden_size", 0), Heads: r.size("num_attention_heads", 0),
		FFN: r.size("intermediate_size", 0), Vocab: r.size("vocab_size", 0), Context: r.size("max_position_embeddings", 2048),
		NormEps: r.number("rms_norm_eps", f.defaultEps),
	}
	c.KVHeads = r.size("num_key_value_heads", max(c.Heads, 1))
	r.read("tie_word_embeddings", &c.TieEmbeddings, "true or false")
	r.refuseStorage(c)
	if r.use != ToInspect {
		c.RopeTheta = r.rope()
		r.refuse()
	}
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
	if r.use == ToScore {
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

// refuseStorage lists the features with which the matrices are not what their names and shapes say.
func (r *hfReader) refuseStorage(c config.Model) {
	for _, key := range []string{"quantization_config", "auto_map", "pruned_heads"} {
		r.refuseGiven(key)
	}
	if size := r.size("head_dim", max(c.HeadSize(), 1)); size != c.HeadSize() && c.Heads > 0 {
		r.problem("head_dim", "%d is not hidden_size over num_attention_heads, %d", size, c.HeadSize())
	}
}

// refuseGiven refuses a feature by its presence.
func (r *hfReader) refuseGiven(key string) {
	if r.given(key) && string(r.fields[key]) != "{}" {
		r.problem(key, "%.80s is not supported", r.fields[key])
	}
}

// refuse lists the features that would be computed wrongly.
func (r *hfReader) refuse() {
	for _, key := range []string{"attention_bias", "mlp_bias", "use_sliding_window", "is_encoder_decoder", "add_cross_attention"} {
		var on bool
		if r.read(key, &on, "true or false"); on {
			r.problem(key, "true is not supported")
		}
	}
	for _, key := range []string{"sliding_window", "clip_qkv"} {
		r.refuseGiven(key)
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
