package cgo_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"plasticity/cgo"
)

func adamW() cgo.AdamW {
	return cgo.AdamW{LR: 1e-3, Beta1: 0.9, Beta2: 0.95, Eps: 1e-8, GradScale: 1, Step: 1}
}

// engineParameters are those of engineModel, 36 values in all.
const engineParameters = 12

func engineModel() cgo.EngineModel {
	return cgo.EngineModel{Family: cgo.Llama2, Layers: 1, Width: 2, Heads: 1, KVHeads: 1, FFN: 1, Vocab: 2, Context: 4, NormEps: 1e-5, RopeTheta: 1e4}
}

func engineOptions() cgo.EngineOptions {
	return cgo.EngineOptions{Precision: cgo.BFloat16, Threads: 2, Backward: true, Sequences: 2}
}

func engineOffsets() []int64 { return []int64{0, 4, 8, 12, 16, 20, 22, 24, 26, 28, 30, 32} }

func engineBatch() cgo.Batch {
	return cgo.Batch{IDs: []int32{0, 1, 1, 0}, Targets: []int32{1, 1, -1, 0}, Sequences: 2, Time: 2, Micro: 1, Divisor: 3}
}

// refused checks that an error says what it is about.
func refused(t *testing.T, what string, err error, words string) {
	t.Helper()
	var native *cgo.Error
	if !errors.As(err, &native) || native.Code == cgo.OutOfMemory || !strings.Contains(native.Message, words) {
		t.Errorf("%s: got %v, want a refusal with %q", what, err, words)
	}
}

func TestEngineNew_RefusesWhatItCannotCompute(t *testing.T) {
	before := cgo.Live()
	for _, c := range []struct {
		what, words string
		model       func(*cgo.EngineModel)
		options     func(*cgo.EngineOptions)
		offsets     func([]int64) []int64
	}{
		{what: "family", words: "family", model: func(m *cgo.EngineModel) { m.Family = 7 }},
		{what: "no layers", words: "layers", model: func(m *cgo.EngineModel) { m.Layers = 0 }},
		{what: "too wide", words: "width", model: func(m *cgo.EngineModel) { m.Width = 1 << 40 }},
		{what: "odd heads", words: "head size", model: func(m *cgo.EngineModel) { m.Width = 3 }},
		{what: "heads", words: "head size", model: func(m *cgo.EngineModel) { m.Heads = 3 }},
		{what: "key heads", words: "kv_heads", model: func(m *cgo.EngineModel) { m.Width, m.Heads, m.KVHeads = 12, 3, 2 }},
		{what: "theta", words: "rope_theta", model: func(m *cgo.EngineModel) { m.RopeTheta = math.NaN() }},
		{what: "norm eps", words: "norm_eps", model: func(m *cgo.EngineModel) { m.NormEps = -1 }},
		{what: "vocabulary", words: "vocab", model: func(m *cgo.EngineModel) { m.Vocab = -1 }},
		{what: "precision", words: "precision", options: func(o *cgo.EngineOptions) { o.Precision = cgo.Int64 }},
		{what: "no threads", words: "threads", options: func(o *cgo.EngineOptions) { o.Threads = 0 }},
		{what: "threads", words: "threads", options: func(o *cgo.EngineOptions) { o.Threads = 1025 }},
		{what: "no sequences", words: "sequences", options: func(o *cgo.EngineOptions) { o.Sequences = 0 }},
		{what: "sequences", words: "sequences", options: func(o *cgo.EngineOptions) { o.Sequences = 1 << 25 }},
		{what: "context", words: "context", model: func(m *cgo.EngineModel) { m.Context = 1 << 25 }},
		{what: "instruction set", words: "avx10", options: func(o *cgo.EngineOptions) { o.ISA = "avx10" }},
		{what: "too few offsets", words: "offsets", offsets: func(o []int64) []int64 { return o[1:] }},
		{what: "no offsets", words: "offsets", offsets: func([]int64) []int64 { return nil }},
		{what: "negative offset", words: "offset", offsets: func(o []int64) []int64 { o[3] = -4; return o }},
	} {
		m, o, offsets := engineModel(), engineOptions(), engineOffsets()
		if c.model != nil {
			c.model(&m)
		}
		if c.options != nil {
			c.options(&o)
		}
		if c.offsets != nil {
			offsets = c.offsets(offsets)
		}
		e, err := cgo.EngineNew(m, o, offsets)
		refused(t, c.what, err, c.words)
		e.Free()
		if c.offsets == nil {
			_, err = cgo.EngineBytes(m, o)
			refused(t, c.what+", asked for its bytes", err, c.words)
		}
	}
	if after := cgo.Live(); after != before {
		t.Errorf("%d handles before, %d after", before, after)
	}
}

