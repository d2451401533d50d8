package torch

import (
	"fmt"

	"plasticity/cgo"
)

// EngineModel is the shape that an engine computes.
type EngineModel = cgo.EngineModel

// The model families that an engine computes.
const (
	EngineLlama2 = cgo.Llama2
	EngineOLMo2  = cgo.OLMo2
)

// EngineOptions say how an engine computes.
type EngineOptions = cgo.EngineOptions

// EngineResult is what an engine's step computed.
type EngineResult = cgo.EngineResult

// Batch holds the ids and targets of a step, Sequences × Time tokens each; a target of −1 does not
// count. They go through the model in micro-batches of Micro sequences. The loss of a token is divided by
// Divisor.
type Batch = cgo.Batch

// EngineUpdate holds the numbers of an optimizer step.
type EngineUpdate struct {
	AdamW           // but for GradScale, which the engine finds itself
	Clip  float64   // largest norm of the gradient; 0: no clipping
	Decay []float64 // weight decay of every parameter, in the order of the offsets
}

// Span is a stretch of a thread's time in an engine's trace.
type Span = cgo.Span

// Engine computes training steps, losses and continuations of one model on the CPU, each in one crossing. It reads
// and writes flat buffers that are given with each call, and keeps rearranged copies of the parameters,
// which it renews by itself whenever the buffer was written by anyone else. It is used by one goroutine
// at a time; Close frees it.
type Engine struct {
	handle     cgo.Engine
	parameters int
	loaded     *Flat // whose values the copies are
	changes    uint64
}

// NewEngine makes an engine. offsets has the first element of every parameter in the flat buffers, in
// the order of tgo.h.
func NewEngine(m EngineModel, o EngineOptions, offsets []int64) (*Engine, error) {
	handle, err := cgo.EngineNew(m, o, offsets)
	if err != nil {
		return nil, wrap("NewEngine", err)
	}
	return &Engine{handle: handle, parameters: len(offsets)}, nil
}

// EngineBytes is the memory that an engine of these sizes takes, besides the flat buffers.
func EngineBytes(m EngineModel, o EngineOptions) (int64, error) {
	n, err := cgo.EngineBytes(m, o)
	return n, wrap("EngineBytes", err)
}

// EngineISA is the instruction set that an engine would use on this CPU when asked for isa, which may be
// empty for the best. The error says that there is none.
func EngineISA(isa string) (string, error) {
	tiny := EngineModel{Layers: 1, Width: 2, Heads: 1, KVHeads: 1, FFN: 1, Vocab: 2, Context: 1, NormEps: 1e-5, RopeTheta: 1e4}
	e, err := NewEngine(tiny, EngineOptions{Precision: BFloat16, Threads: 1, Sequences: 1, ISA: isa}, make([]int64, 12))
	if err != nil {
		return "", err
	}
	defer e.Close()
	return e.ISA(), nil
}

// Close frees the engine. It may be called more than once.
func (e *Engine) Close() {
	e.handle.Free()
	e.loaded = nil
}

// ISA is the instruction set in use.
func (e *Engine) ISA() string { return cgo.EngineISA(e.handle) }

// Load takes the values of all parameters, if they are not those the engine has. Every other method
// does so first.
func (e *Engine) Load(params *Flat) error {
	if e.loaded == params && e.changes == params.changes {
		return nil
	}
	e.loaded = nil
	if err := cgo.EngineLoad(e.handle, params.tensor.handle); err != nil {
		return wrap("Engine.Load", err)
	}
	e.loaded, e.changes = params, params.changes
	return nil
}

// Step makes one optimizer step on params and the moments m and v. When loss or norm is not finite,
// nothing changes.
func (e *Engine) Step(params, m, v *Flat, b Batch, u EngineUpdate) (EngineResult, error) {
	if err := checkBatch("Engine.Step", b); err != nil {
		return EngineResult{}, err
	}
	if len(u.Decay) != e.parameters {
		return EngineResult{}, wrap("Engine.Step", fmt.Errorf("%d decays for %d parameters", len(u.Decay), e.parameters))
	}
	if err := e.Load(params); err != nil {
		return EngineResult{}, err
	}
	for _, f := range []*Flat{params, m, v} {
		f.changes++
	}
	r, err := cgo.EngineStep(e.handle, params.tensor.handle, m.tensor.handle, v.tensor.handle, b, u.AdamW, u.Clip, u.Decay)
	if err != nil {
		return EngineResult{}, wrap("Engine.Step", err)
	}
	e.changes = params.changes
	return r, nil
}

// Gradients adds the gradients of a batch to grads and changes nothing else.
func (e *Engine) Gradients(params, grads *Flat, b Batch) (EngineResult, error) {
	if err := checkBatch("Engine.Gradients", b); err != nil {
		return EngineResult{}, err
	}
	if err := e.Load(params); err != nil {
		return EngineResult{}, err
	}
	grads.changes++
	r, err := cgo.EngineGradients(e.handle, params.tensor.handle, grads.tensor.handle, b)
	return r, wrap("Engine.Gradients", err)
}

