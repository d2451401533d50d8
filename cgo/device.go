package cgo

/*
#include <tgo.h>
*/
import "C"

// Info describes the loaded libtorch and this CPU.
type Info struct {
	TorchVersion                  string
	CPUCapability                 string // what ATen dispatches to: DEFAULT, AVX2, AVX512
	Threads                       int
	AVX2, AVX512, AVX512BF16, AMX bool
}

// Describe reads what libtorch and this CPU offer.
func Describe() (Info, error) {
	var out C.tgo_info
	if err := check(C.tgo_describe(&out)); err != nil {
		return Info{}, err
	}
	return Info{
		TorchVersion:  C.GoString(&out.torch_version[0]),
		CPUCapability: C.GoString(&out.cpu_capability[0]),
		Threads:       int(out.threads),
		AVX2:          out.avx2 != 0,
		AVX512:        out.avx512 != 0,
		AVX512BF16:    out.avx512_bf16 != 0,
		AMX:           out.amx_bf16 != 0,
	}, nil
}

// SetThreads sets libtorch's threads for the whole process and flushes denormals on each.
func SetThreads(n int) error { return check(C.tgo_set_threads(C.int32_t(n))) }

// ProductGFLOPS times the product of two random n × n matrices, best of repeats.
func ProductGFLOPS(dtype DType, n int64, repeats int) (float64, error) {
	var out C.double
	err := check(C.tgo_product_gflops(C.int32_t(dtype), C.int64_t(n), C.int32_t(repeats), &out))
	return float64(out), err
}
