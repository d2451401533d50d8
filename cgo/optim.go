package cgo

/*
#include <tgo.h>
*/
import "C"

import "unsafe"

// FlatNorm is the Euclidean norm of a flat tensor, the same for any number of threads.
func FlatNorm(flat Tensor) (float64, error) {
	var out C.double
	err := check(C.tgo_flat_norm(flat.p, &out))
	return float64(out), err
}

// FlatRound writes the bfloat16 copy of a flat float32 tensor.
func FlatRound(values, copy16 Tensor) error { return check(C.tgo_flat_round(values.p, copy16.p)) }

// Segment is one stretch of the flat buffers and the decay of its parameters. Its layout is
// tgo_segment's.
type Segment struct {
	Offset, Length int64
	WeightDecay    float64
}

// Does not compile when the two layouts differ in size.
var _ [C.sizeof_tgo_segment]byte = [unsafe.Sizeof(Segment{})]byte{}

// AdamW holds the numbers of one update.
type AdamW struct {
	LR, Beta1, Beta2, Eps float64
	GradScale             float64 // multiplies every gradient: the clip factor
	Step                  int64   // 1 for the first update
}

func (o AdamW) c() C.tgo_adamw {
	return C.tgo_adamw{
		lr: C.double(o.LR), beta1: C.double(o.Beta1), beta2: C.double(o.Beta2), eps: C.double(o.Eps),
		grad_scale: C.double(o.GradScale), step: C.int64_t(o.Step),
	}
}

// AdamWStep updates params, m and v from grads in one crossing, and copy16 when there is one.
func AdamWStep(params, grads, m, v, copy16 Tensor, segments []Segment, o AdamW) error {
	s := (*C.tgo_segment)(unsafe.Pointer(unsafe.SliceData(segments)))
	return check(C.tgo_adamw_step(params.p, grads.p, m.p, v.p, copy16.p, s, C.int64_t(len(segments)),
		o.c()))
}
