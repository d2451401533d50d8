package data

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"plasticity/record"
)

// many is a count of values that would take gigabytes.
const many = 1 << 29

// rawPage is a page as it stands in a file.
type rawPage struct {
	head format.PageHeader
	body []byte
}

// pageOne returns a data page of the first version.
func pageOne(values int32, encoding format.Encoding, body []byte) rawPage {
	h := format.DataPageHeader{NumValues: values, Encoding: encoding, DefinitionLevelEncoding: format.RLE, RepetitionLevelEncoding: format.RLE}
	return rawPage{format.PageHeader{Type: format.DataPage, DataPageHeader: thrift.New(h)}, body}
}

// pageTwo returns a data page of the second version. Its levels are not packed.
func pageTwo(values int32, encoding format.Encoding, repetition, definition, body []byte) rawPage {
	h := format.DataPageHeaderV2{
		NumValues: values, NumRows: values, Encoding: encoding,
		RepetitionLevelsByteLength: int32(len(repetition)), DefinitionLevelsByteLength: int32(len(definition)), IsCompressed: thrift.New(false),
	}
	return rawPage{format.PageHeader{Type: format.DataPageV2, DataPageHeaderV2: thrift.New(h)}, bytes.Join([][]byte{repetition, definition, body}, nil)}
}

// pageDictionary returns a dictionary page.
func pageDictionary(encoding format.Encoding, texts ...string) rawPage {
	h := format.DictionaryPageHeader{NumValues: int32(len(texts)), Encoding: encoding}
	return rawPage{format.PageHeader{Type: format.DictionaryPage, DictionaryPageHeader: thrift.New(h)}, plainTexts(texts...)}
}

// plainTexts returns texts in the encoding PLAIN.
func plainTexts(texts ...string) (b []byte) {
	for _, text := range texts {
		b = append(binary.LittleEndian.AppendUint32(b, uint32(len(text))), text...)
	}
	return b
}

// run returns a run of n equal numbers of at most 8 bits, packed one of n groups of 8.
func run(n uint64, value byte) []byte { return append(binary.AppendUvarint(nil, n<<1), value) }

func bitPacked(n uint64, groups ...byte) []byte {
	return append(binary.AppendUvarint(nil, n<<1|1), groups...)
}

// sized returns b after its length.
func sized(b []byte) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(b))), b...)
}

// delta returns the head of a sequence of n differences.
func delta(n uint64) []byte {
	return append(binary.AppendUvarint([]byte{0x80, 0x01, 0x04}, n), 0x02, 0x00, 0, 0, 0, 0)
}

// rawColumn is a column with its pages, one list for each row group.
type rawColumn struct {
	name   string
	kind   format.Type
	repeat format.FieldRepetitionType
	length int32
	groups [][]rawPage
	codecs []format.CompressionCodec // of row groups; nil: none
}

// textColumnOf returns a column of texts with one row group.
func textColumnOf(repeat format.FieldRepetitionType, pages ...rawPage) rawColumn {
	return rawColumn{name: "text", kind: format.ByteArray, repeat: repeat, groups: [][]rawPage{pages}}
}

// rawParquet returns a file of pages as they are. All columns beyond the first have its chunks when they have no pages.
func rawParquet(t testing.TB, rows int64, columns ...rawColumn) []byte {
	t.Helper()
	b := []byte("PAR1")
	meta := format.FileMetaData{Version: 2, NumRows: rows, Schema: []format.SchemaElement{{Name: "rows", NumChildren: thrift.New(int32(len(columns)))}}}
	for _, c := range columns {
		e := format.SchemaElement{Name: c.name, Type: thrift.New(c.kind), RepetitionType: thrift.New(c.repeat)}
		if c.length > 0 {
			e.TypeLength = thrift.New(c.length)
		}
		meta.Schema = append(meta.Schema, e)
	}
	for i := range columns[0].groups {
		group := format.RowGroup{NumRows: rows, Ordinal: int16(i)}
		var m format.ColumnMetaData
		for _, c := range columns {
			if c.groups != nil {
				m = format.ColumnMetaData{NumValues: rows, DataPageOffset: int64(len(b))}
				if c.codecs != nil {
					m.Codec = c.codecs[i]
				}
				for _, p := range c.groups[i] {
					b = appendPage(t, b, p)
				}
				m.TotalCompressedSize = int64(len(b)) - m.DataPageOffset
			}
			m.Type, m.PathInSchema, m.Encoding = c.kind, []string{c.name}, []format.Encoding{format.Plain}
			group.Columns = append(group.Columns, format.ColumnChunk{MetaData: m})
		}
		meta.RowGroups = append(meta.RowGroups, group)
	}
	return appendFooter(t, b, &meta)
}

