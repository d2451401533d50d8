package torch_test

import (
	"errors"
	"math"
	"runtime"
	"testing"

	"plasticity/cgo"
	"plasticity/record"
	"plasticity/torch"
	"plasticity/torch/torchtest"
)

// engineFixture is an engine for a small model of one layer, whose parameters lie one behind the other.
type engineFixture struct {
	engine              *torch.Engine
	params, grads, m, v *torch.Flat
	batch               torch.Batch
	decay               []float64
}

func engineModel() (torch.EngineModel, []int64) {
	m := torch.EngineModel{Family: torch.EngineLlama2, Layers: 1, Width: 4, Heads: 1, KVHeads: 1, FFN: 3, Vocab: 5, Context: 6, NormEps: 1e-5, RopeTheta: 1e4}
	var offsets []int64
	at := int64(0)
	for _, n := range []int64{5 * 4, 16, 16, 16, 16, 12, 12, 12, 4, 4, 4, 20} {
		offsets = append(offsets, at)
		at += n
	}
	return m, append(offsets, at)
}

func newEngineFixture(t *testing.T) *engineFixture {
	t.Helper()
	torchtest.NoLeaks(t)
	m, offsets := engineModel()
	f := &engineFixture{decay: make([]float64, len(offsets)-1)}
	var err error
	f.engine, err = torch.NewEngine(m, torch.EngineOptions{Precision: torch.Float32, Threads: 2, Backward: true, Sequences: 2}, offsets[:len(offsets)-1])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.engine.Close)
	for _, flat := range []**torch.Flat{&f.params, &f.grads, &f.m, &f.v} {
		if *flat, err = torch.NewFlat(torch.Float32, offsets[len(offsets)-1]); err != nil {
			t.Fatal(err)
		}
		t.Cleanup((*flat).Close)
	}
	f.write(t, 1)
	f.batch = torch.Batch{IDs: []int32{0, 1, 2, 3, 4, 0}, Targets: []int32{1, 2, 3, 4, -1, 1}, Sequences: 2, Time: 3, Micro: 2, Divisor: 6}
	return f
}

// write sets the parameters to values that depend on seed.
func (f *engineFixture) write(t *testing.T, seed int) {
	t.Helper()
	values := make([]float32, f.params.Len())
	for i := range values {
		values[i] = float32(math.Sin(float64(i*7 + seed)))
	}
	if err := f.params.Write(0, values); err != nil {
		t.Fatal(err)
	}
}

func (f *engineFixture) loss(t *testing.T) float64 {
	t.Helper()
	loss, err := f.engine.Loss(f.params, f.batch)
	if err != nil {
		t.Fatal(err)
	}
	return loss
}

// Whoever writes the parameters, the next call computes with them; and the engine's own update needs no reading again.
func TestEngine_SeesWhatOthersWrote(t *testing.T) {
	f := newEngineFixture(t)
	first := f.loss(t)
	f.write(t, 2)
	second := f.loss(t)
	f.write(t, 1)
	if again := f.loss(t); again != first || second == first {
		t.Errorf("losses %v, with other values %v, with the first again %v", first, second, again)
	}
	if err := f.params.Zero(); err != nil {
		t.Fatal(err)
	}
	if got, want := f.loss(t), 5*math.Log(5); math.Abs(got-want) > 1e-5 {
		t.Errorf("with weights of zero: loss %v, want %v", got, want)
	}
	f.write(t, 1)
	other, err := torch.NewFlat(torch.Float32, f.params.Len())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if loss, err := f.engine.Loss(other, f.batch); err != nil || math.Abs(loss-5*math.Log(5)) > 1e-5 {
		t.Errorf("another buffer of zeros: loss %v, %v", loss, err)
	}
	if again := f.loss(t); again != first {
		t.Errorf("the first buffer again: loss %v, want %v", again, first)
	}
	f.updates(t, first)
}

// updates makes a step, writes its result over itself, which makes the engine read it, and compares.
func (f *engineFixture) updates(t *testing.T, before float64) {
	t.Helper()
	u := torch.EngineUpdate{AdamW: torch.AdamW{LR: 1e-2, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, Step: 1}, Clip: 1, Decay: f.decay}
	r, err := f.engine.Step(f.params, f.m, f.v, f.batch, u)
	if err != nil || !r.Updated || math.Abs(r.Loss-before/6) > 1e-6 {
		t.Fatalf("step %+v, %v; the loss before was %v", r, err, before/6)
	}
	kept := f.loss(t)
	values := make([]float32, f.params.Len())
	if err := errors.Join(f.params.Read(0, values), f.params.Write(0, values)); err != nil {
		t.Fatal(err)
	}
	if read := f.loss(t); read != kept || kept >= before {
		t.Errorf("loss %v before the update, %v after it, %v when its values are read again", before, kept, read)
	}
	// AdamW through another door is seen, too.
	if err := f.grads.Zero(); err != nil {
		t.Fatal(err)
	}
	segments := []torch.Segment{{Length: f.params.Len(), WeightDecay: 1}}
	if err := torch.AdamWStep(f.params, f.grads, f.m, f.v, nil, segments, torch.AdamW{LR: 0.1, Beta1: 0.9, Beta2: 0.95, Eps: 1, GradScale: 1, Step: 2}); err != nil {
		t.Fatal(err)
	}
	if after := f.loss(t); after == kept {
		t.Error("an update by AdamWStep was not seen")
	}
}

