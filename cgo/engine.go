package cgo

/*
#include <stdlib.h>
#include <tgo.h>
*/
import "C"

import "unsafe"

// Engine is the handle of a CPU engine; its zero value is none.
type Engine struct{ p *C.tgo_engine }

// Family is a model family as the engine knows it.
type Family int32

// The families of tgo.h.
const (
	Llama2 Family = C.TGO_LLAMA2
	OLMo2  Family = C.TGO_OLMO2
)

// EngineModel is the shape that an engine computes.
type EngineModel struct {
	Family                                             Family
	Tied                                               bool // the output layer is the embedding's table
	Layers, Width, Heads, KVHeads, FFN, Vocab, Context int64
	NormEps, RopeTheta                                 float64
}

func (m EngineModel) c() C.tgo_model {
	return C.tgo_model{
		family: C.int32_t(m.Family), tied: flag(m.Tied), layers: C.int64_t(m.Layers), width: C.int64_t(m.Width),
		heads: C.int64_t(m.Heads), kv_heads: C.int64_t(m.KVHeads), ffn: C.int64_t(m.FFN), vocab: C.int64_t(m.Vocab),
		context: C.int64_t(m.Context), norm_eps: C.double(m.NormEps), rope_theta: C.double(m.RopeTheta),
	}
}

// EngineOptions say how an engine computes.
type EngineOptions struct {
	Precision DType  // of products
	Threads   int    // at least 1
	Backward  bool   // false: losses only
	Sequences int64  // of the largest micro-batch
	ISA       string // amx, avx512_bf16, avx512 or avx2; empty: the best of this CPU
}

// with lends o as C reads it.
func (o EngineOptions) with(f func(*C.tgo_engine_options) C.tgo_status) error {
	isa := C.CString(o.ISA)
	defer C.free(unsafe.Pointer(isa))
	c := C.tgo_engine_options{
		precision: C.int32_t(o.Precision), threads: C.int32_t(o.Threads), backward: flag(o.Backward),
		sequences: C.int64_t(o.Sequences), isa: isa,
	}
	return check(f(&c))
}

// EngineNew makes an engine; offsets has the first element of every parameter, in the order of tgo.h.
func EngineNew(m EngineModel, o EngineOptions, offsets []int64) (Engine, error) {
	var e Engine
	model := m.c()
	err := o.with(func(c *C.tgo_engine_options) C.tgo_status {
		at, n := dimsOf(offsets)
		return C.tgo_engine_new(&model, c, at, C.int64_t(n), &e.p)
	})
	return e, err
}

// Free frees the engine and makes it none.
func (e *Engine) Free() {
	C.tgo_engine_free(e.p)
	e.p = nil
}

// EngineISA is the instruction set that the engine uses.
func EngineISA(e Engine) string { return C.GoString(C.tgo_engine_isa(e.p)) }

// EngineBytes is what an engine of these sizes takes, besides the flat buffers.
func EngineBytes(m EngineModel, o EngineOptions) (int64, error) {
	var out C.int64_t
	model := m.c()
	err := o.with(func(c *C.tgo_engine_options) C.tgo_status { return C.tgo_engine_bytes(&model, c, &out) })
	return int64(out), err
}

// EngineLoad takes the values of all parameters.
func EngineLoad(e Engine, params Tensor) error { return check(C.tgo_engine_load(e.p, params.p)) }

// Batch holds ids and targets of Sequences × Time tokens, to go through in micro-batches of Micro
// sequences. Its slices are lent for the call.
type Batch struct {
	IDs, Targets           []int32
	Sequences, Time, Micro int64
	Divisor, ZLoss         float64
}

// c is the batch as C reads it; both slices must hold Sequences × Time elements.
func (b Batch) c() C.tgo_batch {
	return C.tgo_batch{
		ids:       (*C.int32_t)(unsafe.Pointer(unsafe.SliceData(b.IDs))),
		targets:   (*C.int32_t)(unsafe.Pointer(unsafe.SliceData(b.Targets))),
		sequences: C.int64_t(b.Sequences), time: C.int64_t(b.Time), micro: C.int64_t(b.Micro),
		divisor: C.double(b.Divisor), z_loss: C.double(b.ZLoss),
	}
}

// EngineResult is what a step computed.
type EngineResult struct {
	Loss, GradNorm float64
	Updated        bool // false: loss or norm is not finite and nothing has changed
}

func engineResult(status C.tgo_status, out *C.tgo_engine_result) (EngineResult, error) {
	if err := check(status); err != nil {
		return EngineResult{}, err
	}
	return EngineResult{Loss: float64(out.loss), GradNorm: float64(out.grad_norm), Updated: out.updated != 0}, nil
}

