package data

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
)

// Limits of the pages of a Parquet column.
const (
	maxPageBytes  = 256 << 20 // packed or not
	maxPageValues = 1 << 24
	maxPageHeader = 1 << 20
)

// Fields of a Parquet page header, by their Thrift ids.
const (
	fieldPageType     = 1
	fieldUncompressed = 2
	fieldCompressed   = 3
	fieldDataPage     = 5
	fieldDictionary   = 7
	fieldDataPageV2   = 8
)

// pageGuard checks the pages of a column before the library decodes them, because it believes their headers: a file of a
// few hundred bytes can make it allocate gigabytes.
type pageGuard struct {
	r          io.ReaderAt
	start, end int64
	codec      format.CompressionCodec
	fileSize   int64
	head       []byte
	body       []byte
	plain      *zstd.Decoder
}

// newPageGuard returns the guard of the column that meta describes.
func newPageGuard(r io.ReaderAt, fileSize int64, meta *format.ColumnMetaData) *pageGuard {
	g := &pageGuard{r: r, codec: meta.Codec, fileSize: fileSize, start: meta.DataPageOffset}
	if d := meta.DictionaryPageOffset; d > 0 && d < g.start {
		g.start = d
	}
	g.end = g.start + meta.TotalCompressedSize
	return g
}

// check returns an error when a page is not what it claims to be or is too large.
func (g *pageGuard) check() error {
	if g.start < 4 || g.end < g.start || g.end > g.fileSize {
		return fmt.Errorf("its column lies at bytes %d to %d of a file of %d", g.start, g.end, g.fileSize)
	}
	switch g.codec {
	case format.Uncompressed, format.Snappy, format.Gzip, format.Zstd:
	default:
		return fmt.Errorf("packed with %v: only snappy, gzip, zstd and none are supported: write the file again with one of them", g.codec)
	}
	defer func() {
		if g.plain != nil {
			g.plain.Close()
		}
	}()
	for offset := g.start; offset < g.end; {
		next, err := g.page(offset)
		if err != nil {
			return fmt.Errorf("page at byte %d: %w", offset, err)
		}
		offset = next
	}
	return nil
}

// page checks the page at offset and returns where the next begins.
func (g *pageGuard) page(offset int64) (int64, error) {
	ints, size, err := g.header(offset)
	if err != nil {
		return 0, err
	}
	plain, packed := ints[thriftField{fieldUncompressed}], ints[thriftField{fieldCompressed}]
	body := offset + size
	if plain < 0 || plain > maxPageBytes || packed < 0 || packed > maxPageBytes || packed > g.end-body {
		return 0, fmt.Errorf("it claims %d bytes packed into %d, with %d there and %d allowed", plain, packed, g.end-body, maxPageBytes)
	}
	levels := int64(0) // bytes before the packed part
	switch kind := format.PageType(ints[thriftField{fieldPageType}]); kind {
	case format.DataPage:
		err = checkValues(ints[thriftField{fieldDataPage, 1}], maxPageValues)
	case format.DataPageV2:
		err = checkValues(ints[thriftField{fieldDataPageV2, 1}], maxPageValues)
		levels = ints[thriftField{fieldDataPageV2, 5}] + ints[thriftField{fieldDataPageV2, 6}]
		if levels < 0 || levels > min(plain, packed) {
			return 0, fmt.Errorf("its levels claim %d bytes of %d", levels, min(plain, packed))
		}
		if v, ok := ints[thriftField{fieldDataPageV2, 7}]; ok && v == 0 {
			return body + packed, err
		}
	case format.DictionaryPage:
		err = checkValues(ints[thriftField{fieldDictionary, 1}], plain/4+1) // each has a length of 4 bytes
	default:
		err = fmt.Errorf("of unknown type %d", kind)
	}
	if err != nil {
		return 0, err
	}
	return body + packed, g.unpacked(body+levels, packed-levels, plain-levels)
}

// checkValues checks how many values a page claims to have.
func checkValues(n, limit int64) error {
	if n < 0 || n > min(limit, maxPageValues) {
		return fmt.Errorf("it claims %d values, at most %d can be", n, min(limit, maxPageValues))
	}
	return nil
}

// header reads the header of a page and returns its numbers and its size.
func (g *pageGuard) header(offset int64) (map[thriftField]int64, int64, error) {
	for size := int64(512); ; size *= 16 {
		size = min(size, maxPageHeader, g.end-offset)
		if int64(cap(g.head)) < size {
			g.head = make([]byte, size)
		}
		head := g.head[:size]
		if _, err := g.r.ReadAt(head, offset); err != nil {
			return nil, 0, err
		}
		w := thriftWalker{b: head, ints: make(map[thriftField]int64)}
		err := w.message()
		if err == nil {
			return w.ints, int64(w.i), nil
		}
		if size == min(maxPageHeader, g.end-offset) {
			return nil, 0, err
		}
	}
}

// unpacked checks that a packed part does not become larger than it claims.
func (g *pageGuard) unpacked(offset, packed, plain int64) error {
	if g.codec == format.Uncompressed {
		if packed != plain {
			return fmt.Errorf("not packed, but of two sizes: %d and %d bytes", packed, plain)
		}
		return nil
	}
	if packed == 0 && plain == 0 {
		return nil
	}
	if int64(cap(g.body)) < packed {
		g.body = make([]byte, packed)
	}
	body := g.body[:packed]
	if _, err := g.r.ReadAt(body, offset); err != nil {
		return err
	}
	n, err := g.size(body, plain)
	if err != nil {
		return err
	}
	if n != plain {
		return fmt.Errorf("it claims to unpack to %d bytes and does not", plain)
	}
	return nil
}

// size returns how many bytes body unpacks to, without keeping them; counting ends shortly above limit.
func (g *pageGuard) size(body []byte, limit int64) (int64, error) {
	var r io.Reader
	switch g.codec {
	case format.Snappy:
		n, k := binary.Uvarint(body)
		if k <= 0 || n > maxPageBytes {
			return 0, errors.New("broken snappy data")
		}
		return int64(n), nil
	case format.Gzip:
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return 0, err
		}
		r = z
	default:
		if g.plain == nil {
			z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(64<<20))
			if err != nil {
				return 0, err
			}
			g.plain = z
		}
		if err := g.plain.Reset(bytes.NewReader(body)); err != nil {
			return 0, err
		}
		r = g.plain
	}
	return io.Copy(io.Discard, io.LimitReader(r, limit+1))
}
