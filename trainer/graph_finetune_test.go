package trainer

import (
	"context"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plasticity/config"
	"plasticity/data"
	"plasticity/record"
	"plasticity/torch/torchtest"
)

// tuned is a config as fine-tuning has it: the task's longest example is shorter than the context.
func tuned(t *testing.T, sets []string) config.Resolved {
	t.Helper()
	c := resolved(t, append(append([]string{}, sets...), "model.context=200")...)
	c.Window = 90
	return c
}

// maskedBatches are n batches of examples of many lengths, of which a part at the end counts. Behind an example stand zeros; the
// last batch has half of the examples.
func maskedBatches(c config.Resolved, n int) []data.Batch {
	random := rand.New(rand.NewPCG(9, 10))
	out := make([]data.Batch, n)
	for i := range out {
		lengths := make([]int, c.Batch.Sequences)
		if i == n-1 {
			lengths = lengths[:len(lengths)/2]
		}
		longest := 0
		for row := range lengths {
			lengths[row] = 4 + random.IntN(c.Window-3)
			longest = max(longest, lengths[row])
		}
		b := data.NewBatch(len(lengths), (longest+31)/32*32)
		for row, length := range lengths {
			start, last := random.IntN(length), int32(0)
			for k := range b.Time {
				at := row*b.Time + k
				b.Targets[at] = -1
				if k >= length {
					continue
				}
				b.Inputs[at] = last
				last = (last*5 + int32(random.ExpFloat64()*4)) % int32(c.Model.Vocab)
				if k >= start {
					b.Targets[at] = last
				}
			}
		}
		out[i] = b
	}
	return out
}

// noisy are batches in the shape of the step whose padding is any tokens: what stands behind a sequence's last target that
// counts, and sequences that are not there.
func noisy(t *testing.T, c config.Resolved, batches []data.Batch) []data.Batch {
	t.Helper()
	random := rand.New(rand.NewPCG(11, 12))
	out := make([]data.Batch, len(batches))
	for i, b := range batches {
		b, err := shapeOf(c).pad(b, c.Batch.Sequences)
		if err != nil {
			t.Fatal(err)
		}
		for row := range b.Sequences() {
			for k := (row+1)*b.Time - 1; k >= row*b.Time && b.Targets[k] < 0; k-- {
				b.Inputs[k] = random.Int32N(int32(c.Model.Vocab))
			}
		}
		out[i] = b
	}
	return out
}

// Masked batches of many lengths, the last one short, have the reference's losses, norms and gradients, in both families and
// with micro-batches; started ahead, each step divides by its own count; and what the padding is does not matter, not to a bit.
func TestGraph_FinetuneMatchesTheReference(t *testing.T) {
	torchtest.RequireCUDA(t)
	torchtest.NoLeaks(t)
	for name, sets := range graphCases() {
		t.Run(name, func(t *testing.T) {
			c := tuned(t, sets)
			batches := maskedBatches(c, 5)
			got := matchReference(t, c, batches)
			if diff := cmp.Diff(got.numbers, ahead(t, c, batches)); diff != "" {
				t.Errorf("(-one by one +ahead):\n%s", diff)
			}
			other, _ := onDevice(t, c, graphChoice{}, noisy(t, c, batches))
			if diff := cmp.Diff(got.numbers, other.numbers); diff != "" {
				t.Errorf("(-padded with zeros +with other tokens):\n%s", diff)
			}
			if d := distance(other.values, got.values); d != 0 {
				t.Errorf("other padding: values differ by %.1e", d)
			}
			for p, want := range got.grads {
				if d := distance(other.grads[p], want); d != 0 {
					t.Errorf("other padding: gradient of %s differs by %.1e", p, d)
				}
			}
		})
	}
}

