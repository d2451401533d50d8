package data

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/parquet-go/parquet-go"

	"plasticity/record"
)

// Row is one row of a table file. Strings are string, numbers int32, int64, float32, float64 or json.Number, lists []any,
// structures map[string]any, and what has no value is nil.
type Row struct {
	Path   string
	Number int64 // of the line, or of the row where a file has no lines; from 1
	Values map[string]any
	Read   int64 // bytes of the file read so far, for progress
}

// IsTable reports whether ReadRows knows files of such a name.
func IsTable(path string) bool {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".jsonl", ".ndjson", ".json", ".parquet":
		return true
	}
	return false
}

// ReadRows gives all rows of a table file to emit, in order. Tables are Parquet with nested columns, JSON lines, and
// JSON: one array of objects, or objects one after the other. Files are taken for hostile, as everywhere here. Errors are
// Failures that name file and row.
func ReadRows(ctx context.Context, path string, emit func(Row) error) error {
	info, err := os.Stat(path)
	if err != nil {
		return record.FailIO(err, "read input")
	}
	in := input{path: path, size: info.Size()}
	f, err := openInput(in)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	switch strings.ToLower(filepath.Ext(path)) {
	case ".jsonl", ".ndjson":
		return readRowLines(ctx, in, f, emit)
	case ".json":
		return readRowObjects(ctx, in, f, emit)
	case ".parquet":
		r := rowReader{parquetReader: parquetReader{in: in, f: f}, emitRow: emit}
		return r.read(ctx)
	}
	return bad("input %s: a table is .parquet, .jsonl or .json", path)
}

// readRowLines reads a table of one JSON object a line.
func readRowLines(ctx context.Context, in input, f io.Reader, emit func(Row) error) error {
	r := bufio.NewReaderSize(f, pieceSize)
	var line []byte
	row := Row{Path: in.path}
	for end := false; !end; {
		row.Number++
		if ctx.Err() != nil {
			return record.FailIO(ctx.Err(), "read input %s", in.path)
		}
		var n int
		var err error
		line, n, err = readLine(r, line[:0], maxLine)
		row.Read += int64(n)
		end = errors.Is(err, io.EOF)
		if err != nil && !end {
			return lineError(err, in.path, int(row.Number))
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if row.Values, err = rowOf(line); err != nil {
			return bad("input %s:%d: %w: correct or remove this line", in.path, row.Number, err)
		}
		if err := emit(row); err != nil {
			return err
		}
	}
	return nil
}

// rowOf reads one JSON object as a row.
func rowOf(object []byte) (map[string]any, error) {
	if err := checkText(object); err != nil {
		return nil, err
	}
	if LoneSurrogate(object) {
		return nil, errors.New("it has half of a surrogate pair, which is no text")
	}
	if _, err := members(object); err != nil { // keys that come twice
		return nil, err
	}
	dec := json.NewDecoder(bytes.NewReader(object))
	dec.UseNumber()
	var values map[string]any
	if err := dec.Decode(&values); err != nil {
		return nil, err
	}
	return values, nil
}

// readRowObjects reads a table of JSON: an array of objects, or objects one after the other.
func readRowObjects(ctx context.Context, in input, f io.Reader, emit func(Row) error) error {
	r := bufio.NewReaderSize(f, pieceSize)
	array, err := beginsArray(r)
	if err != nil {
		return bad("input %s: %w", in.path, err)
	}
	dec := json.NewDecoder(io.LimitReader(r, in.size))
	row := Row{Path: in.path}
	if array {
		if _, err := dec.Token(); err != nil {
			return bad("input %s: %w", in.path, err)
		}
	}
	for array && dec.More() || !array {
		if ctx.Err() != nil {
			return record.FailIO(ctx.Err(), "read input %s", in.path)
		}
		row.Number++
		var object json.RawMessage
		err := dec.Decode(&object)
		if !array && errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			row.Values, err = rowOf(object)
		}
		if err != nil {
			return bad("input %s: row %d: %w: fetch the file again", in.path, row.Number, jsonEnd(err))
		}
		row.Read = dec.InputOffset()
		if err := emit(row); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return bad("input %s: after row %d: %w: cut off; fetch the file again", in.path, row.Number, jsonEnd(err))
	}
	return nil
}

// beginsArray reports whether the first character that is not white space is a bracket.
func beginsArray(r *bufio.Reader) (bool, error) {
	for {
		c, err := r.ReadByte()
		switch {
		case errors.Is(err, io.EOF):
			return false, errors.New("an empty file")
		case err != nil:
			return false, err
		case c != ' ' && c != '\t' && c != '\n' && c != '\r':
			return c == '[', r.UnreadByte()
		}
	}
}

// rowReader reads whole rows of a Parquet file.
type rowReader struct {
	parquetReader
	emitRow func(Row) error
}

func (r *rowReader) read(ctx context.Context) error {
	file, err := r.open()
	if err != nil {
		return bad("input %s: not a Parquet file that can be read: %w", r.in.path, err)
	}
	if err := r.guard(file); err != nil {
		return bad("input %s: %w", r.in.path, err)
	}
	for _, group := range file.RowGroups() {
		if err := r.group(ctx, file, group); err != nil {
			return err
		}
	}
	return r.complete()
}

