package data

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// maxPadding is how many values more than a page has its runs may hold: 7 by the format, where the last run is bit-packed, but DuckDB
// fills a block of 256.
const maxPadding = 1024

// rewrite is the remedy for encodings that are not read.
const rewrite = "write the file again with plain or dictionary encoding"

// errRuns says that levels or indices are cut off or have no meaning.
var errRuns = errors.New("broken runs of levels or values")

// boundByBody reports whether values in an encoding take no more memory than their page has bytes, whatever these are.
func boundByBody(encoding format.Encoding) bool {
	return encoding == format.Plain || encoding == format.ByteStreamSplit
}

// plainDictionary is the name that older files have for indices of a dictionary, and for the dictionary itself.
const plainDictionary = format.PlainDictionary //nolint:staticcheck // deprecated for writers

// checkBody checks the values of a data page. Some encodings say in a few bytes how many there are, and what decodes them believes it.
func (c columnShape) checkBody(body []byte, encoding format.Encoding, values int64) error {
	switch {
	case boundByBody(encoding):
		return nil
	case encoding == plainDictionary || encoding == format.RLEDictionary:
		if len(body) == 0 {
			return nil
		}
		return checkRuns(body[1:], int(body[0]), values)
	case encoding == format.RLE && c.kind == parquet.Boolean:
		runs, _, err := prefixed(body)
		if err != nil {
			return err
		}
		return checkRuns(runs, 1, values)
	case encoding == format.DeltaBinaryPacked || encoding == format.DeltaLengthByteArray:
		return checkDelta(body, values)
	default: // DELTA_BYTE_ARRAY, too: its values repeat the beginnings of others, so that a kilobyte can hold gigabytes
		return fmt.Errorf("values in the encoding %v, which is not supported: %s", encoding, rewrite)
	}
}

// prefixed splits b, which begins with runs after their length.
func prefixed(b []byte) (runs, rest []byte, err error) {
	if len(b) < 4 {
		return nil, nil, errRuns
	}
	n := int64(binary.LittleEndian.Uint32(b))
	if b = b[4:]; n > int64(len(b)) {
		return nil, nil, errRuns
	}
	return b[:n], b[n:], nil
}

// checkLevels checks the levels of a page, which go up to most; 0: there are none, and what is in their place is skipped.
func checkLevels(b []byte, encoding format.Encoding, most int, values int64) error {
	width := bits.Len(uint(most))
	switch {
	case most == 0:
		return nil
	case encoding == format.RLE:
		return checkRuns(b, width, values)
	case encoding == format.BitPacked:
		if n := 8 * int64(len(b)) / int64(width); n > values+maxPadding {
			return errMany(n, values)
		}
		return nil
	default:
		return fmt.Errorf("levels in the encoding %v, which is not supported: %s", encoding, rewrite)
	}
}

func errMany(n, values int64) error {
	return fmt.Errorf("levels or values for %d rows and more, it claims %d: this looks like a trap", n, values)
}

// checkRuns walks over a sequence of runs, repeated or bit-packed, of numbers of width bits, and refuses more numbers than the
// page has values.
func checkRuns(b []byte, width int, values int64) error {
	limit := values + maxPadding
	for sum := int64(0); len(b) > 0; {
		head, k := binary.Uvarint(b)
		if k <= 0 {
			return errRuns
		}
		b = b[k:]
		if head>>1 > uint64(limit) {
			return errMany(limit+1, values)
		}
		count := int64(head >> 1)
		size := (int64(width) + 7) / 8
		switch {
		case count == 0: // for the library, nothing follows
			size = 0
		case head&1 != 0: // groups of 8
			size = count * int64(width)
			count *= 8
		}
		if sum += count; sum > limit {
			return errMany(sum, values)
		}
		b = b[min(size, int64(len(b))):]
	}
	return nil
}

// checkDelta checks the count at the beginning of numbers stored as differences.
func checkDelta(b []byte, values int64) error {
	var count uint64
	for range 3 { // size of blocks, parts of a block, count
		v, k := binary.Uvarint(b)
		if k < 0 {
			return errRuns
		}
		if k == 0 {
			return nil // the library finds it cut off
		}
		count, b = v, b[k:]
	}
	if count > uint64(values) {
		return errMany(int64(min(count, 1<<62)), values)
	}
	return nil
}