// A batch of which nothing counts is refused and leaves no trace. Evaluation takes batches of any length and number.
func TestGraph_FinetuneEdges(t *testing.T) {
	torchtest.RequireCUDA(t)
	for name, sets := range graphCases() {
		c := tuned(t, sets)
		g, err := buildGraph(c, 0, graphChoice{})
		if err != nil {
			t.Fatal(err)
		}
		host := stepper(t, onReference(c, "f32"))
		for _, rows := range []int{1, c.Batch.MicroSequences} {
			b := maskedBatches(c, 2)[0]
			b.Inputs, b.Targets = b.Inputs[:rows*b.Time], b.Targets[:rows*b.Time]
			sameSummedLoss(t, name, g, host, b, 3e-3)
		}
		u := Update{LR: 1e-3, DecayFactor: 1}
		nothing := data.NewBatch(1, 32)
		for i := range nothing.Targets {
			nothing.Targets[i] = -1
		}
		if _, err := g.Step(context.Background(), nothing, u); err == nil || !strings.Contains(err.Error(), "counts") || g.Updates() != 0 {
			t.Errorf("%s: a batch of which nothing counts: %v, %d updates", name, err, g.Updates())
		}
		b := maskedBatches(c, 1)[0]
		r, err := g.Step(context.Background(), b, u)
		if err != nil {
			t.Fatal(err)
		}
		want, err := host.Step(context.Background(), b, u)
		if d := math.Abs(r.Loss-want.Loss) / want.Loss; err != nil || d > 3e-3 {
			t.Errorf("%s: afterwards a loss of %v, reference %v, %v", name, r.Loss, want.Loss, err)
		}
		g.Close()
	}
}

// lossesOf are the losses of a run's record.
func lossesOf(t *testing.T, dir string) (*record.Run, []float64) {
	t.Helper()
	run, err := record.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	metrics, _, err := run.Metrics()
	if err != nil {
		t.Fatal(err)
	}
	losses := make([]float64, len(metrics))
	for i, m := range metrics {
		losses[i] = float64(m.Loss)
	}
	return run, losses
}

// Fine-tuning on the GPU stays beside the CPU's over three epochs whose last step has one example, says where it ran, and ends
// with the same bits wherever it was stopped.
func TestGraph_FinetuneTrainsAndResumes(t *testing.T) {
	torchtest.RequireCUDA(t)
	exercises := arithmeticTask(t)
	for _, family := range []string{config.Llama2, config.OLMo2} {
		base := pretrained(t, "model.family="+family, "model.width=64", "model.ffn=96", "model.context=256", "eval.tokens=256")
		sets := finetuning(base, exercises, "precision=bf16", "batch.micro_sequences=2", "budget.epochs=3", "optimizer.lr=3e-3", "metrics.log_every_steps=1")
		cpu := filepath.Join(folder(t), "cpu")
		onCPU, err := train(t, cpu, append(sets, "device=cpu"))
		if err != nil {
			t.Fatal(err)
		}
		dir := resumes(t, append(sets, "device=cuda"), 1, 11, 12, 25)
		run, got := lossesOf(t, dir)
		_, want := lossesOf(t, cpu)
		if len(got) != 33 || len(want) != 33 {
			t.Fatalf("%s: losses of %d and %d steps", family, len(got), len(want))
		}
		worst, at := parting(got, want)
		if !(worst < 5e-3) {
			t.Errorf("%s: the losses part by %.1e at step %d", family, worst, at)
		}
		again, err := train(t, dir, append(sets, "device=cuda")) // done already: its result is read
		if d := math.Abs(again.ValLoss-onCPU.ValLoss) / onCPU.ValLoss; err != nil || !(d < 5e-3) || !(again.ValLoss < 0.9*got[0]) {
			t.Errorf("%s: validation loss %v, CPU %v, %v", family, again.ValLoss, onCPU.ValLoss, err)
		}
		if i := run.Info; i.Kind != "finetune" || i.Step != "graph" || i.Device != "cuda:0" || i.ID != onCPU.ID {
			t.Errorf("%s: the record says %s by %s on %s, run %s", family, i.Kind, i.Step, i.Device, i.ID)
		}
		t.Logf("%s: loss %.4f → %.4f, CPU %.4f → %.4f; largest difference %.1e at step %d; validation %.4f and %.4f", family, got[0], got[32], want[0], want[32], worst, at, again.ValLoss, onCPU.ValLoss)
	}
}
