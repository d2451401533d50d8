// Package request is what plasticity says to plasticity-worker, and what the worker says back.
//
// The worker is started as `plasticity-worker COMMAND JSON`: the name of the command and one request of the type that
// belongs to it. It has the standard streams of the program that started it, and its exit code becomes that program's.
// A reply is one line of JSON on standard output.
//
// The package is pure Go and imports record only.
package request

import (
	"encoding/json"
	"errors"
	"io"
	"strings"

	"plasticity/record"
)

// The commands of the worker.
const (
	CommandTrain             = "train"              // Train
	CommandGenerate          = "generate"           // Generate → Generated
	CommandEvalLoss          = "eval-loss"          // EvalLoss → Loss
	CommandEvalTask          = "eval-task"          // EvalTask → Scored
	CommandEvalChoices       = "eval-choices"       // EvalChoices → Scored
	CommandVerifier          = "verifier"           // Verifier → Verified
	CommandAnalyzeGap        = "analyze-gap"        // AnalyzeGap → Analyzed
	CommandAnalyzeForgetting = "analyze-forgetting" // AnalyzeForgetting → Analyzed
	CommandAnalyzeNoise      = "analyze-noise"      // AnalyzeNoise → Analyzed
	CommandAnalyzeProbes     = "analyze-probes"     // AnalyzeProbes → Analyzed
	CommandExport            = "export"             // Export
	CommandImport            = "import"             // Import
	CommandBench             = "bench"              // Bench → lines, see BenchServe
	CommandDoctor            = "doctor"             // Doctor → Machine
)

// MaxBytes bounds a request: Linux takes 128 KiB in one argument.
const MaxBytes = 120 << 10

// Train is one run, pretraining or, with data.task, fine-tuning.
type Train struct {
	Config string   `json:"config"`         // YAML file
	Sets   []string `json:"sets,omitempty"` // key=value, above the file
	// Env holds the configuration variables to apply, as of os.Environ. A worker does not look at its own environment for
	// configuration: a member of a sweep must get exactly what its file says.
	Env []string `json:"env,omitempty"`

	Out    string `json:"out,omitempty"`    // folder of the run; empty: runs/NAME/ID
	Resume string `json:"resume"`           // auto | never | must
	Listen string `json:"listen,omitempty"` // address of live metrics; empty: the configuration's
	Init   string `json:"init,omitempty"`   // where weights come from; empty: the configuration's

	DryRun bool `json:"dry_run,omitempty"`
	JSON   bool `json:"json,omitempty"`
	Quiet  bool `json:"quiet,omitempty"` // no progress on standard error

	ID   string        `json:"id,omitempty"` // of the run that is expected; empty: any
	Grid string        `json:"grid,omitempty"`
	Axes []record.Axis `json:"axes,omitempty"`
}

// Generate is a continuation of a prompt.
type Generate struct {
	Model       string  `json:"model"` // run, checkpoint or Hugging Face folder
	Prompt      string  `json:"prompt"`
	MaxTokens   int     `json:"max_tokens"`
	Temperature float64 `json:"temperature"`     // 0: the likeliest token each time
	TopK        int     `json:"top_k,omitempty"` // 0: no limit
	TopP        float64 `json:"top_p,omitempty"` // 0 or 1: no limit
	// RepetitionPenalty of tokens that are there already; 0 or 1: none.
	RepetitionPenalty float64  `json:"repetition_penalty,omitempty"`
	Stops             []string `json:"stops,omitempty"` // texts that end the continuation
	Seed              int64    `json:"seed"`
	Threads           int      `json:"threads,omitempty"`
	JSON              bool     `json:"json,omitempty"`
	Quiet             bool     `json:"quiet,omitempty"`
}

// Generated is the reply to Generate with JSON.
type Generated struct {
	Prompt string  `json:"prompt"`
	Text   string  `json:"text"`   // without the prompt
	Tokens []int32 `json:"tokens"` // the ids made
	Finish string  `json:"finish"` // eos | stop | length | context
}

// EvalLoss is the mean loss on prepared shards.
type EvalLoss struct {
	Model   string `json:"model"`
	Data    string `json:"data"`
	Tokens  int64  `json:"tokens,omitempty"` // 0: all
	Threads int    `json:"threads,omitempty"`
	JSON    bool   `json:"json,omitempty"`
	Quiet   bool   `json:"quiet,omitempty"`
}

