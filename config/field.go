package config

import (
	"fmt"
	"math"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// kind is the type of a key's value.
type kind int

const (
	text    kind = iota // string
	integer             // int64
	number              // float64
	boolean             // bool
	texts               // []string
	pair                // [2]float64
	groups              // []DecayGroup
)

// field describes one key: everything that loading, messages and the schema need to know is said here once.
type field struct {
	path string // "optimizer.lr"
	kind kind
	doc  string
	def  any // nil: no value

	min, max     float64 // of integers, numbers and the elements of pairs
	above, below bool    // the limit itself is excluded
	oneOf        []string
	valid        func(string) bool // of texts and the elements of lists
	allowed      string            // what valid accepts, in words
	identity     bool              // part of what a run is: its id and what resuming compares
}

// table is the list of all keys, in the order of the file.
type table []field

func newTable() table {
	return slices.Concat(
		runFields(), modelFields(), dataFields(), optimizerFields(), scheduleFields(), serviceFields(),
	)
}

func (t table) find(path string) (field, bool) {
	for _, f := range t {
		if f.path == path {
			return f, true
		}
	}
	return field{}, false
}

// paths lists every key.
func (t table) paths() []string {
	out := make([]string, len(t))
	for i, f := range t {
		out[i] = f.path
	}
	return out
}

// section tells whether path is the head of keys, and returns the names right below it. The top is "".
func (t table) section(path string) []string {
	var names []string
	prefix := path + "."
	if path == "" {
		prefix = ""
	}
	for _, f := range t {
		rest, ok := strings.CutPrefix(f.path, prefix)
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(rest, ".")
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

const (
	maxText   = 4096 // bytes of a path
	maxList   = 256  // elements of a list
	maxTokens = 1e16 // of a whole run
)

// NamePattern is what the name of a run or grid looks like: safe as the name of a folder.
const NamePattern = `[A-Za-z0-9][A-Za-z0-9._=-]{0,63}`

func isName(s string) bool {
	return regexp.MustCompile(`\A` + NamePattern + `\z`).MatchString(s)
}

func isDevice(s string) bool {
	return regexp.MustCompile(`\A(auto|cpu|cuda(:(0|[1-9][0-9]{0,3}))?)\z`).MatchString(s)
}

func isPath(s string) bool { return len(s) <= maxText && !strings.ContainsRune(s, 0) }

func isListen(s string) bool {
	if s == "" {
		return true
	}
	m := regexp.MustCompile(`\A([A-Za-z0-9._-]*|\[[0-9A-Fa-f:.%]+\]):([0-9]{1,5})\z`).FindStringSubmatch(s)
	if m == nil {
		return false
	}
	port, err := strconv.Atoi(m[2])
	return err == nil && port <= 65535
}

func isGlob(s string) bool {
	_, err := path.Match(s, "x")
	return s != "" && len(s) <= 512 && err == nil
}

func presetNames() []string {
	names := []string{""}
	for _, p := range Presets() {
		names = append(names, p.Name)
	}
	return names
}

func runFields() []field {
	return []field{
		{path: "name", kind: text, def: "run", doc: "name of the run, for people and folders", valid: isName, allowed: "1 to 64 letters, digits and . _ = -, the first a letter or digit"},
		{path: "seed", kind: integer, def: int64(1), max: math.MaxInt64, doc: "seed of weights and data order", identity: true},
		{path: "device", kind: text, def: "auto", doc: "where to compute", valid: isDevice, allowed: "auto, cpu, cuda or cuda:N"},
		{path: "precision", kind: text, def: "bf16", oneOf: []string{"f32", "bf16"}, doc: "of products; master weights are f32 in any case", identity: true},
		{path: "step", kind: text, def: StepAuto, oneOf: []string{StepAuto, StepEngine, StepReference}, doc: "implementation of the training step; auto takes the fastest that fits"},
		{path: "isa", kind: text, def: ISAAuto, oneOf: []string{ISAAuto, "amx", "avx512_bf16", "avx512", "avx2"}, doc: "instruction set of the engine's kernels; auto takes the best of this CPU"},
		{path: "threads", kind: integer, def: int64(0), max: 1024, doc: "0: this process's share of the cores"},
		{path: "deterministic", kind: boolean, def: false, doc: "on a GPU: equal runs give equal bits also at contexts above 512, with slower attention; a CPU's do anyway"},
	}
}

func modelFields() []field {
	return []field{
		{path: "model.family", kind: text, def: Llama2, oneOf: []string{Llama2, OLMo2}, doc: "model family", identity: true},
		{path: "model.preset", kind: text, def: "", oneOf: presetNames(), doc: "named shape; the fields below override it"},
		{path: "model.layers", kind: integer, def: int64(4), min: 1, max: 1024, doc: "transformer blocks", identity: true},
		{path: "model.width", kind: integer, def: int64(128), min: 2, max: 65536, doc: "of the residual stream", identity: true},
		{path: "model.heads", kind: integer, def: int64(4), min: 1, max: 1024, doc: "query heads; must divide the width", identity: true},
		{path: "model.kv_heads", kind: integer, def: int64(0), max: 1024, doc: "key and value heads, a divisor of heads; 0: as many as heads", identity: true},
		{path: "model.ffn", kind: integer, def: int64(352), min: 1, max: 1 << 20, doc: "hidden width of the feed-forward part", identity: true},
		{path: "model.vocab", kind: integer, def: int64(0), max: 1 << 22, doc: "0: the tokenizer's; larger pads, smaller is refused", identity: true},
		{path: "model.context", kind: integer, def: int64(128), min: 1, max: 1 << 20, doc: "tokens of a sequence", identity: true},
		{path: "model.rope_theta", kind: number, def: 10_000.0, min: 1, max: 1e12, doc: "base of the rotary embedding", identity: true},
		{path: "model.norm_eps", kind: number, def: 1e-5, max: 0.1, above: true, doc: "of RMSNorm", identity: true},
		{path: "model.tie_embeddings", kind: boolean, def: false, doc: "input embedding and head are one matrix", identity: true},
	}
}

func dataFields() []field {
	path := fmt.Sprintf("a path of at most %d bytes", maxText)
	return []field{
		{path: "data.train", kind: text, def: "", valid: isPath, allowed: path, doc: "prepared folder to train on, relative to the current folder"},
		{path: "data.val", kind: text, def: "", valid: isPath, allowed: path, doc: "prepared folder to validate on; empty: no validation"},
		{path: "data.order", kind: text, def: "shuffled", oneOf: []string{"shuffled", "sequential"}, doc: "order of the sequences", identity: true},
		{path: "data.task", kind: text, def: "", valid: isPath, allowed: path, doc: "prepared task to fine-tune init on, in place of train and val"},
		{path: "init", kind: text, def: "", valid: isPath, allowed: path, doc: "run or Hugging Face folder to start from; empty: fresh weights"},
		{path: "fresh", kind: boolean, def: false, doc: "with data.task: fresh weights in the shape of init, with its tokenizer: the never-pretrained model", identity: true},
		{path: "init_truncate.query_key", kind: number, def: 0.0, max: 1, doc: "lower the ranks of W_Q and W_K of init before the first step: the lowest that keep this share of their squared singular values; 0: as they are", identity: true},
		{path: "init_truncate.value_output", kind: number, def: 0.0, max: 1, doc: "the same of W_V and W_O", identity: true},
		{path: "budget.tokens", kind: integer, min: 1, max: 1e15, doc: "tokens that the loss is over, of a task those of its responses; excludes the other budgets"},
		{path: "budget.tpp", kind: number, def: 20.0, max: 1e6, above: true, doc: "such tokens per parameter, all parameters counted; excludes the other budgets"},
		{path: "budget.steps", kind: integer, min: 1, max: 1e12, doc: "optimizer steps; excludes the other budgets"},
		{path: "budget.epochs", kind: number, max: 1e6, above: true, doc: "passes over the training data; excludes the other budgets"},
		{path: "batch.sequences", kind: integer, def: int64(16), min: 1, max: 1 << 20, doc: "sequences of one optimizer step, over all devices", identity: true},
		{path: "batch.micro_sequences", kind: integer, def: int64(0), max: 1 << 20, doc: "sequences of one pass, a divisor of sequences; 0: all of them"},
	}
}

func optimizerFields() []field {
	glob := "a glob of parameter names such as *norm*"
	return []field{
		{path: "optimizer.lr", kind: number, def: 1e-3, max: 10, above: true, doc: "peak learning rate", identity: true},
		{path: "optimizer.betas", kind: pair, def: [2]float64{0.9, 0.95}, max: 1, below: true, doc: "AdamW's", identity: true},
		{path: "optimizer.eps", kind: number, def: 1e-8, min: 1.2e-38, max: 1, doc: "AdamW's; smaller ones are 0 in float32", identity: true},
		{path: "optimizer.weight_decay", kind: number, def: 0.1, max: 1e4, doc: "λ of decoupled decay: a step shrinks by lr_t·λ_t; excludes tau", identity: true},
		{path: "optimizer.tau", kind: number, max: 1e9, above: true, doc: "AdamW timescale 1/(lr·λ·steps) instead of λ; excludes weight_decay"},
		{path: "optimizer.clip_norm", kind: number, def: 1.0, max: 1e9, doc: "global norm of the gradient; 0: no clipping", identity: true},
		{path: "optimizer.z_loss", kind: number, def: 0.0, max: 1, doc: "factor of the squared log-normaliser; 0: none", identity: true},
		{path: "optimizer.no_decay", kind: texts, def: []string{}, valid: isGlob, allowed: glob, doc: "globs of parameters without decay; one that matches nothing is an error", identity: true},
		{path: "optimizer.groups", kind: groups, def: []DecayGroup{}, max: 1e4, valid: isGlob, allowed: glob, doc: "own decay for parameters: {match: GLOB, weight_decay: X}", identity: true},
	}
}

func scheduleFields() []field {
	return []field{
		{path: "schedule.kind", kind: text, def: "cosine", oneOf: []string{"cosine", "wsd", "linear", "constant"}, doc: "course of the learning rate after the warm-up", identity: true},
		{path: "schedule.warmup_fraction", kind: number, def: 0.1, max: 1, below: true, doc: "of the steps, linear", identity: true},
		{path: "schedule.final_fraction", kind: number, def: 0.1, max: 1, doc: "of the peak, at the last step", identity: true},
		{path: "schedule.decay_fraction", kind: number, def: 0.2, max: 1, above: true, doc: "of the steps, at the end (wsd)", identity: true},
		{path: "decay_schedule.kind", kind: text, def: "constant", oneOf: []string{"constant", "linear", "cosine", "window", "coupled"}, doc: "course of the weight decay", identity: true},
		{path: "decay_schedule.final_fraction", kind: number, def: 0.0, max: 1, doc: "of the weight decay, at the last step (linear, cosine)", identity: true},
		{path: "decay_schedule.start_fraction", kind: number, def: 0.0, max: 1, below: true, doc: "of the steps, where the decay begins (window)", identity: true},
		{path: "decay_schedule.end_fraction", kind: number, def: 1.0, max: 1, above: true, doc: "of the steps, where the decay ends (window)", identity: true},
	}
}

func serviceFields() []field {
	return []field{
		{path: "eval.every_steps", kind: integer, def: int64(50), max: 1e12, doc: "0: at the end only", identity: true},
		{path: "eval.tokens", kind: integer, def: int64(65536), min: 1, max: 1e12, doc: "validation tokens of one evaluation", identity: true},
		{path: "checkpoint.every_steps", kind: integer, def: int64(200), max: 1e12, doc: "0: at the end only"},
		{path: "checkpoint.keep", kind: integer, def: int64(2), min: 1, max: 1e6, doc: "newest checkpoints to keep"},
		{path: "metrics.listen", kind: text, def: "", valid: isListen, allowed: `"" or host:port such as 127.0.0.1:9464`, doc: "address of live metrics; empty: none"},
		{path: "metrics.log_every_steps", kind: integer, def: int64(10), min: 1, max: 1e12, doc: "steps between two lines of metrics.jsonl"},
	}
}

// wanted says in words what the field accepts.
func (f field) wanted() string {
	switch f.kind {
	case text:
		if f.oneOf != nil {
			return choices(f.oneOf)
		}
		return f.allowed
	case integer:
		return "a whole number " + f.limits()
	case number:
		return "a number " + f.limits()
	case boolean:
		return "true or false"
	case texts:
		return "a list, each " + f.allowed
	case pair:
		return "a list of two numbers, each " + f.limits()
	case groups:
		return "a list of {match: GLOB, weight_decay: X}, X " + f.limits()
	}
	return ""
}

// limits says the range in words.
func (f field) limits() string {
	low, high := "from ", " to "
	if f.above {
		low = "above "
		if !f.below {
			high = " and at most "
		}
	}
	if f.below {
		high = " and below "
	}
	return low + short(f.min) + high + short(f.max)
}

// short writes a limit for people: 9223372036854775807 and not 9.223372036854775807e+18.
func short(v float64) string {
	switch {
	case v >= math.MaxInt64:
		return strconv.FormatInt(math.MaxInt64, 10)
	case v == math.Trunc(v) && math.Abs(v) < 1e7:
		return strconv.FormatInt(int64(v), 10)
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

func choices(words []string) string {
	shown := make([]string, len(words))
	for i, w := range words {
		if w == "" {
			w = `""`
		}
		shown[i] = w
	}
	return strings.Join(shown, " | ")
}

// inRange tells whether v is within the limits.
func (f field) inRange(v float64) bool {
	if v < f.min || f.above && v == f.min {
		return false
	}
	return v < f.max || v == f.max && !f.below
}

// value reads the field from a Run: nil when it has none (an unset weight decay, a budget of another kind).
func (f field) value(r *Run) any {
	v := reflect.ValueOf(r).Elem()
	for name := range strings.SplitSeq(f.path, ".") {
		v = v.FieldByIndex(byTag(v.Type(), name))
	}
	switch {
	case v.Kind() == reflect.Pointer && v.IsNil():
		return nil
	case v.Kind() == reflect.Pointer:
		v = v.Elem()
	case f.def == nil && v.IsZero():
		return nil
	case f.path == "budget.tpp" && v.IsZero():
		return nil
	}
	if f.kind == integer {
		return v.Int()
	}
	return v.Interface()
}

// byTag finds the field of a struct that has name in its yaml tag.
func byTag(t reflect.Type, name string) []int {
	for i := range t.NumField() {
		if t.Field(i).Tag.Get("yaml") == name {
			return []int{i}
		}
	}
	return nil
}
