package trainer

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gonum.org/v1/gonum/mat"

	"plasticity/config"
	"plasticity/model"
	"plasticity/record"
	"plasticity/torch"
	"plasticity/torch/nn"
	"plasticity/torch/torchtest"
)

// weightsOf reads all parameters of a run, with their shapes.
func weightsOf(t *testing.T, dir string) map[string]*mat.Dense {
	t.Helper()
	m, _, err := model.Open(dir, torch.Float32)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	out := map[string]*mat.Dense{}
	for _, p := range m.Registry().Params() {
		values, err := m.Registry().Read(nn.Params, p.Name)
		if err != nil {
			t.Fatal(err)
		}
		rows := 1
		if len(p.Shape) == 2 {
			rows = p.Shape[0]
		}
		wide := mat.NewDense(rows, len(values)/rows, nil)
		for i, x := range values {
			wide.Set(i/(len(values)/rows), i%(len(values)/rows), float64(x))
		}
		out[p.Name] = wide
	}
	return out
}

// energies are the squared singular values of a matrix, as shares of their sum.
func energies(t *testing.T, m mat.Matrix) []float64 {
	t.Helper()
	var svd mat.SVD
	if !svd.Factorize(m, mat.SVDNone) {
		t.Fatal("no singular values")
	}
	sigma, total := svd.Values(nil), 0.0
	for i, s := range sigma {
		sigma[i] = s * s
		total += s * s
	}
	for i := range sigma {
		sigma[i] /= total
	}
	return sigma
}

// rankOf is how many of the largest sum to a share.
func rankOf(energies []float64, share float64) int {
	sum, n := 0.0, 0
	for sum < share {
		sum += energies[n]
		n++
	}
	return n
}

// A run begins with the truncated weights of its base and nothing else is changed: a rate so small that the first checkpoint still
// has them shows it. Both families, shared keys and values, engine and reference.
func TestTruncate_BeforeTheFirstStep(t *testing.T) {
	torchtest.NoLeaks(t)
	exercises := arithmeticTask(t)
	for _, family := range []string{config.Llama2, config.OLMo2} {
		base := pretrained(t, "model.family="+family)
		was := weightsOf(t, base)
		for _, step := range []string{config.StepEngine, config.StepReference} {
			dir := filepath.Join(folder(t), "tuned")
			sets := finetuning(base, exercises, "step="+step, "budget.epochs=0.05", "optimizer.lr=1e-12", "init_truncate.query_key=0.7", "init_truncate.value_output=0.95")
			if _, err := train(t, dir, sets); err != nil {
				t.Fatal(err)
			}
			truncated := 0
			for name, is := range weightsOf(t, dir) {
				var difference mat.Dense
				difference.Sub(is, was[name])
				moved := mat.Norm(&difference, 2) / mat.Norm(was[name], 2)
				share := 0.0
				switch {
				case strings.HasSuffix(name, "q_proj.weight"), strings.HasSuffix(name, "k_proj.weight"):
					share = 0.7
				case strings.HasSuffix(name, "v_proj.weight"), strings.HasSuffix(name, "o_proj.weight"):
					share = 0.95
				case moved > 1e-6:
					t.Errorf("%s, %s: %s moved by %v", family, step, name, moved)
				}
				if share == 0 {
					continue
				}
				truncated++
				before, after := energies(t, was[name]), energies(t, is)
				rank, discarded := rankOf(before, share), 0.0
				for _, e := range before[rank:] {
					discarded += e
				}
				if rank == len(before) || after[rank-1] < 1e-6 || after[rank] > 1e-9 {
					t.Errorf("%s, %s: %s should have rank %d: %.2g was %.2g", family, step, name, rank, after, before)
				}
				if math.Abs(moved*moved-discarded) > 1e-5 {
					t.Errorf("%s, %s: %s: squared error %v, want the discarded %v", family, step, name, moved*moved, discarded)
				}
			}
			if truncated != 8 {
				t.Errorf("%s: %d matrices truncated, want 8", family, truncated)
			}
		}
	}
}

