package task

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"plasticity/data"
)

// Limits of a file of examples.
const (
	maxID   = 200
	maxLine = 16 << 20 // bytes
)

// errLong says that a line is too long.
var errLong = fmt.Errorf("a line longer than %d bytes", maxLine)

// fields lists the fields of a line, in the order of writing.
func fields() []string {
	return []string{"id", "instruction", "response", "answer", "level", "source"}
}

// writeLines writes examples, one a line.
func writeLines(w io.Writer, examples []Example) error {
	b := bufio.NewWriter(w)
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	for i := range examples {
		if err := enc.Encode(&examples[i]); err != nil {
			return err
		}
	}
	return b.Flush()
}

// lineError is what is wrong with a line of a file.
type lineError struct {
	line  int
	field string // empty when the line as a whole is meant
	what  string
}

func (e *lineError) Error() string {
	if e.field == "" {
		return fmt.Sprintf("line %d: %s", e.line, e.what)
	}
	return fmt.Sprintf("line %d: field %q %s", e.line, e.field, e.what)
}

// readLines gives every line of a file of examples to emit, with its number. The error is a lineError, that of emit, or
// one of reading.
func readLines(r io.Reader, emit func(line int, e Example) error) error {
	b := bufio.NewReaderSize(r, 1<<16)
	var line []byte
	for number := 1; ; number++ {
		var err error
		line, err = nextLine(b, line[:0])
		end := errors.Is(err, io.EOF)
		switch {
		case errors.Is(err, errLong):
			return &lineError{number, "", errLong.Error()}
		case err != nil && !end:
			return err
		case end && len(line) == 0:
			return nil
		}
		e, wrong := parseLine(line)
		if wrong != nil {
			wrong.line = number
			return wrong
		}
		if err := emit(number, e); err != nil || end {
			return err
		}
	}
}

// nextLine appends the next line, without its end, to line.
func nextLine(r *bufio.Reader, line []byte) ([]byte, error) {
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		if len(line) > maxLine {
			return line, errLong
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		return bytes.TrimSuffix(line, []byte("\n")), err
	}
}

// parseLine reads one example strictly: all fields, each once, each a string, and no other.
func parseLine(line []byte) (Example, *lineError) {
	var e Example
	if !utf8.Valid(line) {
		return e, &lineError{what: "it is not UTF-8"}
	}
	if data.LoneSurrogate(line) {
		return e, &lineError{what: "it has half of a surrogate pair, which is no text"}
	}
	dec := json.NewDecoder(bytes.NewReader(line))
	if token, err := dec.Token(); err != nil || token != json.Delim('{') {
		return e, &lineError{what: "it is not a JSON object"}
	}
	places := map[string]*string{
		"id": &e.ID, "instruction": &e.Instruction, "response": &e.Response, "answer": &e.Answer, "level": &e.Level, "source": &e.Source,
	}
	seen := make(map[string]bool, len(places))
	for dec.More() {
		name, err := nextString(dec)
		if err != nil {
			return e, &lineError{what: err.Error()}
		}
		place := places[name]
		if place == nil {
			return e, &lineError{field: clip(name), what: "is not known; known are " + strings.Join(fields(), ", ")}
		}
		if seen[name] {
			return e, &lineError{field: name, what: "comes twice"}
		}
		seen[name] = true
		if *place, err = nextString(dec); err != nil {
			return e, &lineError{field: name, what: err.Error()}
		}
	}
	if _, err := dec.Token(); err != nil {
		return e, &lineError{what: "it is not JSON: " + err.Error()}
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return e, &lineError{what: "it has more behind the JSON object"}
	}
	if i := slices.IndexFunc(fields(), func(name string) bool { return !seen[name] }); i >= 0 {
		return e, &lineError{field: fields()[i], what: "is missing"}
	}
	return e, nil
}

// nextString reads a value that must be a string.
func nextString(dec *json.Decoder) (string, error) {
	token, err := dec.Token()
	if err != nil {
		return "", fmt.Errorf("is not JSON: %w", err)
	}
	s, ok := token.(string)
	if !ok {
		return "", errors.New("is not a string")
	}
	return s, nil
}

// clip shortens a text for a message.
func clip(s string) string {
	if len(s) <= 80 {
		return s
	}
	return strings.ToValidUTF8(s[:80], "") + "…"
}
