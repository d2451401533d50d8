package metric

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"unicode/utf8"

	"plasticity/record"
)

// MaxLine is the longest line of a file of responses in bytes, without its end.
const MaxLine = 64 << 20

// Read reads a file of responses: on each line a JSON object with the strings "id", "problem" and "answer", a list
// "responses" of strings and, optionally, the string "greedy" and a list "rewards" of numbers. It yields problem after
// problem and holds one line at a time; blank lines are left out. The first thing wrong ends it with an error that names
// file, line and field; name is that of the file in errors. Unless ids is nil, the file must have just those ids, in any
// order.
func Read(r io.Reader, name string, ids []string) iter.Seq2[Problem, error] {
	return func(yield func(Problem, error) bool) {
		source := reader{
			lines: lineReader{from: bufio.NewReaderSize(r, 64<<10)}, name: name, ids: ids, expected: setOf(ids), checker: newChecker("line"),
		}
		for {
			p, err := source.next()
			if errors.Is(err, io.EOF) || !yield(p, err) || err != nil {
				return
			}
		}
	}
}

// reader reads a file of responses.
type reader struct {
	lines    lineReader
	name     string
	ids      []string
	expected map[string]bool // ids as a set
	checker  *checker
}

// next returns the next problem. At the end of a complete file the error is io.EOF; all others are Failures.
func (r *reader) next() (Problem, error) {
	for {
		line, err := r.lines.next()
		if errors.Is(err, io.EOF) {
			if err := checkComplete(r.checker.seen, r.ids); err != nil {
				return Problem{}, bad("%s: %w", r.name, err)
			}
			return Problem{}, io.EOF
		}
		var broken *readError
		if errors.As(err, &broken) {
			return Problem{}, record.FailIO(broken.err, "read %s:%d", r.name, r.lines.number)
		}
		if err == nil && len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var p Problem
		if err == nil {
			p, err = r.problem(line)
		}
		if err != nil {
			return Problem{}, bad("%s:%d: %w", r.name, r.lines.number, err)
		}
		return p, nil
	}
}

// problem reads a line and checks that it fits those before it.
func (r *reader) problem(line []byte) (Problem, error) {
	p, err := parseProblem(line)
	if err != nil {
		return Problem{}, err
	}
	if r.expected != nil && !r.expected[p.ID] {
		return Problem{}, &fieldError{
			"id", fmt.Sprintf("%.80q is not a problem of this test set", p.ID), "remove the line, or score it with the test set that it belongs to",
		}
	}
	return p, r.checker.check(&p, r.lines.number)
}

// readError is an error of the reader below, not of what it read.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }

// setOf returns the set of ids; nil for nil.
func setOf(ids []string) map[string]bool {
	if ids == nil {
		return nil
	}
	set := make(map[string]bool, len(ids))
	for _, id := range ids {
		set[id] = true
	}
	return set
}

