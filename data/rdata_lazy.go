package data

import (
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// Limits of a store of R values, in bytes.
const (
	maxRIndex = 4 << 20
	maxRPlain = 64 << 20 // of a value
	rWindow   = 8 << 20  // how far back a value packed with LZMA2 looks
)

// rStore is a file of packed R values (.rdb) with its index (.rdx): how an installed R package keeps its data sets.
type rStore struct {
	values  rValue // by name, where each lies
	packing int32
	b       []byte
}

// openRStore reads the index of a store.
func openRStore(index, store []byte) (*rStore, error) {
	z, err := gzip.NewReader(bytes.NewReader(index))
	if err != nil {
		return nil, fmt.Errorf("index of R data: %w", err)
	}
	plain, err := readAtMost(z, maxRIndex)
	if err != nil {
		return nil, fmt.Errorf("index of R data: %w", err)
	}
	root, err := readR(plain)
	if err != nil {
		return nil, fmt.Errorf("index of R data: %w", err)
	}
	s := &rStore{b: store}
	if s.values, err = root.element("variables"); err != nil {
		return nil, fmt.Errorf("index of R data: %w", err)
	}
	packing, err := root.element("compressed")
	if err != nil {
		return nil, fmt.Errorf("index of R data: %w", err)
	}
	if s.packing, err = packing.whole(); err != nil {
		return nil, fmt.Errorf("index of R data: the way of packing: %w", err)
	}
	return s, nil
}

// whole returns a single value as a whole number.
func (v rValue) whole() (int32, error) {
	switch {
	case len(v.ints) == 1 && v.ints[0] != rMissing:
		return v.ints[0], nil
	case len(v.reals) == 1 && v.reals[0] == float64(int32(v.reals[0])):
		return int32(v.reals[0]), nil
	}
	return 0, errors.New("want one whole number")
}

// value returns the value of a name.
func (s *rStore) value(name string) (rValue, error) {
	place, err := s.values.element(name)
	if err != nil {
		return rValue{}, fmt.Errorf("index of R data: %w", err)
	}
	if len(place.ints) != 2 {
		return rValue{}, fmt.Errorf("value %.40q of R data: the index has no place and length for it", name)
	}
	at, n := int64(place.ints[0]), int64(place.ints[1])
	if at < 0 || n < 0 || at+n > int64(len(s.b)) {
		return rValue{}, fmt.Errorf("value %.40q of R data: bytes %d to %d of %d", name, at, at+n, len(s.b))
	}
	plain, err := unpackR(s.b[at:at+n], s.packing)
	if err != nil {
		return rValue{}, fmt.Errorf("value %.40q of R data: %w", name, err)
	}
	v, err := readR(plain)
	if err != nil {
		return rValue{}, fmt.Errorf("value %.40q of R data: %w", name, err)
	}
	return v, nil
}

// unpackR unpacks a value: its size unpacked, big-endian; from the second way of packing on, a letter for how it is packed; and the rest.
func unpackR(b []byte, packing int32) ([]byte, error) {
	if packing == 0 {
		return b, nil
	}
	letter := byte('1')
	head := 4
	if packing > 1 {
		head = 5
	}
	if len(b) < head || packing < 0 || packing > 3 {
		return nil, fmt.Errorf("%d bytes packed in the way %d, want 1 to 3", len(b), packing)
	}
	if head == 5 {
		letter = b[4]
	}
	size := int64(binary.BigEndian.Uint32(b))
	if size > maxRPlain {
		return nil, fmt.Errorf("%d bytes unpacked, at most %d are read", size, maxRPlain)
	}
	r, err := unpackerOf(letter, b[head:])
	if err != nil {
		return nil, err
	}
	plain, err := readAtMost(r, size)
	if err == nil && int64(len(plain)) != size {
		err = fmt.Errorf("%d bytes unpacked, want %d", len(plain), size)
	}
	return plain, err
}

// unpackerOf returns what unpacks bytes that are packed as a letter says.
func unpackerOf(letter byte, b []byte) (io.Reader, error) {
	r := bytes.NewReader(b)
	switch letter {
	case '0':
		return r, nil
	case '1':
		return zlib.NewReader(r)
	case '2':
		return bzip2.NewReader(r), nil
	case 'Z':
		return lzma.Reader2Config{DictCap: rWindow}.NewReader2(r)
	}
	return nil, fmt.Errorf("packed as %q, which is not known", letter)
}

// readAtMost reads all of r, which must not be more than so many bytes.
func readAtMost(r io.Reader, most int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(b)) > most {
		err = fmt.Errorf("more than %d bytes unpacked", most)
	}
	return b, err
}