// EngineStep makes one optimizer step; decay has the weight decay of every parameter.
func EngineStep(e Engine, params, m, v Tensor, b Batch, o AdamW, clip float64, decay []float64) (EngineResult, error) {
	var out C.tgo_engine_result
	return engineResult(C.tgo_engine_step(e.p, params.p, m.p, v.p, b.c(), o.c(), C.double(clip),
		(*C.double)(unsafe.Pointer(unsafe.SliceData(decay))), &out), &out)
}

// EngineGradients adds the gradients of a batch to grads.
func EngineGradients(e Engine, params, grads Tensor, b Batch) (EngineResult, error) {
	var out C.tgo_engine_result
	return engineResult(C.tgo_engine_gradients(e.p, params.p, grads.p, b.c(), &out), &out)
}

// EngineLoss is the sum of the losses of a batch's tokens.
func EngineLoss(e Engine, params Tensor, b Batch) (float64, error) {
	var out C.double
	err := check(C.tgo_engine_loss(e.p, params.p, b.c(), &out))
	return float64(out), err
}

// EngineCache is the handle of the keys and values of sequences that are being continued; its zero value is none.
type EngineCache struct{ p *C.tgo_cache }

// EngineCacheNew makes slots with room for capacity tokens each, on an engine made without Backward.
func EngineCacheNew(e Engine, slots, capacity int64) (EngineCache, error) {
	var c EngineCache
	err := check(C.tgo_cache_new(e.p, C.int64_t(slots), C.int64_t(capacity), &c.p))
	return c, err
}

// Free frees the cache and makes it none.
func (c *EngineCache) Free() {
	C.tgo_cache_free(c.p)
	c.p = nil
}

// EngineCacheBegin begins a sequence in a slot: an empty one, or, with from at least 0, one that goes on from the first
// length tokens of that slot.
func EngineCacheBegin(c EngineCache, slot, from, length int64) error {
	return check(C.tgo_cache_begin(c.p, C.int64_t(slot), C.int64_t(from), C.int64_t(length)))
}

// Row is a token that is appended to a slot's sequence; Wanted is how many results are wanted of what follows: its logits, 0 or 1,
// or tokens drawn from them. Its layout is tgo_row's.
type Row struct{ Slot, ID, Wanted int32 }

// Does not compile when the two layouts differ in size.
var _ [C.sizeof_tgo_row]byte = [unsafe.Sizeof(Row{})]byte{}

// EngineDecode appends tokens and writes the wanted logits.
func EngineDecode(e Engine, params Tensor, c EngineCache, rows []Row, logits []float32) error {
	return check(C.tgo_engine_decode(e.p, params.p, c.p, (*C.tgo_row)(unsafe.Pointer(unsafe.SliceData(rows))), C.int64_t(len(rows)),
		(*C.float)(unsafe.Pointer(unsafe.SliceData(logits))), C.int64_t(len(logits))))
}

// Drawing says how tokens are drawn: from the first Known of the vocabulary, at a temperature (0: the likeliest), with a penalty of
// those that the sequence has (1: none).
type Drawing struct {
	Temperature, Penalty float64
	Known                int
}

// EngineDraw appends tokens and draws what is wanted of what follows, each by one of the numbers u.
func EngineDraw(e Engine, params Tensor, c EngineCache, rows []Row, d Drawing, u []float64, tokens []int32) error {
	drawing := C.tgo_drawing{temperature: C.double(d.Temperature), penalty: C.double(d.Penalty), known: C.int64_t(d.Known)}
	return check(C.tgo_engine_draw(e.p, params.p, c.p, (*C.tgo_row)(unsafe.Pointer(unsafe.SliceData(rows))), C.int64_t(len(rows)), &drawing,
		(*C.double)(unsafe.Pointer(unsafe.SliceData(u))), (*C.int32_t)(unsafe.Pointer(unsafe.SliceData(tokens))), C.int64_t(min(len(u), len(tokens)))))
}

// Span is a stretch of a thread's time, in seconds from the start of the trace. Its layout is tgo_span's.
type Span struct {
	Thread, Part   int32
	Start, Seconds float64
}

// Does not compile when the two layouts differ in size.
var _ [C.sizeof_tgo_span]byte = [unsafe.Sizeof(Span{})]byte{}

// EnginePart names a part of a step; empty from the first index without one on.
func EnginePart(part int) string {
	name := C.tgo_engine_part(C.int32_t(part))
	if name == nil {
		return ""
	}
	return C.GoString(name)
}

// EngineTrace starts a trace of at most capacity spans a thread; 0 ends it.
func EngineTrace(e Engine, capacity int64) error {
	return check(C.tgo_engine_trace(e.p, C.int64_t(capacity)))
}

// EngineSpans copies the spans of the trace into spans, as many as fit, and returns how many there are.
func EngineSpans(e Engine, spans []Span) (int, error) {
	var count C.int64_t
	s := (*C.tgo_span)(unsafe.Pointer(unsafe.SliceData(spans)))
	err := check(C.tgo_engine_spans(e.p, s, C.int64_t(len(spans)), &count))
	return int(count), err
}
