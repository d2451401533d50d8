package data

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"plasticity/record"
)

// textColumn is the name of the field or column that has the text of a document.
const textColumn = "text"

// readJSONL reads a file of one JSON object a line, whose field "text" is the document. Empty lines are left out; every
// other line that is not such an object is an error with its number.
func readJSONL(ctx context.Context, in input, emit func(piece) error) error {
	f, err := openInput(in)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	r := bufio.NewReaderSize(f, pieceSize)
	var line []byte
	var read int64
	for number := 1; ; number++ {
		if number%1024 == 0 && ctx.Err() != nil {
			return record.FailIO(ctx.Err(), "read input %s", in.path)
		}
		var n int
		line, n, err = readLine(r, line[:0], maxLine)
		read += int64(n)
		end := errors.Is(err, io.EOF)
		if err != nil && !end {
			return lineError(err, in.path, number)
		}
		if len(bytes.TrimSpace(line)) > 0 {
			text, err := textOf(line)
			if err != nil {
				return bad("input %s:%d: %w: correct or remove this line", in.path, number, err)
			}
			if err := emitText(text, read, emit); err != nil {
				return err
			}
		}
		if end {
			return nil
		}
	}
}

// errLongLine says that a line is too long.
var errLongLine = fmt.Errorf("a line longer than %d bytes: split it", maxLine)

// lineError makes a Failure of an error while a line was read.
func lineError(err error, path string, number int) error {
	if errors.Is(err, errLongLine) {
		return bad("input %s:%d: %w", path, number, err)
	}
	return record.FailIO(err, "read input %s:%d", path, number)
}

// readLine appends the next line, without its end, to line, and returns how many bytes were read. io.EOF comes with the
// last one.
func readLine(r *bufio.Reader, line []byte, limit int) ([]byte, int, error) {
	n := 0
	for {
		part, err := r.ReadSlice('\n')
		n += len(part)
		if n > limit {
			return line, n, errLongLine
		}
		line = append(line, part...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		return bytes.TrimSuffix(line, []byte("\n")), n, err
	}
}

// textOf returns the field "text" of a JSON object. Unlike encoding/json it keeps bytes that are not UTF-8 as they are,
// and refuses a field that comes twice and half of a surrogate pair, which stands for no text.
func textOf(line []byte) (string, error) {
	line = bytes.TrimSpace(line)
	if !json.Valid(line) {
		var v any
		if err := json.Unmarshal(line, &v); err != nil {
			return "", fmt.Errorf("not JSON: %w", err)
		}
		return "", errors.New("not JSON")
	}
	if line[0] != '{' {
		return "", fmt.Errorf("not a JSON object: %.40q", line)
	}
	s := jsonScanner{b: line, i: 1}
	text, found := "", false
	for s.space(); s.b[s.i] != '}'; s.space() {
		if s.b[s.i] == ',' {
			s.i++
			continue
		}
		key, err := unquote(s.str())
		if err != nil {
			return "", err
		}
		s.space()
		s.i++ // the colon
		s.space()
		if key != textColumn {
			s.skip()
			continue
		}
		if found {
			return "", fmt.Errorf("the field %q comes twice", textColumn)
		}
		if s.b[s.i] != '"' {
			return "", fmt.Errorf("the field %q is not a string", textColumn)
		}
		found = true
		if text, err = unquote(s.str()); err != nil {
			return "", fmt.Errorf("the field %q: %w", textColumn, err)
		}
	}
	if !found {
		return "", fmt.Errorf("no field %q", textColumn)
	}
	return text, nil
}

// jsonScanner walks over JSON that is known to be valid.
type jsonScanner struct {
	b []byte
	i int
}

func (s *jsonScanner) space() {
	for s.i < len(s.b) && (s.b[s.i] == ' ' || s.b[s.i] == '\t' || s.b[s.i] == '\n' || s.b[s.i] == '\r') {
		s.i++
	}
}

// str steps over a string and returns what is between its quotes.
func (s *jsonScanner) str() []byte {
	s.i++
	start := s.i
	for s.b[s.i] != '"' {
		if s.b[s.i] == '\\' {
			s.i++
		}
		s.i++
	}
	s.i++
	return s.b[start : s.i-1]
}

// skip steps over a value.
func (s *jsonScanner) skip() {
	depth := 0
	for {
		switch c := s.b[s.i]; {
		case c == '"':
			s.str()
		case c == '{' || c == '[':
			depth++
			s.i++
		case (c == '}' || c == ']') && depth > 0:
			depth--
			s.i++
		case c == ',' || c == '}':
			if depth == 0 {
				return
			}
			s.i++
		default:
			s.i++
			continue
		}
		if depth == 0 {
			return
		}
	}
}

// unquote replaces the escapes of a valid JSON string and keeps all other bytes.
func unquote(s []byte) (string, error) {
	i := bytes.IndexByte(s, '\\')
	if i < 0 {
		return string(s), nil
	}
	out := append(make([]byte, 0, len(s)), s[:i]...)
	for i < len(s) {
		if s[i] != '\\' {
			next := bytes.IndexByte(s[i:], '\\')
			if next < 0 {
				next = len(s) - i
			}
			out = append(out, s[i:i+next]...)
			i += next
			continue
		}
		switch c := s[i+1]; c {
		case 'u':
			r, n, err := unicodeEscape(s[i:])
			if err != nil {
				return "", err
			}
			out = utf8.AppendRune(out, r)
			i += n
			continue
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		default: // quote, backslash and slash stand for themselves
			out = append(out, c)
		}
		i += 2
	}
	return string(out), nil
}

// unicodeEscape returns the code point of the escape that s begins with, or of two that are a surrogate pair, and their
// length.
func unicodeEscape(s []byte) (rune, int, error) {
	r := hex4(s[2:6])
	if !utf16.IsSurrogate(r) {
		return r, 6, nil
	}
	if len(s) >= 12 && s[6] == '\\' && s[7] == 'u' {
		if pair := utf16.DecodeRune(r, hex4(s[8:12])); pair != utf8.RuneError {
			return pair, 12, nil
		}
	}
	return 0, 0, fmt.Errorf("%s is half of a surrogate pair and no text", s[:6])
}

// hex4 returns the value of four hexadecimal digits.
func hex4(s []byte) rune {
	v, err := strconv.ParseUint(string(s), 16, 32)
	if err != nil {
		return utf8.RuneError // cannot be: the JSON is valid
	}
	return rune(v)
}
