package cgo

/*
#include <tgo.h>
#cgo noescape tgo_graph_launch
#cgo nocallback tgo_graph_launch
#cgo noescape tgo_graph_wait
#cgo nocallback tgo_graph_wait
*/
import "C"

import "unsafe"

// CUDADevices says how many devices can be used, and with 0 why.
type CUDADevices struct {
	Count  int
	Reason string
}

// CUDAOpen loads the CUDA library if there is a driver for it. It must come before anything else of
// this package.
func CUDAOpen() (CUDADevices, error) {
	var out C.tgo_cuda_devices
	if err := check(C.tgo_cuda_open(&out)); err != nil {
		return CUDADevices{}, err
	}
	return CUDADevices{int(out.count), C.GoString(&out.reason[0])}, nil
}

// CUDAInfo describes a device and this process's tensors on it.
type CUDAInfo struct {
	Name                      string
	Major, Minor, Processors  int
	Total, Free               int64 // bytes
	Allocated, Peak, Reserved int64 // bytes: of tensors now, at most, and taken from the device at most
}

// CUDADescribe describes a device.
func CUDADescribe(device int) (CUDAInfo, error) {
	var out C.tgo_cuda_info
	if err := check(C.tgo_cuda_describe(C.int32_t(device), &out)); err != nil {
		return CUDAInfo{}, err
	}
	return CUDAInfo{
		Name: C.GoString(&out.name[0]), Major: int(out.major), Minor: int(out.minor), Processors: int(out.processors),
		Total: int64(out.total_bytes), Free: int64(out.free_bytes),
		Allocated: int64(out.allocated_bytes), Peak: int64(out.peak_bytes), Reserved: int64(out.reserved_bytes),
	}, nil
}

// CUDAZeros is Zeros on a device.
func CUDAZeros(device int, dtype DType, dims []int64) (Result, error) {
	var out C.tgo_out
	d, rank := dimsOf(dims)
	return take(C.tgo_cuda_zeros(C.int32_t(device), C.int32_t(dtype), d, rank, &out), &out)
}

// The families and implementations of attention of tgo.h.
const (
	GraphLlama2    = C.TGO_LLAMA2
	GraphOLMo2     = C.TGO_OLMO2
	AttentionAuto  = C.TGO_ATTENTION_AUTO
	AttentionCuDNN = C.TGO_ATTENTION_CUDNN
	AttentionFlash = C.TGO_ATTENTION_FLASH
	AttentionMath  = C.TGO_ATTENTION_MATH
)

// GraphOptions are the shape of a step and the numbers that do not change.
type GraphOptions struct {
	Device, Family                                         int
	Layers, Width, Heads, KVHeads, FFN, Vocab, Context     int
	Tied                                                   bool
	Sequences, MicroSequences                              int
	Attention                                              int  // Attention…
	Launches                                               bool // no graph: a launch an operation
	Deterministic                                          bool // equal inputs give equal bits, at any length
	Keep                                                   bool // nothing is computed again in backward; more memory
	Streams                                                int  // 2: weight gradients beside the rest; 0: as fits the size
	Parameters                                             int64
	RopeTheta, NormEps, ZLoss, ClipNorm, Beta1, Beta2, Eps float64
}

func (o GraphOptions) native() C.tgo_graph_options {
	return C.tgo_graph_options{
		device: C.int32_t(o.Device), family: C.int32_t(o.Family), layers: C.int32_t(o.Layers), width: C.int32_t(o.Width),
		heads: C.int32_t(o.Heads), kv_heads: C.int32_t(o.KVHeads), ffn: C.int32_t(o.FFN), vocab: C.int32_t(o.Vocab),
		context: C.int32_t(o.Context), tied: flag(o.Tied), sequences: C.int32_t(o.Sequences),
		micro_sequences: C.int32_t(o.MicroSequences), attention: C.int32_t(o.Attention), launches: flag(o.Launches),
		deterministic: flag(o.Deterministic), keep: flag(o.Keep), streams: C.int32_t(o.Streams),
		parameters: C.int64_t(o.Parameters), rope_theta: C.double(o.RopeTheta), norm_eps: C.double(o.NormEps),
		z_loss: C.double(o.ZLoss), clip_norm: C.double(o.ClipNorm), beta1: C.double(o.Beta1), beta2: C.double(o.Beta2),
		eps: C.double(o.Eps),
	}
}

