package torch

import (
	"plasticity/cgo"
	"plasticity/record"
)

// Info describes the loaded libtorch and this CPU.
type Info = cgo.Info

// Stamp identifies the native library this program was built with.
const Stamp = cgo.Stamp

// LoadedStamp identifies the native library that was loaded.
func LoadedStamp() string { return cgo.LoadedStamp() }

// Check says whether the native library that was loaded is the one this program was built with.
func Check() error {
	if err := cgo.Check(); err != nil {
		return record.Fail(record.Internal, "%w", err)
	}
	return nil
}

// Describe reads what libtorch and this CPU offer.
func Describe() (Info, error) {
	info, err := cgo.Describe()
	return info, wrap("Describe", err)
}

// SetThreads sets libtorch's threads for the whole process, at least 1. Call it once, first.
func SetThreads(n int) error { return wrap("SetThreads", cgo.SetThreads(n)) }

// ProductGFLOPS times the product of two random n × n matrices, best of repeats, in GFLOP/s.
func ProductGFLOPS(dtype DType, n, repeats int) (float64, error) {
	rate, err := cgo.ProductGFLOPS(dtype, int64(n), repeats)
	return rate, wrap("ProductGFLOPS", err)
}

// wrap gives the error of a call without a scope its name and exit code.
func wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	return failure(&OpError{Op: op, Err: err})
}