// EvalTask answers the problems of a task and scores the answers.
type EvalTask struct {
	ID                string  `json:"id,omitempty"` // under which the folder is marked as done; empty: it is not marked
	Model             string  `json:"model"`
	Task              string  `json:"task"` // folder
	Out               string  `json:"out"`
	Samples           int     `json:"samples"`              // of each problem
	Limit             int     `json:"limit,omitempty"`      // problems, from the first on; 0: all
	MaxTokens         int     `json:"max_tokens,omitempty"` // of an answer; 0: what the context has room for
	Temperature       float64 `json:"temperature"`          // of the samples
	RepetitionPenalty float64 `json:"repetition_penalty,omitempty"`
	Precision         string  `json:"precision"`        // f32 | bf16
	Reward            string  `json:"reward,omitempty"` // folder of a reward model; empty: none
	Seed              int64   `json:"seed"`
	Threads           int     `json:"threads,omitempty"`
	JSON              bool    `json:"json,omitempty"`
	Quiet             bool    `json:"quiet,omitempty"`
}

// Verifier lets a model answer training problems of a task and makes a reward model that tells right answers from wrong ones.
type Verifier struct {
	Model             string  `json:"model"`
	Task              string  `json:"task"` // folder
	Out               string  `json:"out"`
	Problems          int     `json:"problems"`             // of the training set, from the first on; 0: all
	Samples           int     `json:"samples"`              // of each problem
	MaxTokens         int     `json:"max_tokens,omitempty"` // of an answer; 0: what the context has room for
	Temperature       float64 `json:"temperature"`
	RepetitionPenalty float64 `json:"repetition_penalty,omitempty"`
	Precision         string  `json:"precision"` // f32 | bf16, of sampling
	Steps             int     `json:"steps"`
	Batch             int     `json:"batch"` // answers a step
	LR                float64 `json:"lr"`    // peak
	Seed              int64   `json:"seed"`
	Threads           int     `json:"threads,omitempty"`
	JSON              bool    `json:"json,omitempty"`
	Quiet             bool    `json:"quiet,omitempty"`
}

// Verified is the reply to Verifier with JSON: Verifier is what the folder's verifier.json says.
type Verified struct {
	Out      string `json:"out"`
	Verifier any    `json:"verifier"`
}

// EvalChoices ranks the choices of a multiple-choice test by their likelihoods.
type EvalChoices struct {
	Model     string `json:"model"`
	Choices   string `json:"choices"`        // name of the test
	Data      string `json:"data,omitempty"` // folder or file of its data
	Out       string `json:"out"`
	Limit     int    `json:"limit,omitempty"` // problems, from the first on; 0: all
	Precision string `json:"precision"`       // f32 | bf16
	Threads   int    `json:"threads,omitempty"`
	JSON      bool   `json:"json,omitempty"`
	Quiet     bool   `json:"quiet,omitempty"`
}

// Scored is the reply to EvalTask and EvalChoices with JSON: Results is the task's entry of results.json.
type Scored struct {
	Task      string `json:"task"`
	Out       string `json:"out"`
	Unchanged bool   `json:"unchanged"`
	Results   any    `json:"results"`
}

// AnalyzeGap compares the losses on text that a model was trained on and on text that it was not.
type AnalyzeGap struct {
	Model   string `json:"model"`
	Data    string `json:"data,omitempty"`     // prepared text that the model was trained on; empty: the run's
	HeldOut string `json:"held_out,omitempty"` // prepared text that it was not trained on; empty: the run's validation text
	Out     string `json:"out,omitempty"`      // empty: analyze/gap in the run's folder
	Tokens  int64  `json:"tokens"`             // of each side, at most
	Seed    int64  `json:"seed"`
	Threads int    `json:"threads,omitempty"`
	JSON    bool   `json:"json,omitempty"`
	Quiet   bool   `json:"quiet,omitempty"`
}

// AnalyzeForgetting compares the losses of a fine-tuned model and of its base on text that the base was made for.
type AnalyzeForgetting struct {
	Model   string `json:"model"`
	Base    string `json:"base,omitempty"` // empty: what the run was fine-tuned from
	Data    string `json:"data,omitempty"` // prepared text; empty: the base run's validation text
	Out     string `json:"out,omitempty"`  // empty: analyze/forgetting in the run's folder
	Tokens  int64  `json:"tokens"`         // at most
	Seed    int64  `json:"seed"`
	Threads int    `json:"threads,omitempty"`
	JSON    bool   `json:"json,omitempty"`
	Quiet   bool   `json:"quiet,omitempty"`
}

// AnalyzeNoise measures how a model's loss answers to noise on its weights.
type AnalyzeNoise struct {
	Model   string    `json:"model"`
	Data    string    `json:"data,omitempty"` // prepared text; empty: the run's validation text
	Out     string    `json:"out,omitempty"`  // empty: analyze/noise in the run's folder
	Sigmas  []float64 `json:"sigmas"`         // relative sizes, the smallest first
	Draws   int       `json:"draws"`          // at each size
	Tokens  int64     `json:"tokens"`         // at most
	Seed    int64     `json:"seed"`
	Threads int       `json:"threads,omitempty"`
	JSON    bool      `json:"json,omitempty"`
	Quiet   bool      `json:"quiet,omitempty"`
}

