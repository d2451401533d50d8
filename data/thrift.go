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

// thriftWalker steps over a message in Thrift's compact protocol without keeping any of it.
type thriftWalker struct {
	b        []byte
	i        int
	elements int // of lists, so far
}

// message steps over one struct. A nil error means that its lists and strings are no longer than what is there.
func (w *thriftWalker) message() error { return w.structure(0) }

func (w *thriftWalker) structure(depth int) error {
	if depth > maxThriftDepth {
		return fmt.Errorf("%w: nested more than %d deep", errThrift, maxThriftDepth)
	}
	for {
		head, err := w.byte()
		if err != nil || head == 0 {
			return err
		}
		if head>>4 == 0 { // the field's id follows
			if err := w.varint(); err != nil {
				return err
			}
		}
		kind := head & 15
		if kind == thriftTrue || kind == thriftFalse {
			continue
		}
		if err := w.value(kind, depth); err != nil {
			return err
		}
	}
}

// value steps over a value of a type.
func (w *thriftWalker) value(kind byte, depth int) error {
	switch {
	case kind == thriftTrue || kind == thriftFalse || kind == thriftByte: // one byte each within lists
		return w.skip(1)
	case kind > thriftByte && kind <= thriftI64:
		return w.varint()
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
		return w.structure(depth + 1)
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
		if err := w.value(head&15, depth+1); err != nil {
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

// varint steps over a number.
func (w *thriftWalker) varint() error {
	_, n := binary.Uvarint(w.b[w.i:])
	if n <= 0 {
		return errThrift
	}
	w.i += n
	return nil
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