// appendPage appends a page; where its header has no sizes, they are those of its body.
func appendPage(t testing.TB, b []byte, p rawPage) []byte {
	t.Helper()
	p.head.CompressedPageSize = int32(len(p.body))
	if p.head.UncompressedPageSize == 0 {
		p.head.UncompressedPageSize = int32(len(p.body))
	}
	head, err := thrift.Marshal(new(thrift.CompactProtocol), &p.head)
	if err != nil {
		t.Fatal(err)
	}
	return append(append(b, head...), p.body...)
}

func appendFooter(t testing.TB, b []byte, meta *format.FileMetaData) []byte {
	t.Helper()
	footer, err := thrift.Marshal(new(thrift.CompactProtocol), meta)
	if err != nil {
		t.Fatal(err)
	}
	b = append(b, footer...)
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(footer))), "PAR1"...)
}

// bothWays reads a file's documents and its rows. Memory for either must be small.
func bothWays(t *testing.T, file []byte, emit error) (errs [2]error) {
	t.Helper()
	path := put(t, t.TempDir(), "x.parquet", string(file))
	for i, read := range []func() error{
		func() error {
			return readDocuments(context.Background(), input{path, kindOf(path), int64(len(file))}, func(piece) error { return emit })
		},
		func() error { return ReadRows(context.Background(), path, func(Row) error { return emit }) },
	} {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		errs[i] = read()
		runtime.ReadMemStats(&after)
		if grown := after.TotalAlloc - before.TotalAlloc; grown > 128<<20 {
			t.Errorf("way %d: %d MB were allocated for a file of %d bytes", i, grown>>20, len(file))
		}
	}
	return errs
}

func zstdOf(t testing.TB, b []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(b, nil)
}

