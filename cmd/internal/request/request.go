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
	CommandTrain    = "train"     // Train
	CommandGenerate = "generate"  // Generate → Generated
	CommandEvalLoss = "eval-loss" // EvalLoss → Loss
	CommandExport   = "export"    // Export
	CommandImport   = "import"    // Import
	CommandBench    = "bench"     // Bench → BenchResult
	CommandDoctor   = "doctor"    // Doctor → Machine
)

// MaxBytes bounds a request: Linux takes 128 KiB in one argument.
const MaxBytes = 120 << 10

// Train is one pretraining run.
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

	Grid    string        `json:"grid,omitempty"`
	Axes    []record.Axis `json:"axes,omitempty"`
	Parents []string      `json:"parents,omitempty"`
}

// Generate is a continuation of a prompt.
type Generate struct {
	Model       string  `json:"model"` // run, checkpoint or Hugging Face folder
	Prompt      string  `json:"prompt"`
	MaxTokens   int     `json:"max_tokens"`
	Temperature float64 `json:"temperature"`     // 0: the likeliest token each time
	TopK        int     `json:"top_k,omitempty"` // 0: no limit
	TopP        float64 `json:"top_p,omitempty"` // 0 or 1: no limit
	Seed        int64   `json:"seed"`
	Threads     int     `json:"threads,omitempty"`
	JSON        bool    `json:"json,omitempty"`
	Quiet       bool    `json:"quiet,omitempty"`
}

// Generated is the reply to Generate with JSON.
type Generated struct {
	Prompt string  `json:"prompt"`
	Text   string  `json:"text"`   // without the prompt
	Tokens []int32 `json:"tokens"` // the ids made
	Finish string  `json:"finish"` // eos | length | context
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

// Bench times training steps, without a run folder and without a trace. With What "serve" it answers lines on standard
// input: "go N" makes N steps and is answered by a line of JSON.
type Bench struct {
	What   string   `json:"what"` // train | serve
	Config string   `json:"config"`
	Sets   []string `json:"sets,omitempty"`
	Env    []string `json:"env,omitempty"`
	Steps  int      `json:"steps"`  // timed
	Warmup int      `json:"warmup"` // before them
	JSON   bool     `json:"json,omitempty"`
	Quiet  bool     `json:"quiet,omitempty"`

	Tokens  string `json:"tokens,omitempty"`  // serve: file of little-endian int32 to train on
	Weights string `json:"weights,omitempty"` // serve: where the initial weights go, as safetensors
}

// BenchResult is the reply to Bench with JSON.
type BenchResult struct {
	Name            string       `json:"name"` // of the configuration
	Step            string       `json:"step"` // reference | engine | graph
	Precision       string       `json:"precision"`
	Device          string       `json:"device"`
	Threads         int          `json:"threads"`
	Parameters      int64        `json:"parameters"`
	TokensPerStep   int64        `json:"tokens_per_step"`
	Steps           int          `json:"steps"`
	StepMSBest      record.Float `json:"step_ms_best"`
	StepMSMedian    record.Float `json:"step_ms_median"`
	TokensPerSecond record.Float `json:"tokens_per_second"` // at the median
	GFLOPS          record.Float `json:"gflops"`            // causal count, at the median
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
