package trainer

import (
	"math"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plasticity/config"
	"plasticity/data"
	"plasticity/record"
	"plasticity/torch"
)

// The length of a step's sequences is the context of prepared text; of a task, its longest example up to a multiple of 64,
// within the context.
func TestGraph_Shape(t *testing.T) {
	for _, c := range []struct{ context, longest, want int }{
		{128, 0, 128}, {37, 0, 37}, {2048, 1, 64}, {2048, 64, 64}, {2048, 65, 128}, {2048, 300, 320}, {2048, 2048, 2048}, {100, 90, 100}, {37, 5, 37},
	} {
		run := load(t, []string{"name=shape", "budget.steps=1", "batch.sequences=6"})
		run.Model.Context = c.context
		r, err := run.Resolve(config.DataFacts{Vocab: 50, Longest: c.longest})
		if err != nil {
			t.Fatal(err)
		}
		if got := shapeOf(r); got != (graphShape{6, c.want}) {
			t.Errorf("%+v: %+v", c, got)
		}
		if o := graphOptions(r, 0); o.Context != c.want || o.Sequences != 6 || o.MicroSequences != 6 {
			t.Errorf("%+v: options %+v", c, o)
		}
	}
}

func TestGraph_Pad(t *testing.T) {
	b := data.Batch{Inputs: []int32{1, 2, 3, 4, 5, 6}, Targets: []int32{-1, 3, -1, 5, 6, -1}, Time: 3, Step: 8, Epoch: 2}
	for _, c := range []struct {
		name      string
		shape     graphShape
		sequences int
		want      data.Batch
	}{
		{"longer, and one more", graphShape{4, 4}, 3, data.Batch{
			Inputs: []int32{1, 2, 3, 0, 4, 5, 6, 0, 0, 0, 0, 0}, Targets: []int32{-1, 3, -1, -1, 5, 6, -1, -1, -1, -1, -1, -1}, Time: 4, Step: 8, Epoch: 2,
		}},
		{"shorter, where nothing counts", graphShape{4, 2}, 2, data.Batch{Inputs: []int32{1, 2, 4, 5}, Targets: []int32{-1, 3, 5, 6}, Time: 2, Step: 8, Epoch: 2}},
		{"as it is", graphShape{4, 3}, 2, b},
	} {
		got, err := c.shape.pad(b, c.sequences)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
		if got.Counted() != b.Counted() {
			t.Errorf("%s: %d targets count, %d did", c.name, got.Counted(), b.Counted())
		}
	}
	for name, shape := range map[string]graphShape{"more sequences": {1, 3}, "targets behind the end": {2, 1}} {
		if _, err := shape.pad(b, shape.sequences); record.CodeOf(err) != record.Internal {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A plan for a GPU has the memory of a task's longest example, not of the context; and where there is no GPU, asking for it
// is refused as for pretraining.
func TestGraph_FinetunePlan(t *testing.T) {
	base, exercises := pretrained(t, "model.context=512", "eval.tokens=512", "budget.steps=1"), arithmeticTask(t)
	sets := finetuning(base, exercises, "device=cuda", "precision=bf16", "batch.micro_sequences=2")
	p, err := MakePlan(load(t, sets), "")
	if err != nil {
		t.Fatal(err)
	}
	c := load(t, sets)
	source := opened(t, &c)
	r, err := c.Resolve(source.facts())
	if err != nil {
		t.Fatal(err)
	}
	shape := shapeOf(r)
	if shape.sequences != 4 || shape.time%64 != 0 || shape.time < r.Window || shape.time >= r.Window+64 || shape.time > 256 {
		t.Errorf("steps of %+v for an example of %d", shape, r.Window)
	}
	plan := func(time int) int64 {
		o := graphOptions(r, 0)
		o.Context = time
		m, err := torch.PlanGraph(o)
		if err != nil {
			t.Fatal(err)
		}
		return m.Activations + m.Scratch + m.Logits
	}
	if want, whole := plan(shape.time), plan(512); p.Memory.Activations != want || !(want < whole) {
		t.Errorf("%d bytes to compute with; the longest example needs %d, the context %d", p.Memory.Activations, want, whole)
	}
	t.Logf("the longest example reads %d tokens; steps of %d × %d, %s; with the whole context %s", r.Window, shape.sequences, shape.time, bytesText(p.Memory.Activations), bytesText(plan(512)))
	devices, err := torch.OpenCUDA()
	if err != nil || devices.Count > 0 {
		t.Skipf("there are %d GPUs, %v", devices.Count, err)
	}
	if p.Estimate != "none" {
		t.Errorf("timed without a GPU: %+v", p)
	}
	if _, err := train(t, filepath.Join(folder(t), "run"), sets); record.CodeOf(err) != record.DeviceLost || !strings.Contains(err.Error(), devices.Reason) {
		t.Errorf("training without a GPU: %v", err)
	}
	if result, err := train(t, filepath.Join(folder(t), "auto"), append(sets, "device=auto", "budget.epochs=1")); err != nil || math.IsNaN(result.ValLoss) {
		t.Errorf("device auto without a GPU: %v, %v", result, err)
	}
}
