package trainer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"strings"

	"plasticity/config"
	"plasticity/record"
	"plasticity/torch/nn"
	"plasticity/torch/safetensors"
)

// maxConfig bounds a config and trainer.json.
const maxConfig = 1 << 20

// look decides between starting and going on, before anything is written: what is in the folder must
// be this run, and --resume must allow it.
func (t *training) look() error {
	old, err := record.OpenFS(t.fsys, t.dir)
	if errors.Is(err, fs.ErrNotExist) {
		if t.options.Resume == ResumeMust {
			return record.Fail(record.BadData, "%s holds no run to go on with: use --resume auto to start one", t.dir)
		}
		return nil
	}
	if err != nil {
		return err
	}
	if err := t.same(old); err != nil {
		return err
	}
	if old.State() == record.StateDone {
		if t.options.Resume == ResumeNever {
			return record.Fail(record.NotPermitted, "%s holds a finished run and --resume never was given: choose another folder with --out", t.dir)
		}
		t.run, t.finished = old, true
		return nil
	}
	last, problems, err := record.LatestCheckpoint(t.fsys, t.dir)
	if err != nil {
		return err
	}
	for _, p := range problems {
		t.notes = append(t.notes, p.String())
	}
	switch {
	case last == nil && t.options.Resume == ResumeMust:
		return record.Fail(record.BadData, "%s has no checkpoint to go on from: use --resume auto to start", t.dir)
	case last != nil && t.options.Resume == ResumeNever:
		return record.Fail(record.NotPermitted, "%s has a checkpoint at step %d and --resume never was given: choose another folder with --out", t.dir, last.Step)
	}
	t.checkpoint = last
	return nil
}

// same refuses a folder that holds another run, with the fields that differ.
func (t *training) same(old *record.Run) error {
	if old.Info.ID == t.id {
		return nil
	}
	differences, err := t.differences(old)
	if err != nil {
		return err
	}
	for _, d := range []struct{ what, was, is string }{
		{"training data", old.Info.DataDigest, t.facts.TrainDigest},
		{"validation data", old.Info.ValDigest, t.facts.ValDigest},
		{"tokenizer", old.Info.TokenizerDigest, t.facts.TokenizerDigest},
		{"parent", strings.Join(old.Info.Parents, ","), t.parent.run},
	} {
		if d.was != d.is {
			differences = append(differences, fmt.Sprintf("%s: %.12s → %.12s", d.what, orNone(d.was), orNone(d.is)))
		}
	}
	if len(differences) == 0 {
		differences = []string{"the checkpoint of the parent run"}
	}
	return record.Fail(record.Mismatch, "%s holds run %s, this config is run %s: different are %s. Choose another folder with --out, or take the change back",
		t.dir, old.Info.ID, t.id, strings.Join(differences, "; "))
}

func orNone(text string) string {
	if text == "" {
		return "none"
	}
	return text
}

// differences lists the fields in which the config of an older run is another training.
func (t *training) differences(old *record.Run) ([]string, error) {
	path := old.Path(record.ResolvedFile)
	text, err := record.ReadFile(t.fsys, path, maxConfig)
	if err != nil {
		return nil, err
	}
	before, err := config.Load(config.LoadOptions{Base: text})
	if err != nil {
		return nil, record.Fail(record.BadData, "%s: %w", path, err)
	}
	resolved, err := before.Resolve(config.DataFacts{Vocab: before.Model.Vocab, TrainTokens: old.Info.TrainTokens, ValTokens: old.Info.ValTokens})
	if err != nil {
		return nil, record.Fail(record.BadData, "%s: %w", path, err)
	}
	return resolved.Diff(t.config), nil
}