// Counts within pages, which what decodes them believes, are refused before it sees them.
func TestParquetHostile_CountsWithinPages(t *testing.T) {
	required, optional := format.Required, format.Optional
	one := plainTexts("one")
	dictionary := pageDictionary(format.Plain, "one")
	two := rawColumn{name: "text", kind: format.ByteArray, repeat: required, groups: [][]rawPage{{pageOne(1, format.Plain, one)}}}
	number := func(kind format.Type, p ...rawPage) []byte {
		return rawParquet(t, 1, two, rawColumn{name: "n", kind: kind, repeat: required, groups: [][]rawPage{p}})
	}
	both := pageOne(1, format.RLEDictionary, []byte{0})
	both.head.DictionaryPageHeader = thrift.New(format.DictionaryPageHeader{NumValues: 1 << 30})
	backwards := pageOne(1, format.Plain, one)
	backwards.head.DataPageHeader.V.DefinitionLevelEncoding = format.BitPacked
	const trap, other = "looks like a trap", "plain or dictionary encoding"
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"levels, version 1":   {rawParquet(t, 1, textColumnOf(optional, pageOne(1, format.Plain, append(sized(run(many, 1)), one...)))), trap},
		"levels, version 2":   {rawParquet(t, 1, textColumnOf(optional, pageTwo(1, format.Plain, nil, run(many, 1), one))), trap},
		"levels in many runs": {rawParquet(t, 1, textColumnOf(optional, pageTwo(1, format.Plain, nil, bytes.Repeat(run(1000, 1), 1000), one))), trap},
		"indices":             {rawParquet(t, 1, textColumnOf(required, dictionary, pageOne(1, format.RLEDictionary, append([]byte{1}, run(many, 0)...)))), trap},
		"indices, old name":   {rawParquet(t, 1, textColumnOf(required, dictionary, pageOne(1, plainDictionary, append([]byte{1}, run(many, 0)...)))), trap},
		"indices, version 2":  {rawParquet(t, 1, textColumnOf(optional, dictionary, pageTwo(1, format.RLEDictionary, nil, run(1, 1), append([]byte{1}, run(many, 0)...)))), trap},
		"packed indices":      {rawParquet(t, 1, textColumnOf(required, dictionary, pageOne(1, format.RLEDictionary, append([]byte{0}, bitPacked(many)...)))), trap},
		"packed, cut off":     {rawParquet(t, 1, textColumnOf(required, dictionary, pageOne(1, format.RLEDictionary, append([]byte{32}, bitPacked(many, 1, 2)...)))), trap},
		"an endless number":   {rawParquet(t, 1, textColumnOf(required, dictionary, pageOne(1, format.RLEDictionary, append([]byte{1}, bytes.Repeat([]byte{0xff}, 12)...)))), "broken runs"},
		"lengths":             {rawParquet(t, 1, textColumnOf(required, pageOne(1, format.DeltaLengthByteArray, delta(many)))), trap},
		"lengths, version 2":  {rawParquet(t, 1, textColumnOf(required, pageTwo(1, format.DeltaLengthByteArray, nil, nil, delta(many)))), trap},
		"beginnings":          {rawParquet(t, 1, textColumnOf(required, pageOne(1, format.DeltaByteArray, append(delta(1), delta(1)...)))), "DELTA_BYTE_ARRAY, which is not supported: write the file again with plain or dictionary encoding"},
		"coded dictionary":    {rawParquet(t, 1, textColumnOf(required, pageDictionary(format.DeltaLengthByteArray), pageOne(1, format.RLEDictionary, []byte{0}))), other},
		"two headers":         {rawParquet(t, 1, textColumnOf(required, both)), "header of another"},
		"numbers":             {number(format.Int64, pageOne(1, format.DeltaBinaryPacked, delta(many))), trap},
		"small numbers":       {number(format.Int32, pageOne(1, format.RLE, run(many, 0))), other},
		"truths":              {number(format.Boolean, pageOne(1, format.RLE, sized(run(8*many, 1)))), trap},
	} {
		errs := bothWays(t, c.file, nil)
		for i, err := range errs {
			if i == 0 && (strings.HasSuffix(name, "numbers") || name == "truths") {
				continue // documents are in another column
			}
			if record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s, way %d: %v, want %q", name, i, err, c.want)
			}
		}
	}
}

// Levels packed the old way are bound by their bytes, but these may be few before they are unpacked.
func TestParquetHostile_OldLevels(t *testing.T) {
	body := sized(make([]byte, 64<<20))
	p := pageOne(1, format.Plain, zstdOf(t, body))
	p.head.UncompressedPageSize = int32(len(body))
	p.head.DataPageHeader.V.DefinitionLevelEncoding = format.BitPacked
	c := textColumnOf(format.Optional, p)
	c.codecs = []format.CompressionCodec{format.Zstd}
	path := put(t, t.TempDir(), "x.parquet", string(rawParquet(t, 1, c)))
	if _, err := documents(path); record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), "looks like a trap") {
		t.Error(err)
	}
}