// Loss is the sum of the losses of a batch's tokens in nats; Divisor and ZLoss are not read.
func (e *Engine) Loss(params *Flat, b Batch) (float64, error) {
	if err := checkBatch("Engine.Loss", b); err != nil {
		return 0, err
	}
	if err := e.Load(params); err != nil {
		return 0, err
	}
	loss, err := cgo.EngineLoss(e.handle, params.tensor.handle, b)
	return loss, wrap("Engine.Loss", err)
}

// EngineCache holds keys and values of sequences that are being continued, each in a slot. Close frees it, before the
// engine.
type EngineCache struct{ handle cgo.EngineCache }

// Row is a token that is appended to a slot's sequence; Wanted is how many results are wanted of what follows: its logits, 0 or 1, or
// tokens drawn from them.
type Row = cgo.Row

// Drawing says how tokens are drawn.
type Drawing = cgo.Drawing

// NewCache makes slots with room for capacity tokens each. The engine must have been made without Backward.
func (e *Engine) NewCache(slots, capacity int) (*EngineCache, error) {
	handle, err := cgo.EngineCacheNew(e.handle, int64(slots), int64(capacity))
	if err != nil {
		return nil, wrap("Engine.NewCache", err)
	}
	return &EngineCache{handle: handle}, nil
}

// Close frees the cache. It may be called more than once.
func (c *EngineCache) Close() { c.handle.Free() }

// Begin begins an empty sequence in a slot.
func (c *EngineCache) Begin(slot int) error {
	return wrap("EngineCache.Begin", cgo.EngineCacheBegin(c.handle, int64(slot), -1, 0))
}

// Share begins a sequence in a slot that goes on from the first length tokens of another, without a copy. The other must
// share none itself and cannot begin anew as long as it is shared.
func (c *EngineCache) Share(slot, from, length int) error {
	return wrap("EngineCache.Share", cgo.EngineCacheBegin(c.handle, int64(slot), int64(from), int64(length)))
}

// Decode appends tokens to the sequences of a cache, those of a slot one behind the other, and writes the logits that are
// wanted, one row of the vocabulary after another. When it fails none has been appended. What a sequence gets does not
// depend on the other ones.
func (e *Engine) Decode(params *Flat, c *EngineCache, rows []Row, logits []float32) error {
	if err := e.Load(params); err != nil {
		return err
	}
	return wrap("Engine.Decode", cgo.EngineDecode(e.handle, params.tensor.handle, c.handle, rows, logits))
}

// Draw appends tokens as Decode does and draws what is wanted of what follows, for each token by a number u from 0 to 1: by inverse
// transform of softmax in the order of the vocabulary. A token is −1 where the model's scores are not numbers.
func (e *Engine) Draw(params *Flat, c *EngineCache, rows []Row, d Drawing, u []float64, tokens []int32) error {
	if err := e.Load(params); err != nil {
		return err
	}
	if len(u) != len(tokens) {
		return wrap("Engine.Draw", fmt.Errorf("%d numbers to draw %d tokens by", len(u), len(tokens)))
	}
	return wrap("Engine.Draw", cgo.EngineDraw(e.handle, params.tensor.handle, c.handle, rows, d, u, tokens))
}

// Trace starts a trace of at most capacity spans a thread; 0 ends it.
func (e *Engine) Trace(capacity int) error {
	return wrap("Engine.Trace", cgo.EngineTrace(e.handle, int64(capacity)))
}

// Spans copies out what the trace has.
func (e *Engine) Spans() ([]Span, error) {
	n, err := cgo.EngineSpans(e.handle, nil)
	if err != nil {
		return nil, wrap("Engine.Spans", err)
	}
	spans := make([]Span, n)
	_, err = cgo.EngineSpans(e.handle, spans)
	return spans, wrap("Engine.Spans", err)
}

// EngineParts lists the names of the parts of a step, by [Span.Part].
func EngineParts() []string {
	var names []string
	for {
		name := cgo.EnginePart(len(names))
		if name == "" {
			return names
		}
		names = append(names, name)
	}
}

// checkBatch refuses slices that are not as long as the batch says: the native side cannot see that.
func checkBatch(op string, b Batch) error {
	if b.Sequences < 0 || b.Time < 0 || (b.Time > 0 && b.Sequences > int64(len(b.IDs))/b.Time) ||
		int64(len(b.IDs)) != b.Sequences*b.Time || len(b.Targets) != len(b.IDs) {
		return wrap(op, fmt.Errorf("%d ids and %d targets for %d sequences of %d tokens", len(b.IDs), len(b.Targets), b.Sequences, b.Time))
	}
	return nil
}
