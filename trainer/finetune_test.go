package trainer

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plasticity/config"
	"plasticity/data"
	"plasticity/data/task"
	"plasticity/model"
	"plasticity/record"
	"plasticity/torch"
	"plasticity/torch/safetensors"
	"plasticity/torch/torchtest"
)

// pretrained is a run of a small model, whose context has room for an exercise.
func pretrained(t testing.TB, more ...string) string {
	t.Helper()
	dir := filepath.Join(folder(t), "base")
	sets := append(settings(corpus(t, 1)), "model.context=128", "budget.steps=3", "checkpoint.every_steps=0")
	if _, err := train(t, dir, append(sets, more...)); err != nil {
		t.Fatal(err)
	}
	return dir
}

// arithmeticTask is a prepared task of 41 examples to learn from and 13 to be tested with.
func arithmeticTask(t testing.TB) string {
	t.Helper()
	out := filepath.Join(folder(t), "task")
	if _, err := task.Make(context.Background(), task.Options{Name: "arithmetic", Out: out, Seed: 3, Train: 41, Test: 13, Levels: []int{1}}); err != nil {
		t.Fatal(err)
	}
	return out
}

// opened is the data of a config.
func opened(t testing.TB, c *config.Run) source {
	t.Helper()
	base, _, err := locateInit(c)
	if err != nil {
		t.Fatal(err)
	}
	read, err := openSource(c, base)
	if err != nil {
		t.Fatal(err)
	}
	return read
}

// finetuning are the settings of a run of two epochs of eleven steps, the last of one example.
func finetuning(base, task string, more ...string) []string {
	return append([]string{
		"name=tuned", "precision=f32", "threads=1", "init=" + base, "data.task=" + task, "batch.sequences=4", "budget.epochs=2",
		"optimizer.lr=1e-2", "optimizer.betas=[0.9, 0.999]", "optimizer.weight_decay=0", "schedule.final_fraction=0",
		"eval.every_steps=5", "eval.tokens=128", "checkpoint.every_steps=5", "metrics.log_every_steps=5",
	}, more...)
}

// A fine-tuned run has its parent's shape and tokenizer, says what it is, learns its task, and ends with the same bits
// wherever it was stopped; engine and reference learn alike.
func TestFinetune_LearnsAndResumes(t *testing.T) {
	torchtest.NoLeaks(t)
	exercises := arithmeticTask(t)
	for _, family := range []string{config.Llama2, config.OLMo2} {
		base := pretrained(t, "model.family="+family)
		losses := map[string]float64{}
		for _, how := range [][]string{{"step=engine"}, {"step=reference"}, {"step=engine", "precision=bf16", "threads=2", "batch.micro_sequences=2"}} {
			name := family + " " + strings.Join(how, " ")
			sets := finetuning(base, exercises, how...)
			if p, err := MakePlan(load(t, sets), ""); err != nil || p.Epochs != 2 {
				t.Errorf("%s: planned %v passes over the exercises, %v", name, p.Epochs, err)
			}
			calm := filepath.Join(folder(t), "calm")
			result, err := train(t, calm, sets)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			run, err := record.Open(calm)
			if err != nil {
				t.Fatal(err)
			}
			metrics, _, err := run.Metrics()
			if err != nil {
				t.Fatal(err)
			}
			if first := float64(metrics[0].Loss); !(result.ValLoss < 0.8*first) || result.Steps != 22 {
				t.Errorf("%s: %d steps from a loss of %v to one of %v on other exercises", name, result.Steps, first, result.ValLoss)
			}
			losses[strings.Join(how, " ")] = result.ValLoss
			parent, err := record.Open(base)
			if err != nil {
				t.Fatal(err)
			}
			if i := run.Info; i.Kind != "finetune" || i.Task != "arithmetic" || !cmp.Equal(i.Parents, []string{parent.Info.ID}) || i.DataSource != "task arithmetic" || i.Parameters != parent.Info.Parameters {
				t.Errorf("%s: the record says %s of %v on %s, %d parameters", name, i.Kind, i.Parents, i.DataSource, i.Parameters)
			}
			source, err := model.Locate(calm)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := source.Tokenizer(); err != nil {
				t.Error(err)
			}
			want := outcomeOf(t, calm)
			for _, n := range []int{1, 10, 11, 12, 21} {
				dir := filepath.Join(folder(t), "stopped")
				if _, err := train(t, dir, sets, stopping(n)); record.CodeOf(err) != record.Stopped {
					t.Fatalf("%s, stopped at step %d: %v", name, n, err)
				}
				if _, err := train(t, dir, sets); err != nil {
					t.Fatalf("%s, resumed at step %d: %v", name, n, err)
				}
				if diff := cmp.Diff(want, outcomeOf(t, dir)); diff != "" {
					t.Errorf("%s, resumed at step %d (-undisturbed +resumed):\n%s", name, n, diff)
				}
			}
		}
		if e, r := losses["step=engine"], losses["step=reference"]; math.Abs(e/r-1) > 1e-3 {
			t.Errorf("%s: the engine ends at %v, the reference at %v", family, e, r)
		}
		t.Logf("%s: losses of unseen exercises %v", family, losses)
	}
}

