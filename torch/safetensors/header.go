package safetensors

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"math/bits"
	"slices"

	"plasticity/record"
)

// Limits on what a header may ask for. The format itself limits only the header's length.
const (
	maxHeader   = 100_000_000 // bytes
	maxTensors  = 1 << 14     // of a file, or of a folder's shards together
	maxName     = 1024        // bytes of a tensor's name
	maxRank     = 8
	maxMetadata = 1 << 20 // bytes of all metadata together
)

// metadataKey is the header's one key that is no tensor.
const metadataKey = "__metadata__"

// Entry is a tensor of a file.
type Entry struct {
	Name  string
	DType DType
	Shape []int // empty for a single number

	begin, end int64 // bytes, from the start of the file
	shard      int   // the file it lies in
}

// Len is the number of elements.
func (e Entry) Len() int64 { return (e.end - e.begin) / e.DType.Size() }

// bad is a failure of the file path, with the remedy.
func bad(path, format string, args ...any) error {
	return record.Fail(record.BadData, "%s: %w; the file is damaged or not a safetensors file: export or copy it again",
		path, fmt.Errorf(format, args...))
}

// parseHeader reads and checks the header of a file of size bytes and returns its tensors in the order of their bytes.
func parseHeader(path string, from io.ReaderAt, size int64) ([]Entry, map[string]string, error) {
	var prefix [8]byte
	if size < int64(len(prefix)) {
		return nil, nil, bad(path, "%d bytes, too few for the length of the header", size)
	}
	if _, err := from.ReadAt(prefix[:], 0); err != nil {
		return nil, nil, readError(path, err)
	}
	length := binary.LittleEndian.Uint64(prefix[:])
	if length < 2 || length > maxHeader || length > uint64(size-8) {
		return nil, nil, bad(path, "the header is said to have %d bytes; from 2 to %d are possible in a file of %d bytes",
			length, min(maxHeader, size-8), size)
	}
	h := header{path: path, start: 8 + int64(length), size: size, index: map[string]bool{}}
	h.scan = newScanner(io.NewSectionReader(from, 8, int64(length)), int64(length))
	if err := h.parse(); err != nil {
		return nil, nil, err
	}
	return h.entries, h.metadata, h.layout()
}

// header is a header while it is read.
type header struct {
	path     string
	start    int64 // of the data, in bytes
	size     int64 // of the file
	scan     *scanner
	entries  []Entry
	index    map[string]bool // names seen
	metadata map[string]string
	err      error // the first problem with what the JSON text says
}

func (h *header) parse() error {
	h.scan.members(func(key string) {
		switch {
		case h.index[key]:
			h.fail(key, "it comes twice")
		case key == metadataKey:
			h.readMetadata()
		case len(h.entries) == maxTensors:
			h.fail(key, "there are more than %d tensors", maxTensors)
		default:
			h.readEntry(key)
		}
		h.index[key] = true
		if h.err != nil {
			h.scan.fail("%w", h.err) // stop reading
		}
	})
	h.scan.end()
	if h.err != nil {
		return h.err
	}
	if err := h.scan.err; err != nil {
		return bad(h.path, "header: %w", err)
	}
	return nil
}

// fail records the first problem of a tensor.
func (h *header) fail(tensor, format string, args ...any) {
	if h.err == nil {
		h.err = bad(h.path, "tensor %.120q: %w", tensor, fmt.Errorf(format, args...))
	}
}

func (h *header) readMetadata() {
	h.metadata = map[string]string{}
	total := 0
	h.scan.members(func(key string) {
		if _, twice := h.metadata[key]; twice {
			h.fail(metadataKey, "the key %.120q comes twice", key)
		}
		value := h.scan.text(maxMetadata)
		h.metadata[key] = value
		// What a key costs in memory beyond its bytes counts as well: a million empty pairs are not free.
		if total += len(key) + len(value) + 64; total > maxMetadata {
			h.fail(metadataKey, "more than %d bytes of metadata", maxMetadata)
		}
		if h.err != nil {
			h.scan.fail("%w", h.err)
		}
	})
}

func (h *header) readEntry(name string) {
	e := Entry{Name: name}
	var offsets []int64
	seen := [3]bool{}
	h.scan.members(func(key string) {
		field := slices.Index([]string{"dtype", "shape", "data_offsets"}, key)
		if field < 0 {
			h.fail(name, "unknown field %.120q", key)
			h.scan.fail("%w", h.err)
			return
		}
		if seen[field] {
			h.fail(name, "field %s comes twice", key)
		}
		seen[field] = true
		switch field {
		case 0:
			e.DType = DType(h.scan.text(16))
		case 1:
			for _, d := range h.scan.numbers(maxRank) {
				e.Shape = append(e.Shape, int(d)) // int has 64 bits wherever libtorch runs
			}
		default:
			offsets = h.scan.numbers(2)
		}
	})
	if h.scan.err != nil || h.err != nil {
		return
	}
	if seen != [3]bool{true, true, true} || len(offsets) != 2 {
		h.fail(name, "it needs dtype, shape and data_offsets [begin, end]")
		return
	}
	h.addEntry(e, offsets[0], offsets[1])
}

// addEntry checks a tensor by itself: type, shape, and offsets that fit both and the file.
func (h *header) addEntry(e Entry, begin, end int64) {
	width := e.DType.Size()
	if width == 0 {
		h.fail(e.Name, "dtype %q is not known", string(e.DType))
		return
	}
	count := uint64(1)
	for _, d := range e.Shape {
		high, low := bits.Mul64(count, uint64(d))
		if high != 0 || low > 1<<60 {
			h.fail(e.Name, "shape %v has more elements than any file", e.Shape)
			return
		}
		count = low
	}
	data := h.size - h.start
	if begin > end || end > data {
		h.fail(e.Name, "data_offsets [%d, %d] do not lie in the %d bytes of data", begin, end, data)
		return
	}
	if uint64(end-begin) != count*uint64(width) {
		h.fail(e.Name, "data_offsets [%d, %d] are %d bytes, but shape %v of %s needs %d", begin, end, end-begin, e.Shape, e.DType, count*uint64(width))
		return
	}
	e.begin, e.end = h.start+begin, h.start+end
	h.entries = append(h.entries, e)
}

// layout checks that the tensors cover the data without holes and overlaps, and sorts them by place.
func (h *header) layout() error {
	slices.SortStableFunc(h.entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end))
	})
	at, last := h.start, "the header"
	for _, e := range h.entries {
		if e.begin != at {
			kind := "a hole"
			if e.begin < at {
				kind = "an overlap"
			}
			return bad(h.path, "tensor %.120q: data_offsets [%d, %d] leave %s after %.120q", e.Name, e.begin-h.start, e.end-h.start, kind, last)
		}
		at, last = e.end, e.Name
	}
	if at != h.size {
		return bad(h.path, "%d bytes behind the last tensor", h.size-at)
	}
	return nil
}