// Whatever is wrong with a batch, its numbers or its buffers is refused before anything is read or written by it.
func TestEngineStep_RefusesWhatItCannotRead(t *testing.T) {
	f := newFixture(t)
	defer f.free()
	short, err := cgo.Zeros(cgo.Float32, []int64{35})
	if err != nil {
		t.Fatal(err)
	}
	defer cgo.Free(short.Tensor)
	before := make([]float32, 64)
	if err := cgo.ReadFloat32(f.flat, 0, before); err != nil {
		t.Fatal(err)
	}
	type arguments struct {
		engine  cgo.Engine
		p, m, v cgo.Tensor
		b       cgo.Batch
		o       cgo.AdamW
		decay   []float64
	}
	for _, c := range []struct {
		what, words string
		change      func(*arguments)
		step        bool // only a step looks at this
		trains      bool // a loss does not look at this
	}{
		{"no engine", "no engine", func(a *arguments) { a.engine = cgo.Engine{} }, false, false},
		{"no parameters", "no tensor", func(a *arguments) { a.p = cgo.Tensor{} }, false, false},
		{"short parameters", "35 values", func(a *arguments) { a.p = short.Tensor }, false, false},
		{"short first moment", "first moment", func(a *arguments) { a.m = short.Tensor }, true, false},
		{"short second moment", "second moment", func(a *arguments) { a.v = short.Tensor }, true, false},
		{"bfloat16 moment", "float32", func(a *arguments) { a.v = f.flat16 }, true, false},
		{"matrix for parameters", "flat", func(a *arguments) { a.p = f.x }, false, false},
		{"id above", "id 2 of 2", func(a *arguments) { a.b.IDs[1] = 2 }, false, false},
		{"id below", "id -1 of 2", func(a *arguments) { a.b.IDs[3] = -1 }, false, false},
		{"target above", "target 2 of 2", func(a *arguments) { a.b.Targets[0] = 2 }, false, false},
		{"target below", "target -2 of 2", func(a *arguments) { a.b.Targets[2] = -2 }, false, false},
		{"no ids", "no tokens", func(a *arguments) { a.b.IDs = nil }, false, false},
		{"no targets", "no tokens", func(a *arguments) { a.b.Targets = nil }, false, false},
		{"context", "context", func(a *arguments) { a.b.Time = 5 }, false, false},
		{"no time", "time", func(a *arguments) { a.b.Time = 0 }, false, false},
		{"no sequences", "sequences", func(a *arguments) { a.b.Sequences = 0 }, false, false},
		{"too large micro-batches", "micro-batch", func(a *arguments) { a.b.Micro = 3 }, false, false},
		{"empty micro-batches", "micro", func(a *arguments) { a.b.Micro = 0 }, false, false},
		{"divisor", "divisor", func(a *arguments) { a.b.Divisor = 0 }, false, true},
		{"NaN divisor", "divisor", func(a *arguments) { a.b.Divisor = math.NaN() }, false, true},
		{"z-loss", "z_loss", func(a *arguments) { a.b.ZLoss = -1 }, false, true},
		{"step 0", "step 1", func(a *arguments) { a.o.Step = 0 }, true, false},
		{"no decay", "weight decay", func(a *arguments) { a.decay = nil }, true, false},
	} {
		a := arguments{f.engine, f.flat, f.m, f.v, engineBatch(), adamW(), make([]float64, engineParameters)}
		c.change(&a)
		_, err := cgo.EngineStep(a.engine, a.p, a.m, a.v, a.b, a.o, 1, a.decay)
		refused(t, c.what+", step", err, c.words)
		if c.step {
			continue
		}
		_, err = cgo.EngineGradients(a.engine, a.p, f.grads, a.b)
		refused(t, c.what+", gradients", err, c.words)
		if !c.trains {
			_, err = cgo.EngineLoss(a.engine, a.p, a.b)
			refused(t, c.what+", loss", err, c.words)
		}
	}
	refused(t, "load", cgo.EngineLoad(f.engine, short.Tensor), "35 values")
	refused(t, "trace", cgo.EngineTrace(f.engine, -1), "capacity")
	after := make([]float32, 64)
	if err := cgo.ReadFloat32(f.flat, 0, after); err != nil {
		t.Fatal(err)
	}
	for i := range before {
		if before[i] != after[i] {
			t.Fatalf("value %d was %v and is %v", i, before[i], after[i])
		}
	}
}

