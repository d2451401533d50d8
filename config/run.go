package config

// Run is the configuration of one run, pretraining or fine-tuning. Load makes it; nobody changes it afterwards.
type Run struct {
	Name          string        `yaml:"name"`
	Seed          int64         `yaml:"seed"`
	Device        string        `yaml:"device"`        // auto | cpu | cuda | cuda:N
	Precision     string        `yaml:"precision"`     // f32 | bf16 (with f32 master weights)
	Step          string        `yaml:"step"`          // auto | engine | reference: the implementation of the training step
	ISA           string        `yaml:"isa"`           // auto | amx | avx512_bf16 | avx512 | avx2: which kernels the engine uses
	Threads       int           `yaml:"threads"`       // 0: this process's share of the cores
	Deterministic bool          `yaml:"deterministic"` // equal bits on one GPU at any context
	Model         Model         `yaml:"model"`
	Data          Data          `yaml:"data"`
	Init          string        `yaml:"init"`  // run or Hugging Face folder to start from; empty: fresh weights
	Fresh         bool          `yaml:"fresh"` // with a task: only the shape and the tokenizer of Init, the never-pretrained model
	InitTruncate  InitTruncate  `yaml:"init_truncate"`
	Budget        Budget        `yaml:"budget"`
	Batch         Batch         `yaml:"batch"`
	Optimizer     Optimizer     `yaml:"optimizer"`
	Schedule      Schedule      `yaml:"schedule"`
	DecaySchedule DecaySchedule `yaml:"decay_schedule"`
	Eval          Eval          `yaml:"eval"`
	Checkpoint    Checkpoint    `yaml:"checkpoint"`
	Metrics       Metrics       `yaml:"metrics"`
}

// Weights names the run or Hugging Face folder that the weights come from; "": they are fresh.
func (r Run) Weights() string {
	if r.Fresh {
		return ""
	}
	return r.Init
}

// The implementations of the training step, and the instruction set that is left to the CPU.
const (
	StepAuto      = "auto"
	StepEngine    = "engine"
	StepReference = "reference"
	ISAAuto       = "auto"
)

// Model is the shape of a transformer.
type Model struct {
	Family        string  `yaml:"family"` // llama2 | olmo2
	Preset        string  `yaml:"preset"` // where the fields below come from, for people; empty: none
	Layers        int     `yaml:"layers"`
	Width         int     `yaml:"width"`
	Heads         int     `yaml:"heads"`
	KVHeads       int     `yaml:"kv_heads"`
	FFN           int     `yaml:"ffn"`
	Vocab         int     `yaml:"vocab"`   // 0 until Resolve: the tokenizer's
	Context       int     `yaml:"context"` // tokens of a sequence
	RopeTheta     float64 `yaml:"rope_theta"`
	NormEps       float64 `yaml:"norm_eps"`
	TieEmbeddings bool    `yaml:"tie_embeddings"`
}

// Data names the prepared folders of token shards.
type Data struct {
	Train string `yaml:"train"`
	Val   string `yaml:"val"`   // empty: no validation
	Order string `yaml:"order"` // shuffled | sequential
	Task  string `yaml:"task"`  // prepared task to fine-tune on, instead of Train and Val; empty: pretraining
}

// InitTruncate lowers the ranks of attention's matrices before the first step: those of a part are each replaced by the best approximation
// of the lowest rank whose squared singular values sum to at least this share of all. 0: they stay as they are.
type InitTruncate struct {
	QueryKey    float64 `yaml:"query_key"`    // W_Q and W_K of every layer
	ValueOutput float64 `yaml:"value_output"` // W_V and W_O of every layer
}

// Budget is how long to train. Exactly one field is above zero.
type Budget struct {
	Tokens int64   `yaml:"tokens"`
	TPP    float64 `yaml:"tpp"` // tokens per parameter, all parameters counted
	Steps  int64   `yaml:"steps"`
	Epochs float64 `yaml:"epochs"` // passes over the training data
}

// Batch is the effective batch, over all devices.
type Batch struct {
	Sequences      int `yaml:"sequences"`       // of one optimizer step
	MicroSequences int `yaml:"micro_sequences"` // of one pass; 0: all of them, or what fits
}

// Optimizer is AdamW with decoupled decay: θ ← θ − lr_t·λ_t·θ before Adam's own step.
type Optimizer struct {
	LR          float64      `yaml:"lr"` // peak
	Betas       [2]float64   `yaml:"betas"`
	Eps         float64      `yaml:"eps"`
	WeightDecay *float64     `yaml:"weight_decay"` // λ; nil: from Tau. 0 is a value
	Tau         float64      `yaml:"tau"`          // 1/(lr·λ·steps); 0: from WeightDecay
	ClipNorm    float64      `yaml:"clip_norm"`    // 0: no clipping
	ZLoss       float64      `yaml:"z_loss"`       // 0: none
	NoDecay     []string     `yaml:"no_decay"`     // globs of parameter names
	Groups      []DecayGroup `yaml:"groups"`       // the first match wins
}

// DecayGroup gives the parameters whose names match a glob their own weight decay.
type DecayGroup struct {
	Match       string  `yaml:"match" json:"match"`
	WeightDecay float64 `yaml:"weight_decay" json:"weight_decay"`
}

// Schedule is the course of the learning rate; see Resolved.LRAt for the formulas.
type Schedule struct {
	Kind           string  `yaml:"kind"` // cosine | wsd | linear | constant
	WarmupFraction float64 `yaml:"warmup_fraction"`
	FinalFraction  float64 `yaml:"final_fraction"` // of the peak, reached at the last step; not for constant
	DecayFraction  float64 `yaml:"decay_fraction"` // of the steps, at the end; wsd only
}

// DecaySchedule is the course of the weight decay; see Resolved.DecayFactorAt for the formulas.
type DecaySchedule struct {
	Kind          string  `yaml:"kind"`           // constant | linear | cosine | window | coupled
	FinalFraction float64 `yaml:"final_fraction"` // of λ, reached at the last step; linear and cosine only
	StartFraction float64 `yaml:"start_fraction"` // of the steps; window only
	EndFraction   float64 `yaml:"end_fraction"`   // of the steps; window only
}

// Eval is when and on how much to validate.
type Eval struct {
	EverySteps int64 `yaml:"every_steps"` // 0: at the end only
	Tokens     int64 `yaml:"tokens"`
}

// Checkpoint is when to save and how many to keep.
type Checkpoint struct {
	EverySteps int64 `yaml:"every_steps"` // 0: at the end only
	Keep       int   `yaml:"keep"`
}

// Metrics is where to serve live metrics and how often to log.
type Metrics struct {
	Listen        string `yaml:"listen"` // host:port; empty: nowhere
	LogEverySteps int64  `yaml:"log_every_steps"`
}
