package torch

import (
	"errors"

	"plasticity/cgo"
	"plasticity/record"
)

// CPU is the device number of the host's memory; others are those of CUDA.
const CPU = -1

// CUDADevices says how many devices can be used, and with 0 why.
type CUDADevices = cgo.CUDADevices

// OpenCUDA loads what CUDA needs if there is a driver for it. libtorch decides once per process whether
// it has CUDA, so this comes before anything else of this package. It may be called again.
func OpenCUDA() (CUDADevices, error) {
	d, err := cgo.CUDAOpen()
	return d, wrap("OpenCUDA", err)
}

// CUDAInfo describes a device and this process's tensors on it.
type CUDAInfo = cgo.CUDAInfo

// DescribeCUDA describes a device.
func DescribeCUDA(device int) (CUDAInfo, error) {
	i, err := cgo.CUDADescribe(device)
	return i, wrap("DescribeCUDA", err)
}

// GraphOptions are the shape of a step and the numbers that do not change.
type GraphOptions = cgo.GraphOptions

// GraphLayer has the first elements of a layer's parameters in the flat buffers.
type GraphLayer = cgo.GraphLayer

// GraphMemory is what a step holds on the device, in bytes.
type GraphMemory = cgo.GraphMemory

// GraphResult is what a step computed.
type GraphResult = cgo.GraphResult

// The families of models that a graph knows, and the implementations of attention.
const (
	GraphLlama2    = cgo.GraphLlama2
	GraphOLMo2     = cgo.GraphOLMo2
	AttentionAuto  = cgo.AttentionAuto
	AttentionCuDNN = cgo.AttentionCuDNN
	AttentionFlash = cgo.AttentionFlash
	AttentionMath  = cgo.AttentionMath
)

// PlanGraph computes what a step will hold. It needs no GPU.
func PlanGraph(o GraphOptions) (GraphMemory, error) {
	m, err := cgo.GraphPlan(o)
	return m, wrap("PlanGraph", err)
}

// GraphState names the flat buffers of a model on a device, and where its outer parameters begin.
type GraphState struct {
	Params, Grads, M, V, Copy16 *Flat
	Embedding, Norm, Head       int64
}

// Graph is the training step of a model on a device, all of it in one crossing. It is used by the
// goroutine that made it, which keeps its OS thread: libraries plan their kernels per thread.
type Graph struct{ graph cgo.Graph }

// NewGraph makes a step over buffers that must outlive it. The caller closes it.
func NewGraph(o GraphOptions, s GraphState, layers []GraphLayer, segments []Segment) (*Graph, error) {
	if len(layers) != o.Layers {
		return nil, wrap("NewGraph", errors.New("the number of layers is not that of the options"))
	}
	g, err := cgo.NewGraph(o, cgo.GraphState{
		Params: s.Params.tensor.handle, Grads: s.Grads.tensor.handle, M: s.M.tensor.handle, V: s.V.tensor.handle,
		Copy16: s.Copy16.tensor.handle, Embedding: s.Embedding, Norm: s.Norm, Head: s.Head,
	}, layers, segments)
	if err != nil {
		return nil, wrap("NewGraph", err)
	}
	return &Graph{g}, nil
}

// Close frees the graph's buffers. It may be called more than once.
func (g *Graph) Close() { g.graph.Free() }

// Describe names the implementation of attention that runs, and says whether operations reach the
// device as a graph, which is known after the first step.
func (g *Graph) Describe() (attention, launch string, err error) {
	attention, launch, err = g.graph.Describe()
	return attention, launch, wrap("Graph.Describe", err)
}

// Launch starts a step on ids and their targets and returns before it is done. decay multiplies every
// segment's weight decay; step is 1 for the first update. At most two steps may be on their way.
func (g *Graph) Launch(ids, targets []int32, lr, decay float64, step int64) error {
	if len(ids) != len(targets) {
		return record.Fail(record.Internal, "torch: %d ids and %d targets", len(ids), len(targets))
	}
	return wrap("Graph.Launch", g.graph.Launch(ids, targets, lr, decay, step))
}

// Wait waits for the oldest step on its way.
func (g *Graph) Wait() (GraphResult, error) {
	r, err := g.graph.Wait()
	return r, wrap("Graph.Wait", err)
}

// Loss is the summed cross-entropy of targets given ids, with the current weights. No step may be on
// its way.
func (g *Graph) Loss(ids, targets []int32) (float64, error) {
	if len(ids) != len(targets) {
		return 0, record.Fail(record.Internal, "torch: %d ids and %d targets", len(ids), len(targets))
	}
	sum, err := g.graph.Loss(ids, targets)
	return sum, wrap("Graph.Loss", err)
}
