package label

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"plasticity/record"
)

// Bounds of a file of cells, in bytes.
const (
	maxCellFile = 1 << 30
	maxCellLine = 1 << 20
)

// readCells gives the texts of a CSV or TSV file. Its columns have their fixed order; a first line that names them is left out.
func (l layout) readCells(ctx context.Context, path string, emit func(Text)) error {
	if err := regular(path, maxCellFile); err != nil {
		return err
	}
	f, err := os.Open(path)
	if err != nil {
		return record.FailIO(err, "read %s", path)
	}
	defer f.Close() //nolint:errcheck // only read
	next := commas(f)
	if strings.EqualFold(filepath.Ext(path), ".tsv") {
		next = tabs(f)
	}
	for row := 0; ; row++ {
		if err := ctx.Err(); err != nil {
			return record.FailIO(err, "read %s", path)
		}
		line, cells, err := next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		place := fmt.Sprintf("%s:%d", path, line)
		if err != nil {
			return record.Fail(record.BadData, "%s: %w: give the file as it is published", place, err)
		}
		if err := l.cellsOf(place, cells, row == 0, emit); err != nil {
			return err
		}
	}
}

// cellsOf gives the text of a row.
func (l layout) cellsOf(place string, cells []string, first bool, emit func(Text)) error {
	if len(cells) != len(l.cells) {
		return record.Fail(record.BadData, "%s: %d columns, want %d (%s): give the file as it is published", place, len(cells), len(l.cells), strings.Join(l.cells, ", "))
	}
	value := cells[slices.Index(l.cells, l.label)]
	n, ok := number(value)
	if first && !ok {
		return nil // the names of the columns
	}
	var words []string
	for i, c := range cells {
		if l.cells[i] != l.label {
			words = append(words, c)
		}
	}
	return l.emit(place, strings.Join(words, " "), n-l.first, ok, value, emit)
}

// rows gives one row after another, with its line.
type rows func() (line int, cells []string, err error)

// commas reads CSV.
func commas(r io.Reader) rows {
	c := csv.NewReader(bufio.NewReader(r))
	c.FieldsPerRecord = -1
	return func() (int, []string, error) {
		cells, err := c.Read()
		var parse *csv.ParseError
		if errors.As(err, &parse) {
			return parse.Line, nil, parse.Err
		}
		if err != nil {
			return 0, nil, err
		}
		line, _ := c.FieldPos(0)
		return line, cells, nil
	}
}

// tabs reads lines of cells between tabs, in which a quote is a quote.
func tabs(r io.Reader) rows {
	s := bufio.NewScanner(r)
	s.Buffer(nil, maxCellLine)
	line := 0
	return func() (int, []string, error) {
		line++
		if !s.Scan() {
			if s.Err() != nil {
				return line, nil, s.Err()
			}
			return line, nil, io.EOF
		}
		return line, strings.Split(s.Text(), "\t"), nil
	}
}