// What computes in bfloat16 with a rounded copy of the weights has that of the truncated ones.
func TestTruncate_RenewsTheRoundedCopy(t *testing.T) {
	base, exercises := pretrained(t), arithmeticTask(t)
	c := load(t, finetuning(base, exercises, "step=reference", "precision=bf16", "init_truncate.query_key=0.3", "init_truncate.value_output=0.3"))
	read := opened(t, &c)
	r, err := c.Resolve(read.facts())
	if err != nil {
		t.Fatal(err)
	}
	loader, err := read.load(r, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := loader.Close(); err != nil {
			t.Error(err)
		}
	})
	b, err := loader.Next(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	s := stepper(t, r)
	loss := func() float64 {
		sum, err := s.Scorer().SummedLoss(b)
		if err != nil {
			t.Fatal(err)
		}
		return sum
	}
	whole := loss()
	if _, err := truncate(context.Background(), r.Run, s.Registry()); err != nil {
		t.Fatal(err)
	}
	truncated := loss()
	if err := s.Registry().Round(); err != nil {
		t.Fatal(err)
	}
	if again := loss(); truncated == whole || again != truncated {
		t.Errorf("loss %v, truncated %v, with a new copy %v", whole, truncated, again)
	}
	stopped, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := truncate(stopped, r.Run, s.Registry()); record.CodeOf(err) != record.Stopped {
		t.Error(err)
	}
}

// A run is truncated once: resumed, it ends with the bits of one that nobody stopped, and its record says so once. It is another run
// than the untruncated one; a share of 1 learns what the base itself learns.
func TestTruncate_OnceAndNotOnResume(t *testing.T) {
	base, exercises := pretrained(t), arithmeticTask(t)
	of := func(more ...string) []string { return finetuning(base, exercises, more...) }
	run := func(sets []string, change ...func(*Options)) (string, Result) {
		dir := filepath.Join(folder(t), "tuned")
		result, err := train(t, dir, sets, change...)
		if err != nil && (len(change) == 0 || record.CodeOf(err) != record.Stopped) {
			t.Fatal(err)
		}
		return dir, result
	}
	half := of("init_truncate.query_key=0.5")
	calm, result := run(half)
	for _, n := range []int{1, 10, 12} {
		stopped, _ := run(half, stopping(n))
		if _, err := train(t, stopped, half); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(outcomeOf(t, calm), outcomeOf(t, stopped)); diff != "" {
			t.Errorf("resumed at step %d (-undisturbed +resumed):\n%s", n, diff)
		}
		opened, err := record.Open(stopped)
		if err != nil {
			t.Fatal(err)
		}
		events, _, err := opened.Events()
		if err != nil {
			t.Fatal(err)
		}
		told := slices.DeleteFunc(events, func(e record.Event) bool { return !strings.Contains(e.Detail, "truncated") })
		if len(told) != 1 || told[0].Kind != record.EventStart || !strings.Contains(told[0].Detail, "q_proj to rank ") || !strings.Contains(told[0].Detail, " of 8 (share 0.5)") {
			t.Errorf("events %+v", told)
		}
	}
	plain, whole := of(), of("init_truncate.query_key=1", "init_truncate.value_output=1")
	_, untouched := run(plain)
	_, same := run(whole)
	if result.ID == untouched.ID || same.ID == untouched.ID || same.ID == result.ID {
		t.Errorf("ids %s, %s, %s", result.ID, untouched.ID, same.ID)
	}
	if result.Loss == untouched.Loss || math.Abs(same.Loss/untouched.Loss-1) > 1e-6 {
		t.Errorf("losses: truncated %v, share of 1 %v, untouched %v", result.Loss, same.Loss, untouched.Loss)
	}
	if plan, err := MakePlan(load(t, half), calm); err != nil || plan.ID != result.ID {
		t.Errorf("planned %s, trained %s, %v", plan.ID, result.ID, err)
	}
	// Another share in the folder of a run is refused with the field that differs.
	if _, err := train(t, calm, plain); record.CodeOf(err) != record.Mismatch || !strings.Contains(fmt.Sprint(err), "init_truncate.query_key: 0.5 → none") {
		t.Error(err)
	}
}
