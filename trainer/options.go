package trainer

import (
	"io"
	"os"

	"plasticity/config"
	"plasticity/record"
)

// Resume says what to do with a checkpoint that is there.
type Resume string

// The policies of --resume.
const (
	ResumeAuto  Resume = "auto"  // go on from the last checkpoint, or start
	ResumeNever Resume = "never" // start; refuse a folder with checkpoints
	ResumeMust  Resume = "must"  // go on; refuse a folder without
)

// Options are one call of Train.
type Options struct {
	Config config.Run
	Given  []byte // the config as the user wrote it
	Out    string // run folder; empty: runs/<name>/<id>
	Resume Resume
	ID     string // of the run that the config must make; empty: whatever it makes

	Grid    string
	Axes    []record.Axis
	Program Program

	Console io.Writer // progress and messages; nil: none
	TTY     bool      // Console redraws one line
	Signals <-chan os.Signal
	FS      record.FS // nil: the operating system's
	// NewStepper replaces the model's training step, for tests; nil: by Config.Step.
	NewStepper func(config.Resolved) (Stepper, error)
	probe      func(isa string) (string, error) // for tests; nil: torch.EngineISA
}

// Program identifies the running program in a run's record.
type Program struct {
	Version string
	Commit  string
	Dirty   bool
}

// Result is what a finished run ends with.
type Result struct {
	Dir          string
	ID           string
	Steps        int64
	Tokens       int64
	Loss         float64 // of the last step, nats per token
	ValLoss      float64 // of the last evaluation, nats per token; NaN without validation
	BitsPerByte  float64
	Seconds      float64 // of this process
	StepsTrained int64   // by this process
}

// StepEvent is one optimizer step as observers see it.
type StepEvent struct {
	Step            int64 // steps done, this one included
	Tokens          int64 // that the loss was over in them: of prepared text all, of a task those of its responses
	Loss            float64
	LearningRate    float64
	WeightDecay     float64
	GradNorm        float64
	ParamNorm       float64 // NaN except on logged steps
	Seconds         float64 // of this step
	TokensPerSecond float64 // of this step
	FLOPs           float64 // of this step, causal count, padding included; NaN: not known
	Logged          bool    // this step is a line of the record
	Evaluation      *Evaluation
}

// Evaluation is a validation loss.
type Evaluation struct {
	Loss        float64 // nats per token
	BitsPerByte float64
	Tokens      int64
}

// observer sees every step in order, in the training goroutine.
type observer interface {
	step(e StepEvent) error
	close() error
}
