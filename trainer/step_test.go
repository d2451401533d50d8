package trainer

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"plasticity/config"
	"plasticity/data"
	"plasticity/model"
	"plasticity/record"
	"plasticity/torch"
	"plasticity/torch/nn"
	"plasticity/torch/safetensors"
	"plasticity/torch/torchtest"
)

// parameters trains a few steps and returns all values, with the losses and norms of the steps.
func parameters(t *testing.T, sets []string, steps int) (values []float32, numbers []float64) {
	t.Helper()
	r, set, _ := resolve(t, sets)
	s, err := newStepper(r)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	loader, err := data.NewLoader(set, data.LoaderOptions{Context: r.Model.Context, Sequences: r.Batch.Sequences, Seed: r.Seed, Order: r.Data.Order})
	if err != nil {
		t.Fatal(err)
	}
	defer loader.Close()
	for range steps {
		b, err := loader.Next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		result, err := s.Step(context.Background(), b, Update{LR: 1e-3, DecayFactor: 1})
		if err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, result.Loss, result.GradNorm)
	}
	for _, p := range s.Registry().Params() {
		v, err := s.Registry().Read(nn.Params, p.Name)
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, v...)
	}
	return values, numbers
}

// Micro-batches of any size make the step of the whole batch.
func TestStepper_Accumulates(t *testing.T) {
	torchtest.NoLeaks(t)
	prepared := corpus(t, 1)
	for _, how := range [][]string{{"model.family=llama2"}, {"model.family=olmo2"}, {"model.family=llama2", "step=reference"}, {"model.family=olmo2", "step=reference"}} {
		family := strings.Join(how, " ")
		sets := append(settings(prepared, how...), "batch.sequences=8", "optimizer.z_loss=1e-3")
		want, wantNumbers := parameters(t, sets, 5)
		for _, micro := range []int{1, 2, 4} {
			got, numbers := parameters(t, append(sets, fmt.Sprint("batch.micro_sequences=", micro)), 5)
			worst := 0.0
			for i := range got {
				worst = math.Max(worst, math.Abs(float64(got[i]-want[i])))
			}
			for i := range numbers {
				if d := math.Abs(numbers[i]-wantNumbers[i]) / wantNumbers[i]; d > 1e-5 {
					t.Errorf("%s, micro-batches of %d: number %d is %v, want %v", family, micro, i, numbers[i], wantNumbers[i])
				}
			}
			if worst > 1e-5 {
				t.Errorf("%s, micro-batches of %d: values differ by %g after 5 steps", family, micro, worst)
			}
			t.Logf("%s, micro-batches of %d of 8: largest difference of values after 5 steps %.2g", family, micro, worst)
		}
	}
}

// usage is what a process holds.
type usage struct{ live, threads, files, resident int64 }

func usageNow(t *testing.T) usage {
	t.Helper()
	count := func(dir string) int64 {
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		return int64(len(entries))
	}
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(text))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return usage{torch.Live(), count("/proc/self/task"), count("/proc/self/fd"), pages * int64(os.Getpagesize()) >> 10}
}

// watching notes what the process holds after each step.
type watching struct {
	Stepper
	t    *testing.T
	seen *[]usage
}

func (w watching) Step(ctx context.Context, b data.Batch, u Update) (StepResult, error) {
	r, err := w.Stepper.Step(ctx, b, u)
	*w.seen = append(*w.seen, usageNow(w.t))
	return r, err
}

// Over a thousand steps with evaluations, checkpoints and metrics nothing grows: native tensors,
// threads, files, memory.
func TestTrain_ThousandStepsFlat(t *testing.T) {
	var seen []usage
	sets := settings(corpus(t, 1), "budget.steps=1000", "eval.every_steps=50", "checkpoint.every_steps=50", "metrics.listen=127.0.0.1:0", "precision=bf16")
	_, err := train(t, filepath.Join(folder(t), "run"), sets, func(o *Options) {
		o.NewStepper = func(c config.Resolved) (Stepper, error) {
			s, err := newStepper(c)
			return watching{s, t, &seen}, err
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	first, last := most(seen[:100]), most(seen[900:])
	t.Logf("most in the first hundred steps: %d tensors, %d threads, %d files, %d KiB", first.live, first.threads, first.files, first.resident)
	t.Logf("most in the last hundred steps:  %d tensors, %d threads, %d files, %d KiB", last.live, last.threads, last.files, last.resident)
	if last.live > first.live || last.threads > first.threads+1 || last.files > first.files {
		t.Errorf("something grows: %+v → %+v", first, last)
	}
	if grown := last.resident - first.resident; grown > 8<<10 && !raceDetector {
		t.Errorf("resident memory grew by %d KiB in 900 steps", grown)
	}
}

func most(all []usage) usage {
	var m usage
	for _, u := range all {
		m = usage{max(m.live, u.live), max(m.threads, u.threads), max(m.files, u.files), max(m.resident, u.resident)}
	}
	return m
}

// A run that starts from another one, or from its export, has its weights, a parent and an identity
// of its own.
func TestTrain_Init(t *testing.T) {
	prepared := corpus(t, 1)
	base, hf := filepath.Join(folder(t), "base"), filepath.Join(folder(t), "hf")
	before, err := train(t, base, settings(prepared))
	if err != nil {
		t.Fatal(err)
	}
	m, source, err := model.Open(base, torch.Float32)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	tokenizer, err := source.Tokenizer()
	if err != nil {
		t.Fatal(err)
	}
	if err := model.SaveHF(record.OS(), hf, m, model.ExportOptions{DType: safetensors.F32, Tokenizer: tokenizer}); err != nil {
		t.Fatal(err)
	}
	fresh, err := train(t, filepath.Join(folder(t), "fresh"), settings(prepared, "budget.steps=1", "seed=2"))
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{before.ID: true, fresh.ID: true}
	for _, from := range []string{base, hf, filepath.Join(base, "checkpoints", "step-00000025")} {
		dir := filepath.Join(folder(t), "from")
		got, err := train(t, dir, settings(prepared, "budget.steps=1", "seed=2", "init="+from))
		if err != nil {
			t.Fatalf("from %s: %v", from, err)
		}
		if got.Loss > fresh.Loss-0.5 {
			t.Errorf("from %s: the first loss is %v, with fresh weights %v", from, got.Loss, fresh.Loss)
		}
		if ids[got.ID] {
			t.Errorf("from %s: the id %s is taken", from, got.ID)
		}
		ids[got.ID] = true
		run, err := record.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("from %s: loss %.3f (fresh %.3f), parents %v", filepath.Base(from), got.Loss, fresh.Loss, run.Info.Parents)
		if p := run.Info.Parents; len(p) != 1 || (from != hf && p[0] != before.ID) || (from == hf && !strings.HasPrefix(p[0], "hf-")) {
			t.Errorf("from %s: parents %v", from, p)
		}
	}
	if _, err := train(t, filepath.Join(folder(t), "none"), settings(prepared, "init=/does/not/exist")); record.CodeOf(err) != record.BadData {
		t.Errorf("init that is not there: %v, want 65", err)
	}
	if _, err := train(t, filepath.Join(folder(t), "other"), settings(prepared, "model.width=32", "init="+base)); record.CodeOf(err) != record.Mismatch {
		t.Errorf("init of another shape: %v, want 78", err)
	}
}
