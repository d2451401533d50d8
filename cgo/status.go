package cgo

/*
#include <tgo.h>
#cgo noescape tgo_fail_after
#cgo nocallback tgo_fail_after
*/
import "C"

// Code classifies a failure of the native side.
type Code int32

// The codes of tgo.h.
const (
	Invalid     Code = C.TGO_INVALID       // shapes, types or values that an operation refuses
	OutOfMemory Code = C.TGO_OUT_OF_MEMORY // host or device memory
	DeviceLost  Code = C.TGO_DEVICE_LOST   // the device cannot be used again by this process
	Internal    Code = C.TGO_INTERNAL      // anything else that was thrown
)

// Error is a failure of one native call.
type Error struct {
	Code    Code
	Message string
}

func (e *Error) Error() string { return e.Message }

// check turns an owned status into a Go error and frees it: the one place that does.
func check(status C.tgo_status) error {
	if status.code == C.TGO_OK {
		return nil
	}
	err := &Error{Code: Code(status.code), Message: C.GoString(status.message)}
	C.tgo_status_free(status)
	return err
}

// FailAfter makes the guarded call after `calls` further ones on this thread throw an error of
// the given code; a negative count disarms. It exists so that tests reach every error path: pin
// the goroutine to its thread first.
func FailAfter(calls int64, code Code) {
	C.tgo_fail_after(C.int64_t(calls), C.int32_t(code))
}