// guard checks the pages of all columns before anything is decoded.
func (r *rowReader) guard(file *parquet.File) (err error) {
	defer recovered(&err)
	if err := r.checkRows(file); err != nil {
		return err
	}
	for i, group := range file.Metadata().RowGroups {
		held, listed := int64(0), int64(0)
		for j := range group.Columns {
			guard, err := r.checkChunk(file, i, j)
			if err != nil {
				return err
			}
			held += guard.held
			if guard.column.repetition > 0 {
				listed += guard.values
			}
		}
		// A row has a value of each column and all values of its lists; several columns may lie at the same place.
		more := r.in.size * maxHeldFactor
		if held > maxHeldFree+more || listed > maxListedFree+more {
			return fmt.Errorf("row group %d: pages of %d bytes at once and %d values in lists: %w", i, held, listed, errTrap)
		}
	}
	return nil
}

// group hands on the rows of a row group.
func (r *rowReader) group(ctx context.Context, file *parquet.File, group parquet.RowGroup) error {
	rows, err := openRows(group)
	if err != nil {
		return bad("input %s: row %d: %w", r.in.path, r.row+1, err)
	}
	defer rows.Close() //nolint:errcheck // only read
	buffer := make([]parquet.Row, 64)
	leaves := leavesOf(file.Schema())
	for {
		if ctx.Err() != nil {
			return record.FailIO(ctx.Err(), "read input %s", r.in.path)
		}
		n, err := readInto(rows, buffer)
		end := errors.Is(err, io.EOF)
		if err != nil && !end {
			return bad("input %s: row %d: %w", r.in.path, r.row+1, err)
		}
		for _, row := range buffer[:n] {
			if err := r.hand(file, leaves, row); err != nil {
				return err
			}
		}
		if end || n == 0 {
			return nil
		}
	}
}

// hand hands on a row.
func (r *rowReader) hand(file *parquet.File, leaves []leaf, row parquet.Row) error {
	values, err := r.decode(file.Schema(), leaves, row)
	if err != nil {
		return bad("input %s: row %d: %w", r.in.path, r.row+1, err)
	}
	if err := r.next(); err != nil {
		return err
	}
	read := int64(float64(r.in.size) * float64(r.row) / float64(r.rows))
	return r.emitRow(Row{Path: r.in.path, Number: r.row, Values: values, Read: min(read, r.in.size)})
}

func openRows(group parquet.RowGroup) (rows parquet.Rows, err error) {
	defer recovered(&err)
	return group.Rows(), nil
}

// leaf is a column without columns below it.
type leaf struct {
	name string
	kind parquet.Kind
}

func leavesOf(schema *parquet.Schema) []leaf {
	var out []leaf
	for _, path := range schema.Columns() {
		l := leaf{name: strings.Join(path, ".")}
		if column, ok := schema.Lookup(path...); ok {
			l.kind = column.Node.Type().Kind()
		}
		out = append(out, l)
	}
	return out
}

// checkRow refuses a row that has not values of every column, in their order and of the column's type. The library takes a row's
// values for those of the columns by their place alone, and would read a number as the address of a text.
func checkRow(row parquet.Row, leaves []leaf) error {
	next := 0 // column
	for _, v := range row {
		switch c := v.Column(); {
		case c < 0 || c >= len(leaves) || c > next || c < next-1:
			return fmt.Errorf("a value of column %d where one of column %d belongs: the file is damaged, download it again", c, next)
		case !v.IsNull() && v.Kind() != leaves[c].kind:
			return fmt.Errorf("column %q has a value of type %v, its schema says %v: the file is damaged, download it again", leaves[c].name, v.Kind(), leaves[c].kind)
		default:
			next = c + 1
		}
	}
	if next != len(leaves) {
		return fmt.Errorf("values of %d columns, the schema has %d: the file is damaged, download it again", next, len(leaves))
	}
	return nil
}

// readInto reads the next rows. Their texts lie in the file's pages: none is copied.
func readInto(rows parquet.Rows, buffer []parquet.Row) (n int, err error) {
	defer recovered(&err)
	return rows.ReadRows(buffer)
}

// decode makes a row of values of all columns. Its texts are copied once they are known to be within the limits.
func (r *rowReader) decode(schema *parquet.Schema, leaves []leaf, row parquet.Row) (_ map[string]any, err error) {
	defer recovered(&err)
	if err := checkRow(row, leaves); err != nil {
		return nil, err
	}
	for _, v := range row {
		if v.Kind() == parquet.ByteArray {
			r.text += int64(len(v.ByteArray()))
		}
	}
	if limit := r.in.size*maxTextFactor + maxTextFree; r.text > limit {
		return nil, errTrap
	}
	values := make(map[string]any)
	if err := schema.Reconstruct(&values, row); err != nil {
		return nil, err
	}
	return values, nil
}