// An engine for losses trains nothing.
func TestEngineStep_NeedsBackward(t *testing.T) {
	f := newFixture(t)
	defer f.free()
	o := engineOptions()
	o.Backward = false
	e, err := cgo.EngineNew(engineModel(), o, engineOffsets())
	if err != nil {
		t.Fatal(err)
	}
	defer e.Free()
	_, err = cgo.EngineStep(e, f.flat, f.m, f.v, engineBatch(), adamW(), 1, make([]float64, engineParameters))
	refused(t, "step", err, "losses only")
	_, err = cgo.EngineGradients(e, f.flat, f.grads, engineBatch())
	refused(t, "gradients", err, "losses only")
	if err := cgo.EngineLoad(e, f.flat); err != nil {
		t.Fatal(err)
	}
	loss, err := cgo.EngineLoss(e, f.flat, engineBatch())
	if want := 3 * math.Ln2; err != nil || math.Abs(loss-want) > 1e-6 {
		t.Errorf("three targets of two tokens, weights of zero: loss %v, want %v (%v)", loss, want, err)
	}
}

func TestEngineTrace_CountsTheSpansOfEveryThread(t *testing.T) {
	f := newFixture(t)
	defer f.free()
	if err := cgo.EngineTrace(f.engine, 1000); err != nil {
		t.Fatal(err)
	}
	if _, err := cgo.EngineGradients(f.engine, f.flat, f.grads, engineBatch()); err != nil {
		t.Fatal(err)
	}
	n, err := cgo.EngineSpans(f.engine, nil)
	if err != nil {
		t.Fatal(err)
	}
	spans := make([]cgo.Span, n)
	if again, err := cgo.EngineSpans(f.engine, spans); err != nil || again != n {
		t.Fatalf("%d spans, then %d (%v)", n, again, err)
	}
	threads := map[int32]int{}
	for _, s := range spans {
		threads[s.Thread]++
		if cgo.EnginePart(int(s.Part)) == "" || !(s.Seconds >= 0) || !(s.Start >= 0) {
			t.Errorf("span %+v", s)
		}
	}
	if len(threads) != 2 {
		t.Errorf("spans of threads %v, want two", threads)
	}
	if cgo.EnginePart(-1) != "" || cgo.EnginePart(1000) != "" {
		t.Error("parts that are none have names")
	}
	if isa := cgo.EngineISA(f.engine); isa == "" || cgo.EngineISA(cgo.Engine{}) != "" {
		t.Errorf("instruction set %q, and of no engine %q", isa, cgo.EngineISA(cgo.Engine{}))
	}
}

