//go:build !bundle

package cgo

// Programs and tests of this clone find the library where it was built.

// #cgo LDFLAGS: -Wl,-rpath,${SRCDIR}/../build/lib
import "C"