// What the library would read elsewhere, or unpack differently, than the guard is refused.
func TestParquetHostile_GuardSeesWhatTheLibrarySees(t *testing.T) {
	good := [][]rawPage{{pageOne(1, format.Plain, plainTexts("one"))}, {pageOne(1, format.Plain, plainTexts("two"))}}
	c := rawColumn{name: "text", kind: format.ByteArray, groups: good, codecs: []format.CompressionCodec{format.Uncompressed, format.Zstd}}
	if _, err := documents(put(t, t.TempDir(), "x.parquet", string(rawParquet(t, 2, c)))); record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), "the first with") {
		t.Errorf("two codecs: %v", err)
	}
	// A dictionary that is said to lie after the data: there the library begins.
	b := appendPage(t, []byte("PAR1"), good[0][0])
	m := format.ColumnMetaData{Type: format.ByteArray, PathInSchema: []string{"text"}, NumValues: 1, DataPageOffset: 4, DictionaryPageOffset: int64(len(b))}
	b = appendPage(t, b, pageOne(1, format.DeltaLengthByteArray, delta(many)))
	m.TotalCompressedSize = int64(len(b)) - m.DictionaryPageOffset
	b = appendFooter(t, b, &format.FileMetaData{
		Version: 2, NumRows: 1, Schema: []format.SchemaElement{
			{Name: "rows", NumChildren: thrift.New(int32(1))},
			{Name: "text", Type: thrift.New(format.ByteArray), RepetitionType: thrift.New(format.Required)},
		},
		RowGroups: []format.RowGroup{{NumRows: 1, Columns: []format.ColumnChunk{{MetaData: m}}}},
	})
	for i, err := range bothWays(t, b, nil) {
		if record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), "looks like a trap") {
			t.Errorf("hidden page, way %d: %v", i, err)
		}
	}
}

// A file has as many rows as its metadata say.
func TestParquetHostile_RowsAreThoseOfTheMetadata(t *testing.T) {
	empty := pageTwo(1<<20, format.Plain, nil, run(1<<20, 0), nil)
	empty.head.DataPageHeaderV2.V.NumNulls = 1 << 20
	three := pageOne(3, format.Plain, plainTexts("one", "two", "three"))
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"more": {rawParquet(t, 2, textColumnOf(format.Required, three)), "more than the 2 rows"},
		"less": {rawParquet(t, 4, textColumnOf(format.Required, three)), "3 rows, its metadata say 4"},
		"none": {rawParquet(t, 4, textColumnOf(format.Required)), "0 rows, its metadata say 4"},
		"null": {rawParquet(t, 2, textColumnOf(format.Optional, empty, empty, empty)), "more than the 2 rows"},
	} {
		for i, err := range bothWays(t, c.file, nil) {
			if record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s, way %d: %v, want %q", name, i, err, c.want)
			}
		}
	}
}

// A long text that many rows share is copied for one row at a time.
func TestParquetHostile_SharedTextIsCopiedRowByRow(t *testing.T) {
	long := pageDictionary(format.Plain, strings.Repeat("a", 8<<20))
	long.head.UncompressedPageSize = int32(len(long.body))
	long.body = zstdOf(t, long.body)
	indices := append([]byte{1}, run(256, 0)...)
	p := pageTwo(256, format.RLEDictionary, nil, nil, indices)
	c := textColumnOf(format.Required, long, p)
	c.codecs = []format.CompressionCodec{format.Zstd}
	enough := errors.New("enough")
	for i, err := range bothWays(t, rawParquet(t, 256, c), enough) {
		if !errors.Is(err, enough) {
			t.Errorf("way %d: %v", i, err)
		}
	}
}

// Columns may lie at the same place, and lists be as long as they like: their sum is checked.
func TestParquetHostile_SumsOverColumns(t *testing.T) {
	page := pageTwo(1<<24, format.Plain, nil, run(1<<24, 0), nil)
	page.head.DataPageHeaderV2.V.NumNulls = 1 << 24
	wide := []rawColumn{textColumnOf(format.Optional, page)}
	for i := range 40 {
		wide = append(wide, rawColumn{name: fmt.Sprint("c", i), kind: format.ByteArray, repeat: format.Optional})
	}
	lists := pageTwo(1<<23, format.Plain, append(run(1, 0), run(1<<23-1, 1)...), run(1<<23, 0), nil)
	lists.head.DataPageHeaderV2.V.NumNulls = 1 << 23
	fixed := rawColumn{name: "text", kind: format.FixedLenByteArray, length: 1 << 30, repeat: format.Required, groups: [][]rawPage{{pageOne(8, format.ByteStreamSplit, nil)}}}
	for name, file := range map[string][]byte{
		"at the same place": rawParquet(t, 1, wide...), "in lists": rawParquet(t, 1, textColumnOf(format.Repeated, lists)), "of a fixed length": rawParquet(t, 8, fixed),
	} {
		err := bothWays(t, file, nil)[1]
		if record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), "trap") && !strings.Contains(err.Error(), "at most") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What writers of Parquet write reads as before.