// Whatever is wrong with rows, their slots or their room is refused before anything is read or written by it, and the
// sequences stay as they were.
func TestEngineDecode_RefusesWhatItCannotAppend(t *testing.T) {
	f := newFixture(t)
	defer f.free()
	for _, c := range []struct {
		what, words string
		err         error
	}{
		{"no slots", "slots", second(cgo.EngineCacheNew(f.decoder, 0, 4))},
		{"more than the context", "context", second(cgo.EngineCacheNew(f.decoder, 1, 5))},
		{"a slot that is not there", "slot 3", cgo.EngineCacheBegin(f.cache, 3, -1, 0)},
		{"a negative slot", "slot -1", cgo.EngineCacheBegin(f.cache, -1, -1, 0)},
		{"from a slot that is not there", "slot 3", cgo.EngineCacheBegin(f.cache, 0, 3, 1)},
		{"from itself", "cannot go on", cgo.EngineCacheBegin(f.cache, 0, 0, 1)},
		{"from more than there is", "cannot go on", cgo.EngineCacheBegin(f.cache, 0, 1, 1)},
	} {
		refused(t, c.what, c.err, c.words)
	}
	decode := func(rows []cgo.Row, room int) error {
		return cgo.EngineDecode(f.decoder, f.flat, f.cache, rows, make([]float32, room))
	}
	draw := func(d cgo.Drawing, row cgo.Row, u ...float64) error {
		return cgo.EngineDraw(f.decoder, f.flat, f.cache, []cgo.Row{row}, d, u, make([]int32, len(u)))
	}
	const slot = 0
	row := cgo.Row{Slot: slot, ID: 1, Wanted: 1}
	if err := decode([]cgo.Row{row, row}, 4); err != nil {
		t.Fatal(err)
	}
	if err := cgo.EngineCacheBegin(f.cache, 1, slot, 2); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what, words string
		err         error
	}{
		{"no rows", "rows", decode(nil, 0)},
		{"a row's slot", "slot 3", decode([]cgo.Row{{Slot: 3}}, 0)},
		{"an id", "id 2", decode([]cgo.Row{{ID: 2}}, 0)},
		{"too little room", "logits", decode([]cgo.Row{row}, 1)},
		{"room without rows", "logits", decode([]cgo.Row{{ID: 1}}, 2)},
		{"a slot's rows apart", "one behind the other", decode([]cgo.Row{row, {Slot: 2}, row}, 4)},
		{"more than the context", "full", decode([]cgo.Row{{Slot: 2}, row, row, row}, 6)},
		{"two rows of logits of one", "wanted is 2", decode([]cgo.Row{{ID: 1, Wanted: 2}}, 4)},
		{"no drawing of so many", "3 tokens of 2", draw(cgo.Drawing{Penalty: 1, Known: 3}, row, 0.5)},
		{"a negative temperature", "temperature -1", draw(cgo.Drawing{Temperature: -1, Penalty: 1, Known: 2}, row, 0.5)},
		{"no penalty", "penalty 0", draw(cgo.Drawing{Known: 2}, row, 0.5)},
		{"room for more tokens", "1 are wanted", draw(cgo.Drawing{Penalty: 1, Known: 2}, row, 0.5, 0.5)},
		{"a number above 1", "1.5", draw(cgo.Drawing{Penalty: 1, Known: 2}, row, 1.5)},
		{"an engine for training", "training", cgo.EngineDecode(f.engine, f.flat, f.cache, []cgo.Row{row}, make([]float32, 2))},
		{"a slot that another goes on from", "others go on from", cgo.EngineCacheBegin(f.cache, slot, -1, 0)},
		{"from a slot that goes on itself", "cannot go on", cgo.EngineCacheBegin(f.cache, 2, 1, 1)},
	} {
		refused(t, c.what, c.err, c.words)
	}
	// Two tokens are left in slot 0, four in slot 2, as before.
	if err := decode([]cgo.Row{row, row, {Slot: 2}, {Slot: 2}, {Slot: 2}, {Slot: 2}}, 4); err != nil {
		t.Error(err)
	}
	// Without its sharer the slot may begin anew.
	if err := errors.Join(cgo.EngineCacheBegin(f.cache, 1, -1, 0), cgo.EngineCacheBegin(f.cache, slot, -1, 0)); err != nil {
		t.Error(err)
	}
}

// second frees a cache that should not have been made and returns the error.
func second(c cgo.EngineCache, err error) error {
	c.Free()
	return err
}