// GraphMemory is what a step holds, in bytes.
type GraphMemory struct{ State, Activations, Scratch, Logits int64 }

// GraphPlan computes what a step will hold. It needs no GPU.
func GraphPlan(o GraphOptions) (GraphMemory, error) {
	options := o.native()
	var out C.tgo_graph_memory
	if err := check(C.tgo_graph_plan(&options, &out)); err != nil {
		return GraphMemory{}, err
	}
	return GraphMemory{int64(out.state), int64(out.activations), int64(out.scratch), int64(out.logits)}, nil
}

// GraphLayer has the first elements of a layer's parameters in the flat buffers. Its layout is
// tgo_graph_layer's.
type GraphLayer struct {
	QKV, O, GateUp, Down int64
	Norm1, Norm2         int64
	QNorm, KNorm         int64
}

// Does not compile when the two layouts differ in size.
var _ [C.sizeof_tgo_graph_layer]byte = [unsafe.Sizeof(GraphLayer{})]byte{}

// GraphState names the flat buffers, on the device, which must outlive the graph.
type GraphState struct {
	Params, Grads, M, V, Copy16 Tensor
	Embedding, Norm, Head       int64
}

// Graph is a training step on a device; its zero value is none.
type Graph struct{ p *C.tgo_graph }

// NewGraph makes the step of a model. The caller frees it.
func NewGraph(o GraphOptions, s GraphState, layers []GraphLayer, segments []Segment) (Graph, error) {
	options := o.native()
	// The struct holds C pointers only; Go's own memory is not passed on.
	state := C.tgo_graph_state{
		params: s.Params.p, grads: s.Grads.p, m: s.M.p, v: s.V.p, copy16: s.Copy16.p,
		embedding: C.int64_t(s.Embedding), norm: C.int64_t(s.Norm), head: C.int64_t(s.Head),
	}
	var out Graph
	err := check(C.tgo_graph_new(&options, &state, (*C.tgo_graph_layer)(unsafe.Pointer(unsafe.SliceData(layers))),
		(*C.tgo_segment)(unsafe.Pointer(unsafe.SliceData(segments))), C.int64_t(len(segments)), &out.p))
	return out, err
}

// Free frees the graph; one that is none is passed over.
func (g *Graph) Free() {
	if g.p != nil {
		C.tgo_graph_free(g.p)
		g.p = nil
	}
}

// Describe names the implementation of attention and how operations reach the device.
func (g Graph) Describe() (attention, launch string, err error) {
	var out C.tgo_graph_info
	if err := check(C.tgo_graph_describe(g.p, &out)); err != nil {
		return "", "", err
	}
	return C.GoString(&out.attention[0]), C.GoString(&out.launch[0]), nil
}

// idsOf is the address of ids as C reads them.
func idsOf(ids []int32) *C.int32_t { return (*C.int32_t)(unsafe.Pointer(unsafe.SliceData(ids))) }

// Launch starts a step and returns before it is done. ids and targets have one length.
func (g Graph) Launch(ids, targets []int32, lr, decay float64, step int64) error {
	return check(C.tgo_graph_launch(g.p, idsOf(ids), idsOf(targets), C.int64_t(len(ids)),
		C.tgo_graph_update{lr: C.double(lr), decay: C.double(decay), step: C.int64_t(step)}))
}

// GraphResult is what a step computed; Stopped: something was not finite, and nothing has changed since.
type GraphResult struct {
	Loss, Norm float64
	Stopped    bool
}

// Wait waits for the oldest step on its way.
func (g Graph) Wait() (GraphResult, error) {
	var out C.tgo_graph_result
	if err := check(C.tgo_graph_wait(g.p, &out)); err != nil {
		return GraphResult{}, err
	}
	return GraphResult{float64(out.loss), float64(out.norm), out.stopped != 0}, nil
}

// Loss is the summed cross-entropy of ids and targets, of one length, with the current weights.
func (g Graph) Loss(ids, targets []int32) (float64, error) {
	var out C.double
	err := check(C.tgo_graph_loss(g.p, idsOf(ids), idsOf(targets), C.int64_t(len(ids)), &out))
	return float64(out), err
}