// restore takes up the run where its checkpoint ends. A run without one starts, with its weights truncated if it wants that.
func (t *training) restore(ctx context.Context) error {
	for _, note := range t.notes {
		t.warn("%s", note)
	}
	c := t.checkpoint
	if c == nil {
		ranks, err := truncate(ctx, t.config.Run, t.stepper.Registry())
		if err != nil {
			return err
		}
		if ranks != "" {
			t.console.message("%s", ranks)
		}
		t.event(record.EventStart, ranks)
		return nil
	}
	s, err := t.read(c)
	if err != nil {
		return err
	}
	t.step, t.began, t.saved, t.chain = s.Step, s.Step, s.Step, s.Chain
	t.tokens = t.source.read(t.config, t.step)
	t.stepper.SetUpdates(s.Updates)
	t.event(record.EventResume, fmt.Sprintf("from step %d", c.Step))
	for _, d := range []struct{ what, was, is string }{
		{"instruction set", s.CPU, t.native.CPU},
		{"libtorch", s.Libtorch, t.native.Libtorch},
		{"threads", fmt.Sprint(s.Threads), fmt.Sprint(Threads(t.config.Run))},
		{"step", c.Meta.Step, t.stepper.Name()},
		{"the engine's kernels for", s.ISA, t.stepper.ISA()},
		{"batch.micro_sequences", s.MicroSequences, fmt.Sprint(t.config.Batch.MicroSequences)},
		{"deterministic", s.Deterministic, fmt.Sprint(t.config.Deterministic)},
	} {
		if d.was != d.is && d.was != "" && d.is != "" {
			t.warn("the checkpoint was made with %s %s, this process has %s: bits may differ from here on", d.what, d.was, d.is)
		}
	}
	return nil
}

// read fills weights and moments from a checkpoint whose digests hold, and returns its counters.
func (t *training) read(c *record.Checkpoint) (state, error) {
	var s state
	text, err := record.ReadFile(t.fsys, c.Path(trainerFile), maxConfig)
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, record.Fail(record.BadData, "%s: %w", c.Path(trainerFile), err)
	}
	if s.Step != c.Step || s.RunID != t.id || s.Step > t.config.Steps {
		return s, record.Fail(record.Mismatch, "%s: it says step %d of run %s, this is step %d of run %s with %d steps: move the folder away to start again",
			c.Path(trainerFile), s.Step, s.RunID, c.Step, t.id, t.config.Steps)
	}
	r := t.stepper.Registry()
	for _, part := range []struct {
		file, prefix string
		buffer       nn.Buffer
	}{{modelFile, "", nn.Params}, {optimizerFile, "exp_avg.", nn.ExpAvg}, {optimizerFile, "exp_avg_sq.", nn.ExpAvgSq}} {
		if err := readBuffer(r, part.buffer, c.Path(part.file), part.prefix); err != nil {
			return s, err
		}
	}
	return s, r.Round()
}

// readBuffer fills a buffer from a file that must hold every parameter in its shape.
func readBuffer(r *nn.Registry, b nn.Buffer, path, prefix string) error {
	f, err := safetensors.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
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

// catchUp knows the last step of an earlier process again, and makes good for an evaluation that a
// signal cut short there.
func (t *training) catchUp(ctx context.Context) error {
	if t.step == 0 {
		return nil
	}
	if err := t.reread(); err != nil {
		return err
	}
	if !t.due(t.config.Eval.EverySteps) || t.last.Evaluation != nil {
		return nil
	}
	e := t.last
	var err error
	if e.Evaluation, err = t.evaluate(ctx); err != nil || e.Evaluation == nil {
		return err
	}
	return t.publish(e)
}

// reread fills in the last event from the record of an earlier process.
func (t *training) reread() error {
	metrics, _, err := t.run.Metrics()
	if err != nil {
		return err
	}
	if t.finished && len(metrics) > 0 {
		last := metrics[len(metrics)-1]
		t.step, t.began, t.tokens = last.Step, last.Step, last.Tokens
	}
	nan := math.NaN()
	t.last = StepEvent{
		Step: t.step, Tokens: t.tokens, Loss: nan, LearningRate: nan, WeightDecay: nan, GradNorm: nan, Seconds: nan, TokensPerSecond: nan, FLOPs: nan,
	}
	for _, m := range metrics {
		if m.Step != t.step {
			continue
		}
		t.last = StepEvent{
			Step: m.Step, Tokens: m.Tokens, Loss: float64(m.Loss), LearningRate: float64(m.LearningRate), WeightDecay: float64(m.WeightDecay),
			GradNorm: float64(m.GradNorm), ParamNorm: float64(m.ParamNorm), Seconds: float64(m.StepSeconds),
			TokensPerSecond: float64(m.TokensPerSecond), FLOPs: nan,
		}
		if m.ValLoss != nil && m.ValBitsPerByte != nil {
			t.last.Evaluation = &Evaluation{Loss: float64(*m.ValLoss), BitsPerByte: float64(*m.ValBitsPerByte)}
		}
	}
	return nil
}