func TestParquet_Encodings(t *testing.T) {
	type row struct {
		Default  string   `parquet:"default"`
		Plain    string   `parquet:"plain,plain"`
		Named    string   `parquet:"named,dict"`
		Length   *string  `parquet:"length,optional"`
		Optional *string  `parquet:"optional,optional,dict"`
		Numbers  []int32  `parquet:"numbers,list"`
		Truth    bool     `parquet:"truth"`
		Count    int64    `parquet:"count,delta"`
		Ratio    *float64 `parquet:"ratio,optional,split"`
	}
	var rows []row
	for i := range 1500 {
		text, ratio := strings.Repeat("é", i%5), float64(i)/4
		r := row{Default: text, Plain: text, Named: text, Truth: i%300 < 200, Count: int64(i) * 1000}
		if i%4 != 0 && (i < 500 || i > 900) {
			r.Length, r.Optional, r.Ratio = &text, &text, &ratio
		}
		for j := range i % 4 {
			r.Numbers = append(r.Numbers, int32(j))
		}
		rows = append(rows, r)
	}
	for codec, compression := range map[string]parquet.WriterOption{
		"none": parquet.Compression(&parquet.Uncompressed), "snappy": parquet.Compression(&parquet.Snappy), "gzip": parquet.Compression(&parquet.Gzip), "zstd": parquet.Compression(&parquet.Zstd),
	} {
		for version := 1; version <= 2; version++ {
			var b bytes.Buffer
			if err := parquet.Write(&b, rows, compression, parquet.DataPageVersion(version), parquet.PageBufferSize(4096)); err != nil {
				t.Fatal(err)
			}
			got, err := readRows(put(t, t.TempDir(), "x.parquet", b.String()))
			if err != nil || len(got) != len(rows) {
				t.Fatalf("%s, version %d: %d rows: %v", codec, version, len(got), err)
			}
			for i, r := range rows {
				values := got[i]
				want := map[string]any{"default": r.Default, "plain": r.Plain, "named": r.Named, "length": nil, "optional": nil, "ratio": nil, "truth": r.Truth, "count": r.Count, "numbers": values["numbers"]}
				if r.Ratio != nil {
					want["length"], want["optional"], want["ratio"] = *r.Length, *r.Optional, *r.Ratio
				}
				if diff := cmp.Diff(want, values); diff != "" {
					t.Fatalf("%s, version %d, row %d (-want +got):\n%s", codec, version, i, diff)
				}
			}
		}
	}
}

// Runs of pyarrow, of which one has no multiple of 8 values before one that is packed, and of DuckDB, which packs blocks of 256.
func TestParquet_RunsOfOtherWriters(t *testing.T) {
	want := append(slicesOf("a", 9), "b")
	dictionary := pageDictionary(plainDictionary, "a", "b")
	for name, p := range map[string]rawPage{
		"pyarrow": pageOne(10, format.RLEDictionary, bytes.Join([][]byte{sized(run(10, 1)), {1}, run(9, 0), bitPacked(1, 1)}, nil)),
		"duckdb":  pageOne(10, format.RLEDictionary, bytes.Join([][]byte{sized(run(10, 1)), {1}, bitPacked(32, append([]byte{0, 2}, make([]byte, 30)...)...)}, nil)),
		"packed levels": pageTwo(10, format.RLEDictionary, nil, bitPacked(2, 0xff, 0xff),
			bytes.Join([][]byte{{1}, run(9, 0), run(1, 1)}, nil)),
	} {
		got, err := documents(put(t, t.TempDir(), "x.parquet", string(rawParquet(t, 10, textColumnOf(format.Optional, dictionary, p)))))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// slicesOf returns n times a text.
func slicesOf(text string, n int) (out []string) {
	for range n {
		out = append(out, text)
	}
	return out
}
