package rank

import (
	"fmt"
	"slices"

	"gonum.org/v1/gonum/mat"

	"plasticity/config"
	"plasticity/model/source"
	"plasticity/record"
	"plasticity/torch/safetensors"
)

// weights reads the attention of a model, layer by layer.
type weights struct {
	file   *safetensors.File
	config config.Model
	fold   bool // the norms' gains on queries and keys are wanted
}

// open opens the weights of a model and checks that everything that will be read is there. The caller closes them.
func open(m source.Model, layers []int, fold bool) (*weights, error) {
	file, err := m.OpenWeights()
	if err != nil {
		return nil, err
	}
	w := &weights{file, m.Config, fold}
	if err := w.check(layers); err != nil {
		_ = file.Close() // only read
		return nil, err
	}
	return w, nil
}

func (w *weights) Close() error { return w.file.Close() }

// tensor is a tensor as the model's shape wants it.
type tensor struct {
	name  string
	shape []int
}

// tensors lists those of a layer: W_Q, W_K, W_V, W_P and, to be folded in, the gains on queries and keys.
func (w *weights) tensors(layer int) []tensor {
	width, queries, keys := w.config.Width, w.config.Heads*w.config.HeadSize(), w.config.KVHeads*w.config.HeadSize()
	prefix := fmt.Sprintf("model.layers.%d.self_attn.", layer)
	list := []tensor{
		{prefix + "q_proj.weight", []int{queries, width}},
		{prefix + "k_proj.weight", []int{keys, width}},
		{prefix + "v_proj.weight", []int{keys, width}},
		{prefix + "o_proj.weight", []int{width, queries}},
	}
	if w.fold {
		list = append(list, tensor{prefix + "q_norm.weight", []int{queries}}, tensor{prefix + "k_norm.weight", []int{keys}})
	}
	return list
}

// check names every tensor of the layers that is missing or has another shape.
func (w *weights) check(layers []int) error {
	var differences []string
	for _, layer := range layers {
		for _, t := range w.tensors(layer) {
			e, ok := w.file.Tensor(t.name)
			switch {
			case !ok:
				differences = append(differences, fmt.Sprintf("tensor %s %v is missing", t.name, t.shape))
			case !slices.Equal(e.Shape, t.shape):
				differences = append(differences, fmt.Sprintf("tensor %s has shape %v and should have %v", t.name, e.Shape, t.shape))
			}
		}
	}
	if len(differences) == 0 {
		return nil
	}
	return record.Fail(record.BadData, "%s does not fit its configuration (%s, %d layers, width %d, heads %d, kv_heads %d): %s: export or copy the folder again, weights and configuration together",
		w.file.Path(), w.config.Family, w.config.Layers, w.config.Width, w.config.Heads, w.config.KVHeads, source.Join(differences))
}

// bytes is what reading the layers takes off the disk.
func (w *weights) bytes(layers []int) int64 {
	var sum int64
	for _, layer := range layers {
		for _, t := range w.tensors(layer) {
			e, _ := w.file.Tensor(t.name)
			sum += e.Len() * e.DType.Size()
		}
	}
	return sum
}

// attention holds the matrices of a layer as they are stored, row-major.
type attention struct {
	width, size  int // D, E
	q, k, v      []float32
	p            []float32 // [D, H·E]
	qGain, kGain []float32 // nil when they are not folded in
}

// read reads a layer. A value that is not finite is BadData.
func (w *weights) read(layer int) (attention, error) {
	list := w.tensors(layer)
	values := make([][]float32, 6)
	for i, t := range list {
		var err error
		if values[i], err = w.file.Float32(t.name); err != nil {
			return attention{}, err
		}
		if err := source.Finite(w.file.Path(), t.name, values[i]); err != nil {
			return attention{}, err
		}
	}
	return attention{w.config.Width, w.config.HeadSize(), values[0], values[1], values[2], values[3], values[4], values[5]}, nil
}

// rows is the factor [E, D] of a head from a matrix [heads·E, D], with the gain of each row multiplied in unless it is nil.
func (a *attention) rows(from, gain []float32, head int) *mat.Dense {
	out := mat.NewDense(a.size, a.width, nil)
	for i := range a.size {
		at := head*a.size + i
		scale := 1.0
		if gain != nil {
			scale = float64(gain[at])
		}
		row := out.RawRowView(i)
		for j, x := range from[at*a.width : (at+1)*a.width] {
			row[j] = scale * float64(x)
		}
	}
	return out
}

// output is the factor W_Pᵀ [E, D] of a head.
func (a *attention) output(head int) *mat.Dense {
	out := mat.NewDense(a.size, a.width, nil)
	stride := len(a.p) / a.width
	for j := range a.width {
		for i, x := range a.p[j*stride+head*a.size:][:a.size] {
			out.Set(i, j, float64(x))
		}
	}
	return out
}
