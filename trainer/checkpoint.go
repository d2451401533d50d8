package trainer

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"syscall"
	"time"

	"plasticity/data"
	"plasticity/record"
	"plasticity/torch/nn"
	"plasticity/torch/safetensors"
)

// Files of a checkpoint.
const (
	modelFile     = "model.safetensors"
	optimizerFile = "optimizer.safetensors"
	trainerFile   = "trainer.json"
)

// state is trainer.json: what a resumed run needs beside weights and moments, and what decides
// whether its bits can be the same.
type state struct {
	Step     int64  `json:"step"`    // optimizer steps done: also the data's cursor
	Updates  int64  `json:"updates"` // of AdamW, for its bias correction
	Tokens   int64  `json:"tokens"`
	RunID    string `json:"run_id"`
	Chain    chain  `json:"chain"` // hash over the batches, losses and norms of all steps so far
	Threads  int    `json:"threads"`
	CPU      string `json:"cpu"`
	ISA      string `json:"isa,omitempty"` // of the engine's kernels
	Libtorch string `json:"libtorch"`
	// Settings that decide bits and may change; empty in checkpoints that do not know them.
	MicroSequences string `json:"micro_sequences,omitempty"`
	Deterministic  string `json:"deterministic,omitempty"`
}

// chain is a hash over the steps of a run: two runs with equal chains saw the same batches and
// computed the same losses and gradient norms, bit for bit.
type chain [sha256.Size]byte

// after is the chain one step later.
func (c chain) after(b data.Batch, r StepResult) chain {
	text := append([]byte(nil), c[:]...)
	for _, x := range []float64{r.Loss, r.GradNorm} {
		text = binary.LittleEndian.AppendUint64(text, math.Float64bits(x))
	}
	for _, id := range b.Inputs {
		text = binary.LittleEndian.AppendUint32(text, uint32(id))
	}
	return sha256.Sum256(text)
}

// MarshalText writes the chain in hexadecimal.
func (c chain) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, c[:]), nil }

// UnmarshalText reads what MarshalText wrote.
func (c *chain) UnmarshalText(text []byte) error {
	if hex.DecodedLen(len(text)) != len(c) {
		return fmt.Errorf("chain of %d digits, want %d", len(text), hex.EncodedLen(len(c)))
	}
	_, err := hex.Decode(c[:], text)
	return err
}

// save stores a checkpoint, announces it and prunes older ones. The metrics up to here are made
// durable first. A save that a full or broken disk refuses leaves the older checkpoints; training
// goes on and the next interval tries again.
func (t *training) save() error {
	start := time.Now()
	if err := t.journal.sync(); err != nil {
		t.warn("checkpoint %d is not stored, since the metrics before it are not durable: %v", t.step, err)
		return nil
	}
	if err := record.SaveCheckpoint(t.fsys, t.dir, t.step, t.meta(), t.write); err != nil {
		if !retryable(err) {
			return err
		}
		t.warn("checkpoint %d could not be stored, older ones stay: %v", t.step, err)
		return nil
	}
	t.saved = t.step
	took := time.Since(start)
	t.event(record.EventSave, fmt.Sprintf("%.0f ms", took.Seconds()*1e3))
	t.server.saved(took)
	t.prune()
	return nil
}

// prune removes the checkpoints that are not to be kept.
func (t *training) prune() {
	if err := record.Prune(t.fsys, t.dir, t.config.Checkpoint.Keep, nil); err != nil {
		t.warn("older checkpoints could not be removed: %v", err)
	}
}

// retryable reports a failure of the disk that may pass: full, over quota, broken, read-only for now.
func retryable(err error) bool {
	return record.CodeOf(err) == record.IO || errors.Is(err, syscall.EROFS) || errors.Is(err, fs.ErrPermission)
}

// guard refuses to start when the checkpoints that will be kept, and one being written, do not fit.
func (t *training) guard() error {
	there, err := record.Checkpoints(t.fsys, t.dir)
	if err != nil {
		return err
	}
	more := max(1, t.config.Checkpoint.Keep+1-len(there))
	what := fmt.Sprintf("%d checkpoints (checkpoint.keep and one being written)", more)
	return record.Need(t.fsys, t.dir, int64(more)*checkpointBytes(t.config.Model.Parameters()), what)
}

func (t *training) meta() record.CheckpointMeta {
	i := t.native
	return record.CheckpointMeta{
		RunID: t.id, ConfigDigest: t.digest, DataDigest: t.facts.TrainDigest, TokenizerDigest: t.facts.TokenizerDigest,
		Program: t.options.Program.Version, Shim: i.Shim, Libtorch: i.Libtorch, CPU: i.CPU, Step: t.stepper.Name(),
		Tokens: t.tokens, Bytes: checkpointBytes(t.stepper.Registry().NumParams()), Lock: t.lock,
	}
}

// checkpointBytes is the size of a checkpoint: values and two moments in float32, and headers.
func checkpointBytes(parameters int64) int64 { return 12*parameters + 1<<20 }

// write fills the files of a checkpoint.
func (t *training) write(d *record.CheckpointDir) error {
	r := t.stepper.Registry()
	if err := d.WriteFile(modelFile, func(w io.Writer) error {
		return safetensors.Write(w, map[string]string{"format": "pt"}, sources(r, nn.Params, ""))
	}); err != nil {
		return err
	}
	if err := d.WriteFile(optimizerFile, func(w io.Writer) error {
		moments := append(sources(r, nn.ExpAvg, "exp_avg."), sources(r, nn.ExpAvgSq, "exp_avg_sq.")...)
		return safetensors.Write(w, map[string]string{"format": "pt"}, moments)
	}); err != nil {
		return err
	}
	return d.WriteFile(trainerFile, func(w io.Writer) error {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(state{
			Step: t.step, Updates: t.stepper.Updates(), Tokens: t.tokens, RunID: t.id, Chain: t.chain,
			Threads: Threads(t.config.Run), CPU: t.native.CPU, ISA: t.stepper.ISA(), Libtorch: t.native.Libtorch,
			MicroSequences: fmt.Sprint(t.config.Batch.MicroSequences), Deterministic: fmt.Sprint(t.config.Deterministic),
		})
	})
}

// sources lists a buffer's parameters for a safetensors file, read when they are written.
func sources(r *nn.Registry, b nn.Buffer, prefix string) []safetensors.Source {
	out := make([]safetensors.Source, 0, len(r.Params()))
	for _, p := range r.Params() {
		out = append(out, safetensors.Source{
			Name: prefix + p.Name, DType: safetensors.F32, Shape: p.Shape,
			Float32: func() ([]float32, error) { return r.Read(b, p.Name) },
		})
	}
	return out
}
