//go:build bundle

package cgo

// A program of a bundle finds the library in lib/ beside its bin/ (make bundle).

// #cgo LDFLAGS: -Wl,-rpath,$ORIGIN/../lib
import "C"