// AnalyzeProbes reads labels of texts from a model's hidden states.
type AnalyzeProbes struct {
	Model    string   `json:"model"`
	Task     string   `json:"task"`
	Data     string   `json:"data,omitempty"`   // folder
	Out      string   `json:"out,omitempty"`    // empty: below analyze in the run's folder
	Pool     string   `json:"pool"`             // last | mean
	Layers   []string `json:"layers,omitempty"` // numbers from 0, and embedding; none: all
	Train    int      `json:"train"`            // texts of each split, at most
	Val      int      `json:"val"`
	Test     int      `json:"test"`
	Features string   `json:"features,omitempty"` // file for features and labels; empty: none
	Seed     int64    `json:"seed"`
	Threads  int      `json:"threads,omitempty"`
	JSON     bool     `json:"json,omitempty"`
	Quiet    bool     `json:"quiet,omitempty"`
}

// Analyzed is the reply to the analyses with JSON: Results is what the folder's file has.
type Analyzed struct {
	Out       string `json:"out"`
	Unchanged bool   `json:"unchanged"`
	Results   any    `json:"results"`
}

// Loss is the reply to EvalLoss with JSON.
type Loss struct {
	LossNatsPerToken record.Float `json:"loss_nats_per_token"`
	BitsPerByte      record.Float `json:"bits_per_byte"`
	Tokens           int64        `json:"tokens"`
}

// Export writes a run as a Hugging Face folder.
type Export struct {
	Run   string `json:"run"` // run or checkpoint
	Out   string `json:"out"`
	Quiet bool   `json:"quiet,omitempty"`
}

// Import makes a run of a Hugging Face folder.
type Import struct {
	HF    string `json:"hf"`
	Out   string `json:"out"`
	Quiet bool   `json:"quiet,omitempty"`
}

// What a bench serves. It answers lines on standard input, each with a line of JSON, so that programs can be measured in
// turns: "go N" makes N steps, N generations or N times all samples (BenchTurn, GenerateTurn, SampleTurn), "profile N" makes N steps
// and says where their time goes (BenchProfile), "products N" times large matrix products with one and with all threads (Products),
// "greedy N" continues each prompt by N tokens (GreedyTurn), and "quit" ends it, as does the end of the input. Its first line,
// BenchReady, says that it is ready.
const (
	BenchServe    = "serve"    // training steps of a configuration, without a run folder and without a trace
	BenchGenerate = "generate" // greedy continuations of random prompts by Model, or by random weights of a configuration
	BenchSample   = "sample"   // Samples of each of Prompts, as an evaluation makes them, by the same
)

// Bench starts a process whose speed is measured.
type Bench struct {
	What   string   `json:"what"` // serve | generate | sample
	Config string   `json:"config"`
	Sets   []string `json:"sets,omitempty"`
	Env    []string `json:"env,omitempty"`

	Tokens  string `json:"tokens,omitempty"`  // serve: file of little-endian int32 to train on
	Weights string `json:"weights,omitempty"` // serve: where the initial weights go, as safetensors

	Model        string `json:"model,omitempty"` // generate: run, checkpoint or Hugging Face folder
	HF           string `json:"hf,omitempty"`    // generate: where the model goes, as a Hugging Face folder
	PromptTokens int    `json:"prompt_tokens,omitempty"`
	NewTokens    int    `json:"new_tokens,omitempty"`
	Threads      int    `json:"threads,omitempty"` // generate; 0: all cores

	Prompts   [][]int32 `json:"prompts,omitempty"` // sample: tokens of each
	Samples   int       `json:"samples,omitempty"`
	Precision string    `json:"precision,omitempty"` // sample: of products, f32 | bf16
	Batch     int       `json:"batch,omitempty"`     // sample: continuations at once; 0: as an evaluation has
}

// BenchReady is the first line of a bench.
type BenchReady struct {
	Name          string       `json:"name"` // of the configuration or model
	Step          string       `json:"step"` // reference | engine | graph; generate: decode
	Precision     string       `json:"precision"`
	Device        string       `json:"device"`
	Hardware      string       `json:"hardware,omitempty"` // of a GPU, with its implementation of attention
	CPU           string       `json:"cpu"`                // instructions that libtorch dispatches to
	Threads       int          `json:"threads"`
	Parameters    int64        `json:"parameters"`
	TokensPerStep int64        `json:"tokens_per_step,omitempty"`
	FLOPsFull     record.Float `json:"flops_per_token_full,omitempty"`   // 6·N + 12·L·d·s
	FLOPsCausal   record.Float `json:"flops_per_token_causal,omitempty"` // 6·N + 6·L·d·s
}

