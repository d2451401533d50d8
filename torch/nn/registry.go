package nn

import (
	"fmt"

	"plasticity/record"
	"plasticity/torch"
)

// Buffer names one of a registry's flat buffers.
type Buffer int

// The flat buffers.
const (
	Params   Buffer = iota // float32 master values
	Grads                  // gradients, added up over micro-batches
	ExpAvg                 // Adam's first moment
	ExpAvgSq               // Adam's second moment
	buffers
)

// Use says what a registry is for, and so which buffers it has.
type Use int

// The uses of a registry.
const (
	Training  Use = iota // by autograd: all buffers, and in bfloat16 the rounded copy
	Inference            // values, and in bfloat16 the rounded copy
	Stepping             // by an engine, which has its own copies and gradients: values and moments
)

// has reports whether a registry of this use has the buffer.
func (u Use) has(b Buffer) bool {
	return b == Params || u == Training || u == Stepping && b != Grads
}

// Param is a named view of the flat buffers.
type Param struct {
	Name   string
	Shape  []int
	Offset int64 // first element in each flat buffer
	Init   Init

	value   *torch.Tensor
	compute *torch.Tensor
}

// Len is the number of elements.
func (p *Param) Len() int64 {
	n := int64(1)
	for _, d := range p.Shape {
		n *= int64(d)
	}
	return n
}

// Value is the float32 view that gradients belong to. It is the registry's to close.
func (p *Param) Value() *torch.Tensor { return p.value }

// Weight is the parameter as products use it.
func (p *Param) Weight() torch.Weight { return torch.Weight{Value: p.value, Compute: p.compute} }

// Registry is an ordered list of parameters and the flat buffers behind them.
type Registry struct {
	params  []*Param
	byName  map[string]*Param
	flat    [buffers]*torch.Flat
	copy16  *torch.Flat
	half    bool  // products run in bfloat16
	device  int   // where the buffers lie
	problem error // the first mistake of Declare, reported by Build
}

// NewRegistry makes an empty registry.
func NewRegistry() *Registry { return &Registry{byName: map[string]*Param{}} }

// Declare adds a parameter. A name that is taken or a shape that is not positive is reported by
// Build, so that a model's constructor reads as a list.
func (r *Registry) Declare(name string, init Init, shape ...int) *Param {
	p := &Param{Name: name, Shape: append([]int(nil), shape...), Offset: r.NumParams(), Init: init}
	if _, taken := r.byName[name]; taken && r.problem == nil {
		r.problem = fmt.Errorf("parameter %s is declared twice", name)
	}
	for _, d := range shape {
		if d < 1 && r.problem == nil {
			r.problem = fmt.Errorf("parameter %s has shape %v", name, shape)
		}
	}
	r.params = append(r.params, p)
	r.byName[name] = p
	return p
}

// Params lists the parameters in the order of declaration.
func (r *Registry) Params() []*Param { return r.params }

// Param finds a parameter by name; nil when there is none.
func (r *Registry) Param(name string) *Param { return r.byName[name] }

// NumParams is the number of elements of all parameters.
func (r *Registry) NumParams() int64 {
	if len(r.params) == 0 {
		return 0
	}
	last := r.params[len(r.params)-1]
	return last.Offset + last.Len()
}

// Build lays out the buffers that the use needs, all zero. With BFloat16, products use a rounded copy of
// the values. After a failure the registry holds nothing.
func (r *Registry) Build(precision torch.DType, use Use) error {
	return r.BuildOn(torch.CPU, precision, use)
}

// BuildOn is Build with the buffers in the memory of a CUDA device, or on the host for torch.CPU. Read, Write,
// Round and norms work as on the host.
func (r *Registry) BuildOn(device int, precision torch.DType, use Use) error {
	if r.problem != nil {
		return record.Fail(record.Internal, "nn: %w", r.problem)
	}
	if err := r.build(device, precision, use); err != nil {
		r.Close()
		return err
	}
	return nil
}