// checkComplete refuses an empty file, and one that lacks some of the ids.
func checkComplete(seen map[string]int, ids []string) error {
	if len(seen) == 0 {
		return errors.New("empty: give one line of JSON for each problem")
	}
	var missing []string
	for _, id := range ids {
		if _, ok := seen[id]; !ok {
			missing = append(missing, id)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf(`field "id": %d of the %d problems of the test set are missing, such as %.200q: add the responses to them`,
		len(missing), len(ids), missing[:min(3, len(missing))])
}

// lineReader reads lines of bounded length and counts them.
type lineReader struct {
	from   *bufio.Reader
	number int // of the line read last, from 1
	buf    []byte
}

// next returns the next line without its end; the bytes are valid until the next call. At the end the error is io.EOF.
func (r *lineReader) next() ([]byte, error) {
	r.buf = r.buf[:0]
	r.number++
	for {
		part, err := r.from.ReadSlice('\n')
		if len(r.buf)+len(bytes.TrimSuffix(part, []byte("\n"))) > MaxLine {
			return nil, fmt.Errorf("a line of more than %d MiB: is it one problem a line? Give fewer or shorter responses", MaxLine>>20)
		}
		r.buf = append(r.buf, part...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(r.buf) > 0, err == nil:
			return bytes.TrimSuffix(r.buf, []byte("\n")), nil
		case errors.Is(err, io.EOF):
			return nil, io.EOF
		default:
			return nil, &readError{err}
		}
	}
}

// parseProblem reads a line. It refuses what encoding/json lets pass: bytes that are not UTF-8, fields that are unknown,
// come twice or are null, and names in other case.
func parseProblem(line []byte) (Problem, error) {
	if !utf8.Valid(line) {
		return Problem{}, errors.New("not UTF-8: write the file anew in UTF-8")
	}
	if err := checkSyntax(line); err != nil {
		return Problem{}, err
	}
	fields, err := fieldsOf(line)
	if err != nil {
		return Problem{}, err
	}
	var p Problem
	for _, f := range fields {
		switch f.name {
		case "id":
			p.ID, err = decodeString(f)
		case "problem":
			p.Problem, err = decodeString(f)
		case "answer":
			p.Answer, err = decodeString(f)
		case "greedy":
			p.Greedy = new(string)
			*p.Greedy, err = decodeString(f)
		case "responses":
			p.Responses, err = decodeList(f, decodeString)
		case "rewards":
			p.Rewards, err = decodeList(f, decodeNumber)
		}
		if err != nil {
			return Problem{}, err
		}
	}
	for _, name := range []string{"id", "problem", "answer", "responses"} {
		if !slices.ContainsFunc(fields, func(f field) bool { return f.name == name }) {
			return Problem{}, &fieldError{name, "is missing", "every line needs id, problem, answer and responses"}
		}
	}
	return p, nil
}

// checkSyntax says where a line stops being JSON.
func checkSyntax(line []byte) error {
	var value json.RawMessage
	err := json.Unmarshal(line, &value)
	if err == nil {
		return nil
	}
	var syntax *json.SyntaxError
	if !errors.As(err, &syntax) || syntax.Offset < 1 {
		return fmt.Errorf("not JSON: %w: write one object a line", err)
	}
	// Python writes these into lists of numbers, and nothing else in a line is a number.
	rest := line[syntax.Offset-1:]
	for _, word := range []string{"NaN", "Infinity"} {
		if bytes.HasPrefix(rest, []byte(word)) {
			return &fieldError{"rewards", fmt.Sprintf("has %s at byte %d", word, syntax.Offset), "give finite numbers, or leave rewards out everywhere"}
		}
	}
	return fmt.Errorf("not JSON at byte %d: %w: write one whole object a line", syntax.Offset, err)
}

// field is a member of a JSON object.
type field struct {
	name  string
	value json.RawMessage
}

// fieldsOf returns the fields of a line that is known to be valid JSON. It stops at the first that is unknown, so there are few to look
// through however long the line is.
func fieldsOf(line []byte) ([]field, error) {
	dec := json.NewDecoder(bytes.NewReader(line))
	if token, err := dec.Token(); err != nil || token != json.Delim('{') {
		return nil, fmt.Errorf("a JSON object is needed, not %s: write one object a line", kindOf(bytes.TrimSpace(line)))
	}
	var fields []field
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, err
		}
		f := field{name: fmt.Sprint(token)} // only a string can be a name
		if !slices.Contains([]string{"id", "problem", "answer", "responses", "greedy", "rewards"}, f.name) {
			return nil, &fieldError{fmt.Sprintf("%.80s", f.name), "is unknown", "remove it; there are id, problem, answer, responses, greedy and rewards"}
		}
		if slices.ContainsFunc(fields, func(other field) bool { return other.name == f.name }) {
			return nil, &fieldError{fmt.Sprintf("%.80s", f.name), "comes twice", "keep one of the two"}
		}
		if err := dec.Decode(&f.value); err != nil {
			return nil, err
		}
		fields = append(fields, f)
	}
	return fields, nil
}

func decodeString(f field) (string, error) {
	var s *string
	if err := json.Unmarshal(f.value, &s); err != nil || s == nil {
		return "", &fieldError{f.name, "is " + kindOf(f.value) + ", not a string", "write a text in quotes"}
	}
	return *s, nil
}

func decodeNumber(f field) (float64, error) {
	var v *float64
	err := json.Unmarshal(f.value, &v)
	switch {
	case err != nil && strings.HasPrefix(kindOf(f.value), "the number"):
		return 0, &fieldError{f.name, fmt.Sprintf("is %.40s, which is beyond every finite number", f.value), "give finite numbers, or leave rewards out everywhere"}
	case err != nil || v == nil:
		return 0, &fieldError{f.name, "is " + kindOf(f.value) + ", not a number", "give finite numbers, or leave rewards out everywhere"}
	default:
		return *v, nil
	}
}

// decodeList reads a list, which may be empty but not null.
func decodeList[T any](f field, decode func(field) (T, error)) ([]T, error) {
	var values []json.RawMessage
	if err := json.Unmarshal(f.value, &values); err != nil || values == nil {
		return nil, &fieldError{f.name, "is " + kindOf(f.value) + ", not a list", "write a list in brackets, or leave out what is optional"}
	}
	list := make([]T, len(values))
	for i, value := range values {
		var err error
		if list[i], err = decode(field{fmt.Sprintf("%s[%d]", f.name, i), value}); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// kindOf says what a JSON value is.
func kindOf(value []byte) string {
	switch value[0] {
	case '"':
		return "a string"
	case '{':
		return "an object"
	case '[':
		return "a list"
	case 't', 'f', 'n':
		return string(value) // true, false or null
	default:
		return fmt.Sprintf("the number %.40s", value)
	}
}
