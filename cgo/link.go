package cgo

/*
#cgo CFLAGS: -I${SRCDIR}
#cgo LDFLAGS: -L${SRCDIR}/../build/lib -ltgo -Wl,--allow-shlib-undefined
#include <tgo.h>
#include <tgo_stamp.h>
*/
import "C"

// The headers are included with < >: cgo compiles in the folder for temporary files, where "…" would find
// another header of the same name first.

import "fmt"

// Stamp is the hash of the native sources, flags and libtorch that this package was compiled
// against. It is a constant so that a rebuilt library rebuilds the Go code that uses it.
const Stamp = C.TGO_STAMP

// LoadedStamp is the stamp of the native library that was loaded.
func LoadedStamp() string { return C.GoString(C.tgo_stamp()) }

// Check compares the loaded native library with the one this package was compiled against.
func Check() error {
	if loaded := LoadedStamp(); loaded != Stamp {
		return fmt.Errorf("the native library (stamp %.12s) is not the one this program was built with (%.12s): run make build", loaded, Stamp)
	}
	return nil
}
