package trainer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"plasticity/config"
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

// state is trainer.json: what a resumed run needs beside weights and moments.
type state struct {
	Step    int64  `json:"step"`    // optimizer steps done: also the data's cursor
	Updates int64  `json:"updates"` // of AdamW, for its bias correction
	Tokens  int64  `json:"tokens"`
	RunID   string `json:"run_id"`
}

// save stores a checkpoint, announces it and prunes older ones. A save that fails leaves the older
// checkpoints; training goes on and the next interval tries again.
func (t *training) save() error {
	start := time.Now()
	err := record.SaveCheckpoint(t.fsys, t.dir, t.step, t.meta(), t.write)
	if err != nil {
		t.event("warning", fmt.Sprintf("the checkpoint could not be stored: %v", err))
		t.console.message("checkpoint %d could not be stored, the older one stays: %v", t.step, err)
		if record.CodeOf(err) == record.IO {
			return nil
		}
		return err
	}
	t.saved, t.saveTime = t.step, time.Since(start)
	t.event("save", fmt.Sprintf("%.0f ms", t.saveTime.Seconds()*1e3))
	if err := record.Prune(t.fsys, t.dir, t.config.Checkpoint.Keep, nil); err != nil {
		t.console.message("older checkpoints could not be removed: %v", err)
	}
	return nil
}

func (t *training) meta() record.CheckpointMeta {
	i := t.run.Info
	return record.CheckpointMeta{
		RunID: t.id, DataDigest: i.DataDigest, TokenizerDigest: i.TokenizerDigest, Program: i.Program, Shim: i.Shim,
		Libtorch: i.Libtorch, CPU: i.CPU, Step: t.stepper.Name(), Tokens: t.step * t.config.TokensPerStep,
		Bytes: checkpointBytes(t.stepper.Registry().NumParams()), Lock: t.lock,
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
		return encoder.Encode(state{Step: t.step, Updates: t.stepper.Updates(), Tokens: t.step * t.config.TokensPerStep, RunID: t.id})
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

// restore decides between starting and going on, and reads the last checkpoint.
func (t *training) restore() error {
	last, problems, err := record.LatestCheckpoint(t.fsys, t.dir)
	for _, p := range problems {
		t.event("warning", p.String())
		t.console.message("%s", p)
	}
	if err != nil {
		return err
	}
	switch {
	case last == nil && t.options.Resume == ResumeMust:
		return record.Fail(record.BadData, "%s has no checkpoint to go on from: use --resume auto to start", t.dir)
	case last != nil && t.options.Resume == ResumeNever:
		return record.Fail(record.NotPermitted, "%s has a checkpoint at step %d and --resume never was given: choose another folder with --out", t.dir, last.Step)
	case last == nil:
		t.event("start", "")
		return nil
	}
	if err := t.read(last); err != nil {
		return err
	}
	t.began, t.saved = t.step, t.step
	t.event("resume", fmt.Sprintf("from %s", last.Dir))
	if last.Meta.CPU != t.run.Info.CPU || last.Meta.Libtorch != t.run.Info.Libtorch {
		t.event("warning", fmt.Sprintf("the checkpoint was made with %s and libtorch %s: bits may differ from here on", last.Meta.CPU, last.Meta.Libtorch))
	}
	return nil
}

// read fills weights, moments and counters from a checkpoint whose digests hold.
func (t *training) read(c *record.Checkpoint) error {
	text, err := record.ReadFile(t.fsys, c.Path(trainerFile), 1<<20)
	if err != nil {
		return err
	}
	var s state
	if err := json.Unmarshal(text, &s); err != nil {
		return record.Fail(record.BadData, "%s: %w", c.Path(trainerFile), err)
	}
	if s.Step != c.Step || s.RunID != t.id || s.Step > t.config.Steps {
		return record.Fail(record.Mismatch, "%s: it says step %d of run %s, this is run %s with %d steps", c.Path(trainerFile), s.Step, s.RunID, t.id, t.config.Steps)
	}
	r := t.stepper.Registry()
	for _, part := range []struct {
		file, prefix string
		buffer       nn.Buffer
	}{{modelFile, "", nn.Params}, {optimizerFile, "exp_avg.", nn.ExpAvg}, {optimizerFile, "exp_avg_sq.", nn.ExpAvgSq}} {
		if err := readBuffer(r, part.buffer, c.Path(part.file), part.prefix); err != nil {
			return err
		}
	}
	if err := r.Round(); err != nil {
		return err
	}
	t.step = s.Step
	t.stepper.SetUpdates(s.Updates)
	return nil
}

// readBuffer fills a buffer from a file that must hold every parameter in its shape.
func readBuffer(r *nn.Registry, b nn.Buffer, path, prefix string) error {
	f, err := safetensors.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	for _, p := range r.Params() {
		values, err := f.Float32(prefix + p.Name)
		if err != nil {
			return err
		}
		if int64(len(values)) != p.Len() {
			return record.Fail(record.Mismatch, "%s: %s%s has %d values, the model %d", path, prefix, p.Name, len(values), p.Len())
		}
		if err := r.Write(b, p.Name, values); err != nil {
			return err
		}
	}
	return nil
}

// mismatch refuses a folder that holds another run, with the fields that differ.
func (t *training) mismatch(old *record.Run) error {
	var differences []string
	text, err := record.ReadFile(t.fsys, old.Path(record.ResolvedFile), 1<<20)
	if err != nil {
		return err
	}
	before, err := config.Load(config.LoadOptions{Base: text})
	if err != nil {
		return record.Fail(record.BadData, "%s: %w", old.Path(record.ResolvedFile), err)
	}
	facts := config.DataFacts{
		Vocab: before.Model.Vocab, TrainTokens: old.Info.TrainTokens, ValTokens: old.Info.ValTokens, TrainDigest: old.Info.DataDigest,
		ValDigest: old.Info.ValDigest, TokenizerDigest: old.Info.TokenizerDigest,
	}
	resolved, err := before.Resolve(facts)
	if err != nil {
		return errors.Join(record.Fail(record.BadData, "%s cannot be resolved again", old.Path(record.ResolvedFile)), err)
	}
	differences = resolved.Diff(t.config)
	for _, d := range []struct{ what, was, is string }{
		{"training data", old.Info.DataDigest, t.facts.TrainDigest},
		{"validation data", old.Info.ValDigest, t.facts.ValDigest},
		{"tokenizer", old.Info.TokenizerDigest, t.facts.TokenizerDigest},
	} {
		if d.was != d.is {
			differences = append(differences, fmt.Sprintf("%s: digest %.12s → %.12s", d.what, d.was, d.is))
		}
	}
	if old.Info.ID == t.id {
		return nil
	}
	if len(differences) == 0 {
		differences = []string{"parent run"}
	}
	return record.Fail(record.Mismatch, "%s holds run %s, this config is run %s; different are %s: choose another folder with --out, or take the change back",
		t.dir, old.Info.ID, t.id, strings.Join(differences, "; "))
}