// The tokens of a fine-tuning are those that the loss was over, a pass having all of the task's; its operations are those of all that is
// computed, padding included.
func TestFinetune_CountsTokens(t *testing.T) {
	base, exercises := pretrained(t), arithmeticTask(t)
	sets := finetuning(base, exercises, "metrics.log_every_steps=1")
	dir := filepath.Join(folder(t), "run")
	result, err := train(t, dir, sets)
	if err != nil {
		t.Fatal(err)
	}
	c := load(t, sets)
	read := opened(t, &c)
	r, err := c.Resolve(read.facts())
	if err != nil {
		t.Fatal(err)
	}
	run, err := record.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	metrics, _, err := run.Metrics()
	if err != nil || len(metrics) != 22 {
		t.Fatalf("%d lines, %v", len(metrics), err)
	}
	loader, err := read.load(r, 0)
	if err != nil {
		t.Fatal(err)
	}
	tokens := int64(0)
	for _, m := range metrics {
		b, err := loader.Next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		counted := int64(b.Counted())
		tokens += counted
		if m.Tokens != tokens || math.Abs(float64(m.TokensPerSecond*m.StepSeconds)/float64(counted)-1) > 1e-9 {
			t.Errorf("step %d: %d tokens, %v a second for %v s; the loss was over %d and over %d in this step", m.Step, m.Tokens, m.TokensPerSecond, m.StepSeconds, tokens, counted)
		}
		_, perToken := r.Model.FLOPsPerToken(b.Time)
		if got := (&training{config: r}).flops(b); got != perToken*float64(len(b.Inputs)) || int(counted) >= len(b.Inputs) {
			t.Errorf("step %d: %v operations for %d × %d tokens", m.Step, got, b.Sequences(), b.Time)
		}
	}
	if i := run.Info; tokens != 2*i.TrainTokens || i.Tokens != tokens || result.Tokens != tokens {
		t.Errorf("%d tokens in two passes over %d; planned %d, ended with %d", tokens, i.TrainTokens, i.Tokens, result.Tokens)
	}
}

