package data

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/parquet-go/parquet-go"

	"plasticity/record"
)

// errTrap says that a file unpacks to far more than a file of its size can hold.
var errTrap = errors.New("far more text than a file of this size can hold: this looks like a trap")

// Limits of Parquet files.
const (
	maxFooter      = 32 << 20 // bytes
	maxTextFactor  = 4096     // bytes of text a byte of file, beyond maxTextFree
	maxTextFree    = 1 << 30  // bytes of text a file may always have
	maxRowsPerByte = 8        // rows a byte of file, beyond maxRowsFree
	maxRowsFree    = 1 << 20
	maxHeldFactor  = 64      // bytes of decoded pages of all columns at once a byte of file, beyond maxHeldFree; values in lists, too
	maxHeldFree    = 1 << 30 // bytes
	maxListedFree  = 1 << 22 // values in lists of a row group
)

// readParquet reads the column "text" of a Parquet file, one document a row. A row without a value is an empty document.
// Sizes are checked before the library that decodes sees them, and what it panics with becomes an error.
func readParquet(ctx context.Context, in input, emit func(piece) error) (err error) {
	f, err := openInput(in)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	r := parquetReader{in: in, f: f, emit: emit}
	file, err := r.open()
	if err != nil {
		return bad("input %s: not a Parquet file that can be read: %w", in.path, err)
	}
	chunks, err := r.locate(file)
	if err != nil {
		return bad("input %s: %w", in.path, err)
	}
	for _, chunk := range chunks {
		if err := r.chunk(ctx, chunk); err != nil {
			return err
		}
	}
	return r.complete()
}

// parquetReader reads one file.
type parquetReader struct {
	in   input
	f    *os.File
	emit func(piece) error
	row  int64
	rows int64 // as the metadata say
	text int64 // bytes of text so far
}

// recovered makes an error of a panic of the library.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("broken: %v", r)
	}
}

// open reads the metadata after checking that it claims no more than it has.
func (r *parquetReader) open() (file *parquet.File, err error) {
	defer recovered(&err)
	var tail [8]byte
	if r.in.size < 12 {
		return nil, fmt.Errorf("only %d bytes", r.in.size)
	}
	if _, err := r.f.ReadAt(tail[:], r.in.size-8); err != nil {
		return nil, err
	}
	if string(tail[4:]) != "PAR1" {
		return nil, errors.New("it does not end in PAR1: cut off, encrypted or something else")
	}
	size := int64(binary.LittleEndian.Uint32(tail[:]))
	if size > maxFooter || size > r.in.size-12 {
		return nil, fmt.Errorf("its metadata claim %d bytes", size)
	}
	footer := make([]byte, size)
	if _, err := r.f.ReadAt(footer, r.in.size-8-size); err != nil {
		return nil, err
	}
	w := thriftWalker{b: footer}
	if err := w.message(); err != nil {
		return nil, err
	}
	return parquet.OpenFile(r.f, r.in.size, parquet.SkipPageIndex(true), parquet.SkipBloomFilters(true))
}

// locate returns the chunks of the text column after checking their pages.
func (r *parquetReader) locate(file *parquet.File) (chunks []parquet.ColumnChunk, err error) {
	defer recovered(&err)
	leaf, ok := file.Schema().Lookup(textColumn)
	if !ok || leaf.Node.Repeated() || leaf.Node.Type().Kind() != parquet.ByteArray {
		return nil, fmt.Errorf("no column %q of type string at the top level: rename the column with the documents", textColumn)
	}
	if err := r.checkRows(file); err != nil {
		return nil, err
	}
	for i, group := range file.RowGroups() {
		columns := file.Metadata().RowGroups[i].Columns
		if leaf.ColumnIndex >= len(columns) {
			return nil, fmt.Errorf("row group %d: no column %d", i, leaf.ColumnIndex)
		}
		if _, err := r.checkChunk(file, i, leaf.ColumnIndex); err != nil {
			return nil, err
		}
		chunks = append(chunks, group.ColumnChunks()[leaf.ColumnIndex])
	}
	return chunks, nil
}

// checkRows checks how many rows the file claims to have.
func (r *parquetReader) checkRows(file *parquet.File) error {
	if limit := r.in.size*maxRowsPerByte + maxRowsFree; file.NumRows() < 0 || file.NumRows() > limit {
		return fmt.Errorf("it claims %d rows, %d are the most for %d bytes", file.NumRows(), limit, r.in.size)
	}
	r.rows = file.NumRows()
	return nil
}

