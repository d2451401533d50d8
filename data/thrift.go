package data

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Limits of Parquet metadata. The reader that is used allocates what lists claim to hold, so they are counted before it
// sees them.
const (
	maxThriftDepth    = 24
	maxThriftElements = 1 << 18
)

// errThrift says that metadata ends too early or has no meaning.
var errThrift = errors.New("broken metadata")

// Types of Thrift's compact protocol.
const (
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12
)

// thriftField is where an integer stands: the ids of the fields that lead to it, outermost first, 0 where there is none.
type thriftField [2]int16

// thriftWalker steps over a message in Thrift's compact protocol without keeping any of it but small integers.
type thriftWalker struct {
	b        []byte
	i        int
	elements int                   // of lists, so far
	ints     map[thriftField]int64 // of the message and of the structs directly in it; nil: not wanted
}

// message steps over one struct. A nil error means that its lists and strings are no longer than what is there.
func (w *thriftWalker) message() error { return w.structure(thriftField{}, 0) }

func (w *thriftWalker) structure(path thriftField, depth int) error {
	if depth > maxThriftDepth {
		return fmt.Errorf("%w: nested more than %d deep", errThrift, maxThriftDepth)
	}
	id := int16(0)
	for {
		head, err := w.byte()
		if err != nil || head == 0 {
			return err
		}
		if delta := head >> 4; delta != 0 {
			id += int16(delta)
		} else {
			v, err := w.varint()
			if err != nil {
				return err
			}
			id = int16(v)
		}
		if depth < len(path) {
			path[depth] = id
		}
		kind := head & 15
		if kind == thriftTrue || kind == thriftFalse {
			w.note(path, depth, int64(thriftFalse-kind))
			continue
		}
		if err := w.value(kind, path, depth); err != nil {
			return err
		}
	}
}

// note keeps an integer.
func (w *thriftWalker) note(path thriftField, depth int, v int64) {
	if w.ints != nil && depth < len(path) {
		w.ints[path] = v
	}
}

// value steps over a value of a type.
func (w *thriftWalker) value(kind byte, path thriftField, depth int) error {
	switch {
	case kind == thriftTrue || kind == thriftFalse || kind == thriftByte: // one byte each within lists
		return w.skip(1)
	case kind > thriftByte && kind <= thriftI64:
		v, err := w.varint()
		w.note(path, depth, v)
		return err
	case kind == thriftDouble:
		return w.skip(8)
	case kind == thriftBinary:
		n, err := w.length()
		if err != nil {
			return err
		}
		return w.skip(n)
	case kind == thriftList || kind == thriftSet:
		return w.list(depth)
	case kind == thriftStruct:
		return w.structure(path, depth+1)
	default: // Parquet has no maps
		return fmt.Errorf("%w: type %d", errThrift, kind)
	}
}

// list steps over a list or set.
func (w *thriftWalker) list(depth int) error {
	head, err := w.byte()
	if err != nil {
		return err
	}
	n := int(head >> 4)
	if n == 15 {
		if n, err = w.length(); err != nil {
			return err
		}
	}
	if n > len(w.b)-w.i {
		return fmt.Errorf("%w: a list of %d entries in %d bytes", errThrift, n, len(w.b)-w.i)
	}
	if w.elements += n; w.elements > maxThriftElements {
		return fmt.Errorf("%w: more than %d entries in lists", errThrift, maxThriftElements)
	}
	for range n {
		if err := w.value(head&15, thriftField{}, max(depth+1, len(thriftField{}))); err != nil {
			return err
		}
	}
	return nil
}

func (w *thriftWalker) byte() (byte, error) {
	if w.i >= len(w.b) {
		return 0, errThrift
	}
	w.i++
	return w.b[w.i-1], nil
}

func (w *thriftWalker) skip(n int) error {
	if n > len(w.b)-w.i {
		return errThrift
	}
	w.i += n
	return nil
}

// varint reads a signed number in zigzag form.
func (w *thriftWalker) varint() (int64, error) {
	v, n := binary.Varint(w.b[w.i:])
	if n <= 0 {
		return 0, errThrift
	}
	w.i += n
	return v, nil
}

// length reads an unsigned number that must not exceed what is left.
func (w *thriftWalker) length() (int, error) {
	v, n := binary.Uvarint(w.b[w.i:])
	if n <= 0 || v > uint64(len(w.b)) {
		return 0, errThrift
	}
	w.i += n
	return int(v), nil
}
