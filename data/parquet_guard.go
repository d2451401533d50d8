package data

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// Limits of the pages of a Parquet column.
const (
	maxPageBytes  = 256 << 20 // packed or not
	maxPageValues = 1 << 24
	maxPageHeader = 1 << 20
	maxSnappy     = 32 // bytes a byte of snappy data can unpack to; copies of 64 bytes take 3
)

// pageGuard checks the pages of a column before the library decodes them, because it believes their headers and the counts
// within them: a file of a few hundred bytes can make it allocate gigabytes.
type pageGuard struct {
	r          io.ReaderAt
	start, end int64
	codec      format.CompressionCodec
	column     columnShape
	fileSize   int64
	values     int64 // of all data pages so far, nulls too
	held       int64 // bytes that the largest dictionary and the largest data page so far take, decoded
	dictionary int64 // bytes of held that are the dictionary
	head       []byte
	packed     []byte
	plain      bytes.Buffer
	zstd       *zstd.Decoder
}

// columnShape is what of a column's schema says how its pages are laid out.
type columnShape struct {
	kind       parquet.Kind
	length     int // of values of a fixed length
	repetition int // highest level; 0: pages have none
	definition int
}

// newPageGuard returns the guard of a chunk of a column. It begins where the library begins, wherever that is.
func newPageGuard(r io.ReaderAt, fileSize int64, column *parquet.Column, meta *format.ColumnMetaData) *pageGuard {
	g := &pageGuard{r: r, codec: meta.Codec, fileSize: fileSize, start: meta.DataPageOffset}
	g.column = columnShape{column.Type().Kind(), column.Type().Length(), column.MaxRepetitionLevel(), column.MaxDefinitionLevel()}
	if meta.DictionaryPageOffset != 0 {
		g.start = meta.DictionaryPageOffset
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
		if g.zstd != nil {
			g.zstd.Close()
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
	h, size, err := g.header(offset)
	if err != nil {
		return 0, err
	}
	plain, packed := int64(h.UncompressedPageSize), int64(h.CompressedPageSize)
	body := offset + size
	if plain < 0 || plain > maxPageBytes || packed < 0 || packed > maxPageBytes || packed > g.end-body {
		return 0, fmt.Errorf("it claims %d bytes packed into %d, with %d there and %d allowed", plain, packed, g.end-body, maxPageBytes)
	}
	if int64(cap(g.packed)) < packed {
		g.packed = make([]byte, packed)
	}
	raw := g.packed[:packed]
	if _, err := g.r.ReadAt(raw, body); err != nil && packed > 0 {
		return 0, err
	}
	switch {
	case h.DictionaryPageHeader.Valid != (h.Type == format.DictionaryPage):
		err = fmt.Errorf("of type %v, with the header of another", h.Type)
	case h.Type == format.DictionaryPage:
		err = g.dictionaryPage(&h.DictionaryPageHeader.V, raw, plain)
	case h.Type == format.DataPage && h.DataPageHeader.Valid:
		err = g.dataPage(&h.DataPageHeader.V, raw, plain)
	case h.Type == format.DataPageV2 && h.DataPageHeaderV2.Valid:
		err = g.dataPageV2(&h.DataPageHeaderV2.V, raw, plain)
	default:
		err = fmt.Errorf("of type %d, which is unknown or has no header", h.Type)
	}
	return body + packed, err
}

// dictionaryPage checks a page of the values that data pages refer to.
func (g *pageGuard) dictionaryPage(h *format.DictionaryPageHeader, raw []byte, plain int64) error {
	if err := g.count(int64(h.NumValues), plain/4+1); err != nil { // each has a length of 4 bytes
		return err
	}
	if h.Encoding != format.Plain && h.Encoding != plainDictionary {
		return fmt.Errorf("a dictionary in the encoding %v, only PLAIN is supported: %s", h.Encoding, rewrite)
	}
	g.hold(int64(h.NumValues), plain, true)
	_, err := g.unpack(raw, plain, false)
	return err
}

// dataPage checks a data page of the first version, whose levels are packed with its values.
func (g *pageGuard) dataPage(h *format.DataPageHeader, raw []byte, plain int64) error {
	values, err := g.data(h.NumValues, plain)
	if err != nil {
		return err
	}
	bare := g.column.repetition == 0 && g.column.definition == 0
	body, err := g.unpack(raw, plain, !bare || !boundByBody(h.Encoding))
	if err != nil {
		return err
	}
	for _, level := range []struct {
		most     int
		encoding format.Encoding
	}{{g.column.repetition, h.RepetitionLevelEncoding}, {g.column.definition, h.DefinitionLevelEncoding}} {
		if level.most == 0 {
			continue
		}
		var levels []byte
		if levels, body, err = prefixed(body); err != nil {
			return err
		}
		if err := checkLevels(levels, level.encoding, level.most, values); err != nil {
			return err
		}
	}
	return g.column.checkBody(body, h.Encoding, values)
}

// dataPageV2 checks a data page of the second version, whose levels come before the part that may be packed.
func (g *pageGuard) dataPageV2(h *format.DataPageHeaderV2, raw []byte, plain int64) error {
	values, err := g.data(h.NumValues, plain)
	if err != nil {
		return err
	}
	repetition, definition := int64(h.RepetitionLevelsByteLength), int64(h.DefinitionLevelsByteLength)
	levels := repetition + definition
	if repetition < 0 || definition < 0 || levels > min(plain, int64(len(raw))) {
		return fmt.Errorf("its levels claim %d and %d bytes of %d", repetition, definition, min(plain, int64(len(raw))))
	}
	if err := checkLevels(raw[:repetition], format.RLE, g.column.repetition, values); err != nil {
		return err
	}
	if err := checkLevels(raw[repetition:levels], format.RLE, g.column.definition, values); err != nil {
		return err
	}
	body := raw[levels:]
	if packed := !h.IsCompressed.Valid || h.IsCompressed.V; packed {
		if body, err = g.unpack(body, plain-levels, !boundByBody(h.Encoding)); err != nil {
			return err
		}
	}
	return g.column.checkBody(body, h.Encoding, values)
}

// data counts the values of a data page in, which it gives back, if there can be so many.
func (g *pageGuard) data(n int32, plain int64) (int64, error) {
	values := int64(n)
	if err := g.count(values, maxPageValues); err != nil {
		return 0, err
	}
	g.values += values
	g.hold(values, plain, false)
	return values, nil
}

// count checks how many values a page claims to have.
func (g *pageGuard) count(n, limit int64) error {
	limit = min(limit, maxPageValues, maxPageBytes/max(1, int64(g.column.length)))
	if n < 0 || n > limit {
		return fmt.Errorf("it claims %d values, at most %d can be", n, limit)
	}
	return nil
}

// hold notes how much memory a decoded page takes: its body, and an offset, a number or a value of fixed length each.
func (g *pageGuard) hold(values, plain int64, dictionary bool) {
	size := plain + values*int64(max(8, g.column.length))
	data := g.held - g.dictionary
	if dictionary {
		g.dictionary = max(g.dictionary, size)
	} else {
		data = max(data, size)
	}
	g.held = g.dictionary + data
}

// header returns the header of a page and its size. It is the library that reads it, so that both see the same; before, the
// walker makes sure that its lists and strings are no longer than what is there.
func (g *pageGuard) header(offset int64) (*format.PageHeader, int64, error) {
	for size := int64(512); ; size *= 16 {
		size = min(size, maxPageHeader, g.end-offset)
		if int64(cap(g.head)) < size {
			g.head = make([]byte, size)
		}
		head := g.head[:size]
		if _, err := g.r.ReadAt(head, offset); err != nil {
			return nil, 0, err
		}
		w := thriftWalker{b: head}
		err := w.message()
		if err == nil {
			h, err := decodeHeader(head[:w.i])
			return h, int64(w.i), err
		}
		if size == min(maxPageHeader, g.end-offset) {
			return nil, 0, err
		}
	}
}

// decodeHeader reads the header of a page that takes all of b.
func decodeHeader(b []byte) (*format.PageHeader, error) {
	r := new(thrift.CompactProtocol).NewReaderFromBytes(b)
	h := new(format.PageHeader)
	if err := thrift.NewDecoder(r).Decode(h); err != nil {
		return nil, err
	}
	if r.BytesRead() != len(b) {
		return nil, fmt.Errorf("%w: a page header of %d bytes, of which %d are read", errThrift, len(b), r.BytesRead())
	}
	return h, nil
}

// unpack checks that a packed part unpacks to as many bytes as it claims, and returns them where keep is true. They are valid until the next
// call.
func (g *pageGuard) unpack(body []byte, plain int64, keep bool) ([]byte, error) {
	var n int64
	var err error
	g.plain.Reset()
	switch {
	case g.codec == format.Uncompressed:
		if int64(len(body)) != plain {
			return nil, fmt.Errorf("not packed, but of two sizes: %d and %d bytes", len(body), plain)
		}
		return body, nil
	case len(body) == 0 && plain == 0:
		return nil, nil
	case g.codec == format.Snappy:
		return g.unsnappy(body, plain, keep)
	case keep:
		n, err = g.stream(&g.plain, body, plain)
	default:
		n, err = g.stream(io.Discard, body, plain)
	}
	if err != nil {
		return nil, err
	}
	if n != plain {
		return nil, errUnpacked(plain)
	}
	return g.plain.Bytes(), nil
}

func errUnpacked(plain int64) error {
	return fmt.Errorf("it claims to unpack to %d bytes and does not", plain)
}

// unsnappy does what unpack does for snappy data, which begin with their size.
func (g *pageGuard) unsnappy(body []byte, plain int64, keep bool) ([]byte, error) {
	n, k := binary.Uvarint(body)
	if k <= 0 || n > maxPageBytes {
		return nil, errors.New("broken snappy data")
	}
	if int64(n) != plain || n > maxSnappy*uint64(len(body)) {
		return nil, errUnpacked(plain)
	}
	if !keep {
		return nil, nil
	}
	g.plain.Grow(int(n))
	out, err := snappy.Decode(g.plain.AvailableBuffer()[:n], body)
	if err != nil {
		return nil, fmt.Errorf("broken snappy data: %w", err)
	}
	return out, nil
}

// stream unpacks gzip or zstd data into w and returns how many bytes they are; it ends shortly above limit.
func (g *pageGuard) stream(w io.Writer, body []byte, limit int64) (int64, error) {
	var r io.Reader
	switch g.codec {
	case format.Gzip:
		z, err := gzip.NewReader(bytes.NewReader(body))
		if err != nil {
			return 0, err
		}
		r = z
	default:
		if g.zstd == nil {
			z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(64<<20))
			if err != nil {
				return 0, err
			}
			g.zstd = z
		}
		if err := g.zstd.Reset(bytes.NewReader(body)); err != nil {
			return 0, err
		}
		r = g.zstd
	}
	return io.Copy(w, io.LimitReader(r, limit+1))
}