// checkChunk checks the pages of column j of row group i and returns the guard that did.
func (r *parquetReader) checkChunk(file *parquet.File, i, j int) (*pageGuard, error) {
	meta := &file.Metadata().RowGroups[i].Columns[j]
	if meta.FilePath != "" {
		return nil, fmt.Errorf("row group %d: its column lies in another file, which is not supported", i)
	}
	chunk, ok := file.RowGroups()[i].ColumnChunks()[j].(*parquet.FileColumnChunk)
	if !ok {
		return nil, fmt.Errorf("row group %d: no column %d", i, j)
	}
	column, ok := chunk.Node().(*parquet.Column)
	if !ok {
		return nil, fmt.Errorf("row group %d: no column %d", i, j)
	}
	// The library unpacks all row groups with what the first was packed with.
	if first := file.Metadata().RowGroups[0].Columns[j].MetaData.Codec; meta.MetaData.Codec != first {
		return nil, fmt.Errorf("row group %d: packed with %v, the first with %v: write the file again with one of them", i, meta.MetaData.Codec, first)
	}
	guard := newPageGuard(r.f, r.in.size, column, &meta.MetaData)
	if err := guard.check(); err != nil {
		return nil, fmt.Errorf("row group %d: %w", i, err)
	}
	return guard, nil
}

// next counts a row; an error says that the file has more than its metadata say.
func (r *parquetReader) next() error {
	if r.row >= r.rows {
		return bad("input %s: more than the %d rows that its metadata say: the file is damaged, download it again", r.in.path, r.rows)
	}
	r.row++
	return nil
}

// complete returns an error when fewer rows were read than the metadata say.
func (r *parquetReader) complete() error {
	if r.row != r.rows {
		return bad("input %s: %d rows, its metadata say %d: the file is damaged, download it again", r.in.path, r.row, r.rows)
	}
	return nil
}

// chunk hands on the rows of one column chunk.
func (r *parquetReader) chunk(ctx context.Context, column parquet.ColumnChunk) error {
	pages, err := r.pages(column)
	if err != nil {
		return bad("input %s: row %d: %w", r.in.path, r.row, err)
	}
	defer pages.Close() //nolint:errcheck // only read
	values := make([]parquet.Value, 256)
	for {
		if ctx.Err() != nil {
			return record.FailIO(ctx.Err(), "read input %s", r.in.path)
		}
		page, err := r.page(pages)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return bad("input %s: row %d: %w", r.in.path, r.row, err)
		}
		err = r.pageRows(page, values)
		parquet.Release(page)
		if err != nil {
			return err
		}
	}
}

func (r *parquetReader) pages(column parquet.ColumnChunk) (pages parquet.Pages, err error) {
	defer recovered(&err)
	return column.Pages(), nil
}

func (r *parquetReader) page(pages parquet.Pages) (page parquet.Page, err error) {
	defer recovered(&err)
	return pages.ReadPage()
}

// pageRows hands on the rows of one page.
func (r *parquetReader) pageRows(page parquet.Page, values []parquet.Value) error {
	reader := page.Values()
	for {
		n, err := r.values(reader, values)
		for _, v := range values[:n] {
			if err := r.document(v.ByteArray()); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF) || err == nil && n == 0:
			return nil
		case err != nil:
			return bad("input %s: row %d: %w", r.in.path, r.row, err)
		}
	}
}

// values decodes the next values of a page. They lie in it: none is copied.
func (r *parquetReader) values(reader parquet.ValueReader, values []parquet.Value) (n int, err error) {
	defer recovered(&err)
	n, err = reader.ReadValues(values)
	for i, v := range values[:n] {
		if !v.IsNull() && v.Kind() != parquet.ByteArray {
			return i, fmt.Errorf("a value of type %v in a column of text: the file is damaged, download it again", v.Kind())
		}
	}
	return n, err
}

// document hands on one row. Its text is copied once it is known to be within the limits: many rows may share one long text.
func (r *parquetReader) document(text []byte) error {
	r.text += int64(len(text))
	switch limit := r.in.size*maxTextFactor + maxTextFree; {
	case len(text) > maxLine:
		return bad("input %s: row %d: a document of %d bytes, at most %d are read: split it", r.in.path, r.row, len(text), maxLine)
	case r.text > limit:
		return bad("input %s: row %d: more than %d bytes of text from %d bytes of file: this looks like a trap", r.in.path, r.row, limit, r.in.size)
	}
	if err := r.next(); err != nil {
		return err
	}
	return emitText(string(text), min(r.text, r.in.size), r.emit)
}