// Slices that are not as long as the batch says never reach the native side.
func TestEngine_RefusesSlicesOfAnotherLength(t *testing.T) {
	f := newEngineFixture(t)
	for what, change := range map[string]func(b *torch.Batch){
		"ids":       func(b *torch.Batch) { b.IDs = b.IDs[1:] },
		"targets":   func(b *torch.Batch) { b.Targets = append(b.Targets, 0) },
		"sequences": func(b *torch.Batch) { b.Sequences = 3 },
		"time":      func(b *torch.Batch) { b.Time = 4 },
		"overflow":  func(b *torch.Batch) { b.Sequences, b.Time = 1<<62, 4 },
		"negative":  func(b *torch.Batch) { b.Sequences, b.Time = -2, -3 },
	} {
		b := f.batch
		change(&b)
		_, errLoss := f.engine.Loss(f.params, b)
		_, errGradients := f.engine.Gradients(f.params, f.grads, b)
		_, errStep := f.engine.Step(f.params, f.m, f.v, b, torch.EngineUpdate{AdamW: torch.AdamW{Step: 1}, Decay: f.decay})
		for _, err := range []error{errLoss, errGradients, errStep} {
			if record.CodeOf(err) != record.Internal {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	if _, err := f.engine.Step(f.params, f.m, f.v, f.batch, torch.EngineUpdate{AdamW: torch.AdamW{Step: 1}, Decay: f.decay[1:]}); record.CodeOf(err) != record.Internal {
		t.Errorf("too few decays: %v", err)
	}
}

// A failure has the exit code that fits it, and after it the engine goes on.
func TestEngine_FailuresHaveTheirCode(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	f := newEngineFixture(t)
	want := f.loss(t)
	m, offsets := engineModel()
	for name, call := range map[string]func() error{
		"new": func() error {
			_, err := torch.NewEngine(m, torch.EngineOptions{Precision: torch.Float32, Threads: 1, Sequences: 1}, offsets[:len(offsets)-1])
			return err
		},
		"bytes": func() error {
			_, err := torch.EngineBytes(m, torch.EngineOptions{Threads: 1, Sequences: 1})
			return err
		},
		"isa":       func() error { _, err := torch.EngineISA(""); return err },
		"loss":      func() error { _, err := f.engine.Loss(f.params, f.batch); return err },
		"gradients": func() error { _, err := f.engine.Gradients(f.params, f.grads, f.batch); return err },
		"load": func() error {
			cgo.FailAfter(-1, 0)
			f.write(t, 1)
			cgo.FailAfter(0, cgo.OutOfMemory)
			return f.engine.Load(f.params)
		},
		"trace": func() error { return f.engine.Trace(3) },
		"spans": func() error { _, err := f.engine.Spans(); return err },
		"step": func() error {
			_, err := f.engine.Step(f.params, f.m, f.v, f.batch, torch.EngineUpdate{AdamW: torch.AdamW{Step: 1}, Decay: f.decay})
			return err
		},
	} {
		cgo.FailAfter(0, cgo.OutOfMemory)
		err := call()
		cgo.FailAfter(-1, 0)
		if record.CodeOf(err) != record.OutOfMemory {
			t.Errorf("%s: %v, want 71", name, err)
		}
	}
	if got := f.loss(t); got != want {
		t.Errorf("after the failures the loss is %v, before them %v", got, want)
	}
}

func TestEngine_Traces(t *testing.T) {
	f := newEngineFixture(t)
	if err := f.engine.Trace(500); err != nil {
		t.Fatal(err)
	}
	f.loss(t)
	spans, err := f.engine.Spans()
	if err != nil || len(spans) == 0 {
		t.Fatalf("%d spans, %v", len(spans), err)
	}
	parts := torch.EngineParts()
	for _, s := range spans {
		if int(s.Part) >= len(parts) {
			t.Errorf("part %d of %v", s.Part, parts)
		}
	}
	t.Logf("%d spans of %s; parts %v", len(spans), f.engine.ISA(), parts)
	f.engine.Close()
	f.engine.Close()
	if _, err := f.engine.Loss(f.params, f.batch); err == nil {
		t.Error("a closed engine computes")
	}
}