// BenchTurn is the reply to "go N" of training.
type BenchTurn struct {
	StepMS    []record.Float `json:"step_ms"`
	Losses    []record.Float `json:"losses"`
	GradNorms []record.Float `json:"grad_norms"`
	PeakMiB   record.Float   `json:"peak_mib"` // resident memory so far; 0: not known

	// Of a GPU.
	Launch              string `json:"launch,omitempty"` // graph, or why not
	DevicePeakBytes     int64  `json:"device_peak_bytes,omitempty"`
	DeviceReservedBytes int64  `json:"device_reserved_bytes,omitempty"`
	DevicePlannedBytes  int64  `json:"device_planned_bytes,omitempty"`
}

// GenerateTurn is the reply to "go N" of generation: the milliseconds of each prompt with the first new token, and of the
// other new tokens together.
type GenerateTurn struct {
	PrefillMS []record.Float `json:"prefill_ms"`
	DecodeMS  []record.Float `json:"decode_ms"`
	PeakMiB   record.Float   `json:"peak_mib"`
}

// SampleTurn is the reply to "go N" of sampling: the milliseconds of making all samples of all prompts.
type SampleTurn struct {
	MS      []record.Float `json:"ms"`
	Tokens  int            `json:"tokens"` // new ones, of one time
	PeakMiB record.Float   `json:"peak_mib"`
}

// GreedyTurn is the reply to "greedy N": the likeliest continuation of each prompt.
type GreedyTurn struct {
	Tokens [][]int32 `json:"tokens"`
}

// BenchProfile is the reply to "profile N".
type BenchProfile struct {
	Inside bool   `json:"inside"` // the step told its parts; else only what is seen from outside is here
	Spans  []Span `json:"spans"`
}

// Span is a part of a step on one thread, in seconds from a common zero; thread -1 is the caller of the steps.
type Span struct {
	Part    string  `json:"part"`
	Thread  int     `json:"thread"`
	Start   float64 `json:"start"`
	Seconds float64 `json:"seconds"`
}

// Products is the reply to "products N": the best of N products of Size × Size matrices, in GFLOP/s.
type Products struct {
	Size  int       `json:"size"`
	Rates []Product `json:"rates"`
}

// Product is the rate of one kind of product.
type Product struct {
	Precision string       `json:"precision"` // f32 | bf16
	Threads   int          `json:"threads"`
	GFLOPS    record.Float `json:"gflops"`
}

// Doctor asks what the native side finds on this machine.
type Doctor struct {
	Products bool `json:"products"` // time matrix products, too
}

// Machine is the reply to Doctor.
type Machine struct {
	Libtorch     string       `json:"libtorch"`         // version
	LibtorchPath string       `json:"libtorch_path"`    // folder it was loaded from; empty: not known
	Shim         string       `json:"shim"`             // stamp of the loaded native library
	ShimBuilt    string       `json:"shim_built"`       // stamp the worker was built with
	CPU          string       `json:"cpu"`              // what ATen dispatches to
	Engine       string       `json:"engine,omitempty"` // instruction set of the engine's kernels; empty: it cannot run here
	Threads      int          `json:"threads"`
	GPU          string       `json:"gpu,omitempty"` // name, or why there is none
	ProductSize  int          `json:"product_size,omitempty"`
	F32GFLOPS    record.Float `json:"f32_gflops,omitempty"`
	BF16GFLOPS   record.Float `json:"bf16_gflops,omitempty"`
}

// Encode writes a request as the argument of the worker. A request beyond MaxBytes is refused with Usage.
func Encode(r any) (string, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return "", record.Fail(record.Internal, "write the request to the worker: %w", err)
	}
	if len(text) > MaxBytes {
		return "", record.Fail(record.Usage, "the request to the worker has %d bytes, %d are possible: give shorter arguments", len(text), MaxBytes)
	}
	return string(text), nil
}

// Decode reads a request. Unknown fields mean that program and worker are of different builds: the error is Usage and
// says so.
func Decode[T any](text string) (T, error) {
	var r, none T
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil {
		return none, record.Fail(record.Usage, "the worker does not understand the request, since program and worker are of different builds: run make build (%w)", err)
	}
	if err := decoder.Decode(&struct{}{}); !errors.Is(err, io.EOF) {
		return none, record.Fail(record.Usage, "the worker got more than one request: it is started by plasticity, not by hand")
	}
	return r, nil
}
