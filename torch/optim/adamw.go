package optim

import (
	"math"
	"slices"

	"plasticity/record"
	"plasticity/torch"
	"plasticity/torch/nn"
)

// Options are the numbers of AdamW that do not change during a run.
type Options struct {
	Beta1, Beta2, Eps float64
	ClipNorm          float64 // largest gradient norm; 0: no clipping
}

// AdamW is Adam with decoupled weight decay: p ← p − lr·λ·p − lr·m̂/(√v̂ + eps).
// Parameters, gradients and moments are the registry's.
type AdamW struct {
	registry *nn.Registry
	groups   []Group
	options  Options
	segments []torch.Segment
	of       []int // group of each segment
	updates  int64
}

// NewAdamW makes an optimizer over all parameters of r, in the given groups.
func NewAdamW(r *nn.Registry, groups []Group, o Options) *AdamW {
	a := &AdamW{registry: r, groups: groups, options: o}
	group := map[*nn.Param]int{}
	for i, g := range groups {
		for _, p := range g.Params {
			group[p] = i
		}
	}
	for _, p := range r.Params() {
		// Neighbours of one group are one stretch.
		if n := len(a.of); n > 0 && a.of[n-1] == group[p] {
			a.segments[n-1].Length += p.Len()
			continue
		}
		a.segments = append(a.segments, torch.Segment{Offset: p.Offset, Length: p.Len()})
		a.of = append(a.of, group[p])
	}
	return a
}

// Groups lists the groups in order.
func (a *AdamW) Groups() []Group { return a.groups }

// Updates is the number of updates made so far; bias correction depends on it.
func (a *AdamW) Updates() int64 { return a.updates }

// SetUpdates restores it from a checkpoint.
func (a *AdamW) SetUpdates(n int64) { a.updates = n }

// Segments lists the stretches of the flat buffers in order, each with its group's weight decay.
func (a *AdamW) Segments() []torch.Segment {
	out := slices.Clone(a.segments)
	for i := range out {
		out[i].WeightDecay = a.groups[a.of[i]].WeightDecay
	}
	return out
}

// GradNorm is the norm of the gradients as they lie in the registry, before clipping.
func (a *AdamW) GradNorm() (float64, error) { return a.registry.GradNorm() }

// Step makes one update in one crossing: gradients are scaled so that their norm, gradNorm, is at
// most ClipNorm; every group's weight decay is multiplied by decayFactor, the schedule's value. A
// norm that is not finite is refused and nothing changes.
func (a *AdamW) Step(lr, decayFactor, gradNorm float64) error {
	if math.IsNaN(gradNorm) || math.IsInf(gradNorm, 0) {
		return record.Fail(record.NonFinite, "optim: the gradient norm is %v", gradNorm)
	}
	for i := range a.segments {
		a.segments[i].WeightDecay = decayFactor * a.groups[a.of[i]].WeightDecay
	}
	r := a.registry
	err := torch.AdamWStep(r.Flat(nn.Params), r.Flat(nn.Grads), r.Flat(nn.ExpAvg), r.Flat(nn.ExpAvgSq),
		r.Copy16(), a.segments, torch.AdamW{
			LR: lr, Beta1: a.options.Beta1, Beta2: a.options.Beta2, Eps: a.options.Eps,
			GradScale: a.clip(gradNorm), Step: a.updates + 1,
		})
	if err != nil {
		return err
	}
	a.updates++
	return nil
}

// clip is the factor that brings the norm down to the limit, as torch's clip_grad_norm_ has it.
func (a *AdamW) clip(norm float64) float64 {
	if a.options.ClipNorm <= 0 {
		return 1
	}
	return math.Min(1, a.options.ClipNorm/(norm+1e-6))
}