func (r *Registry) build(device int, precision torch.DType, use Use) error {
	r.device = device
	var err error
	for b := range buffers {
		if !use.has(b) {
			continue
		}
		if r.flat[b], err = torch.NewFlatOn(device, torch.Float32, r.NumParams()); err != nil {
			return err
		}
	}
	for _, p := range r.params {
		if r.flat[Grads] != nil {
			p.value, err = r.flat[Params].Leaf(r.flat[Grads], p.Offset, p.Shape...)
		} else {
			p.value, err = r.flat[Params].View(p.Offset, p.Shape...)
		}
		if err != nil {
			return err
		}
	}
	if r.half = precision == torch.BFloat16; r.half && use != Stepping {
		return r.buildCopy()
	}
	return nil
}

// buildCopy makes the rounded copy and its views.
func (r *Registry) buildCopy() error {
	var err error
	if r.copy16, err = torch.NewFlatOn(r.device, torch.BFloat16, r.NumParams()); err != nil {
		return err
	}
	for _, p := range r.params {
		if p.compute, err = r.copy16.View(p.Offset, p.Shape...); err != nil {
			return err
		}
	}
	return nil
}

// Close frees views and buffers. It may be called more than once.
func (r *Registry) Close() {
	for _, p := range r.params {
		p.value.Close()
		p.compute.Close()
		p.value, p.compute = nil, nil
	}
	for b, f := range r.flat {
		if f != nil {
			f.Close()
			r.flat[b] = nil
		}
	}
	if r.copy16 != nil {
		r.copy16.Close()
		r.copy16 = nil
	}
}

// Flat is one of the buffers as a whole; nil when the use of the registry does without.
func (r *Registry) Flat(b Buffer) *torch.Flat { return r.flat[b] }

// Copy16 is the rounded copy of the values, nil where there is none.
func (r *Registry) Copy16() *torch.Flat { return r.copy16 }

// buffer is Flat, and an error where that is nil.
func (r *Registry) buffer(b Buffer) (*torch.Flat, error) {
	if r.flat[b] == nil {
		return nil, record.Fail(record.Internal, "nn: this registry was built without buffer %d", b)
	}
	return r.flat[b], nil
}

// Read copies a parameter's stretch of a buffer out.
func (r *Registry) Read(b Buffer, name string) ([]float32, error) {
	p, ok := r.byName[name]
	if !ok {
		return nil, record.Fail(record.Internal, "nn: there is no parameter %s", name)
	}
	f, err := r.buffer(b)
	if err != nil {
		return nil, err
	}
	data := make([]float32, p.Len())
	return data, f.Read(p.Offset, data)
}

// Write overwrites a parameter's stretch of a buffer. After the last Write to Params, call Round.
func (r *Registry) Write(b Buffer, name string, data []float32) error {
	p, ok := r.byName[name]
	if !ok {
		return record.Fail(record.Internal, "nn: there is no parameter %s", name)
	}
	if int64(len(data)) != p.Len() {
		return record.Fail(record.Internal, "nn: %d values for parameter %s of shape %v", len(data), name, p.Shape)
	}
	f, err := r.buffer(b)
	if err != nil {
		return err
	}
	return f.Write(p.Offset, data)
}

// Round renews the bfloat16 copy from the values, where there is one.
func (r *Registry) Round() error {
	if r.copy16 == nil {
		return nil
	}
	return r.flat[Params].RoundTo(r.copy16)
}

// Prepare makes the values ready for products: with Stepping, where an engine writes the values and
// nobody renews a copy, this makes and renews it. Call it before computing with the parameters there.
func (r *Registry) Prepare() error {
	if r.half && r.copy16 == nil {
		if err := r.buildCopy(); err != nil {
			return err
		}
	}
	return r.Round()
}

// ZeroGrad sets every gradient to 0.
func (r *Registry) ZeroGrad() error {
	f, err := r.buffer(Grads)
	if err != nil {
		return err
	}
	return f.Zero()
}

// GradNorm is the Euclidean norm of all gradients together.
func (r *Registry) GradNorm() (float64, error) {
	f, err := r.buffer(Grads)
	if err != nil {
		return 0, err
	}
	return f.Norm()
}

// ParamNorm is the Euclidean norm of all values together.
func (r *Registry) ParamNorm() (float64, error) { return r.flat[Params].Norm() }
