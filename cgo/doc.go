// Package cgo is the border between Go and libtorch: the only package of the module with
// import "C". It makes C++ look like careful C (tgo.h, src/) and careful C look like small Go.
//
// The contract of the border:
//
//   - Every C function that can fail returns its own status by value. The message crosses in the
//     same call as the failure, so no other goroutine or thread can lose or swap it.
//   - One guard in C++ (src/guard.hh) holds the only try: no exception leaves the library.
//   - Handles are opaque. Every tensor handed out is owned by the caller and freed with [Free];
//     [Live] counts those that are out.
//   - Data is copied inside the call. C never keeps a Go pointer.
//   - No mode outlives a call: whether autograd records is an argument of each operation, not
//     state of a thread.
//
// The package holds no policy, cache, goroutine or shape logic: package torch has those. The
// native library is built by CMake (make build) and carries a stamp of its sources, flags and
// libtorch; [Check] says in one sentence what to run when it does not match this package.
package cgo