// What cannot be fine-tuned is refused before anything is written, by name and with what to do.
func TestFinetune_Refuses(t *testing.T) {
	base, exercises := pretrained(t), arithmeticTask(t)
	short := pretrained(t, "model.context=16")
	broken := arithmeticTask(t)
	if err := os.WriteFile(filepath.Join(broken, "train.jsonl"), []byte("{}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, words string
		sets        []string
		code        record.Code
	}{
		{"no base", "nowhere", finetuning("nowhere", exercises), record.BadData},
		{"another shape", "leave the section model out", finetuning(base, exercises, "model.layers=5"), record.Usage},
		{"no task", "nothing-here", finetuning(base, "nothing-here"), record.BadData},
		{"a damaged task", "train.jsonl:1", finetuning(base, broken), record.BadData},
		{"prompts longer than the context", "arithmetic-t", finetuning(short, exercises), record.BadData},
	} {
		dir := filepath.Join(folder(t), "refused")
		_, err := train(t, dir, c.sets)
		if record.CodeOf(err) != c.code || !strings.Contains(fmt.Sprint(err), c.words) {
			t.Errorf("%s: %v (code %d), want %d with %q", c.name, err, record.CodeOf(err), c.code, c.words)
		}
		if _, err := os.Stat(dir); err == nil {
			t.Errorf("%s: the folder was made", c.name)
		}
	}
	for _, sets := range [][]string{{"data.task=x"}, {"data.task=x", "init=y", "data.train=z"}} {
		if _, err := config.Load(config.LoadOptions{Sets: sets}); record.CodeOf(err) != record.Usage || !strings.Contains(fmt.Sprint(err), "data.task") {
			t.Errorf("%v: %v, want 64 about data.task", sets, err)
		}
	}
}

// tuningSpec is what oracle/finetune_parity.py reads.
type tuningSpec struct {
	Dir     string        `json:"dir"`
	Batches []tuningBatch `json:"batches"`
	LR      []float64     `json:"lr"`
	Betas   [2]float64    `json:"betas"`
	Eps     float64       `json:"eps"`
	Clip    float64       `json:"clip_norm"`
}

// tuningBatch has labels as transformers takes them: at the position of the token itself, −100 where none counts.
type tuningBatch struct {
	IDs    [][]int32 `json:"input_ids"`
	Labels [][]int32 `json:"labels"`
}

// Thirty steps of fine-tuning have the losses and gradient norms that transformers has with its own loss over the same
// masked batches, both families, engine and reference.
func TestFinetune_OracleParity(t *testing.T) {
	python := os.Getenv("PLASTICITY_ORACLE")
	if python == "" {
		t.Skip("needs transformers: make oracle")
	}
	const steps = 30
	exercises := arithmeticTask(t)
	for _, family := range []string{config.Llama2, config.OLMo2} {
		base := pretrained(t, "model.family="+family, "budget.steps=30")
		spec := tuningSpec{Dir: filepath.Join(t.TempDir(), "hf")}
		m, source, err := model.Open(base, torch.Float32)
		if err != nil {
			t.Fatal(err)
		}
		tokenizer, err := source.Tokenizer()
		if err == nil {
			err = model.SaveHF(record.OS(), spec.Dir, m, model.ExportOptions{DType: safetensors.F32, Tokenizer: tokenizer})
		}
		m.Close()
		if err != nil {
			t.Fatal(err)
		}
		c := load(t, finetuning(base, exercises, "optimizer.lr=3e-3"))
		c.Budget = config.Budget{Steps: steps}
		read := opened(t, &c)
		r, err := c.Resolve(read.facts())
		if err != nil {
			t.Fatal(err)
		}
		loader, err := read.load(r, 0)
		if err != nil {
			t.Fatal(err)
		}
		var all []data.Batch
		for s := range int64(steps) {
			b, err := loader.Next(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, b)
			spec.Batches = append(spec.Batches, asLabels(b))
			spec.LR = append(spec.LR, r.LRAt(s))
		}
		spec.Betas, spec.Eps, spec.Clip = r.Optimizer.Betas, r.Optimizer.Eps, r.Optimizer.ClipNorm
		losses, norms := askTuning(t, python, spec)
		for _, step := range []string{config.StepEngine, config.StepReference} {
			r.Step = step
			s := stepper(t, r)
			worstLoss, worstNorm := 0.0, 0.0
			for i, b := range all {
				got, err := s.Step(context.Background(), b, Update{LR: spec.LR[i]})
				if err != nil {
					t.Fatal(err)
				}
				worstLoss = math.Max(worstLoss, math.Abs(got.Loss/losses[i]-1))
				worstNorm = math.Max(worstNorm, math.Abs(got.GradNorm/norms[i]-1))
			}
			if !(worstLoss <= 1e-3) || !(worstNorm <= 1e-3) {
				t.Errorf("%s, %s: losses differ by %.1e, norms by %.1e", family, step, worstLoss, worstNorm)
			}
			t.Logf("%s, %s: %d steps, loss %.4f to %.4f, largest relative difference of a loss %.1e, of a gradient norm %.1e", family, step, steps, losses[0], losses[steps-1], worstLoss, worstNorm)
		}
	}
}

// asLabels turns a batch into what transformers takes. The last target of a row is a token that no input has.
func asLabels(b data.Batch) tuningBatch {
	var out tuningBatch
	for i := range b.Sequences() {
		inputs, targets := b.Inputs[i*b.Time:(i+1)*b.Time], b.Targets[i*b.Time:(i+1)*b.Time]
		ids := append([]int32{}, inputs...)
		labels := []int32{-100}
		for _, target := range targets {
			if target < 0 {
				target = -100
			}
			labels = append(labels, target)
		}
		out.IDs = append(out.IDs, append(ids, max(0, targets[b.Time-1])))
		out.Labels = append(out.Labels, labels)
	}
	return out
}

func askTuning(t *testing.T, python string, spec tuningSpec) (losses, norms []float64) {
	t.Helper()
	in, out := filepath.Join(t.TempDir(), "spec.json"), filepath.Join(t.TempDir(), "out.json")
	text, err := json.Marshal(spec)
	if err == nil {
		err = os.WriteFile(in, text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	if said, err := exec.Command(python, filepath.Join("..", "oracle", "finetune_parity.py"), in, out).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	var answer struct{ Losses, Norms []float64 }
	if text, err = os.ReadFile(out); err == nil {
		err = json.Unmarshal(text, &answer)
	}
	if err != nil || len(answer.Losses) != len(spec.LR) {
		t.Fatalf("%d losses, %v", len(answer.Losses), err)
	}
	return answer.Losses, answer.Norms
}
