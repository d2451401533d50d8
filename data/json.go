package data

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// member is one key of a JSON object with its value as it stands in the file.
type member struct {
	key   string
	value json.RawMessage
}

// members returns the members of a JSON object in the order of the file. It refuses what encoding/json lets pass: a key
// that comes twice, and text behind the value.
func members(raw []byte) ([]member, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	if token, err := dec.Token(); err != nil || token != json.Delim('{') {
		return nil, errors.Join(errors.New("not a JSON object"), jsonEnd(err))
	}
	var list []member
	seen := make(map[string]bool)
	for dec.More() {
		token, err := dec.Token()
		if err != nil {
			return nil, jsonEnd(err)
		}
		key, _ := token.(string) // only a string can be a key
		if seen[key] {
			return nil, fmt.Errorf("the key %.80q comes twice", key)
		}
		seen[key] = true
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return nil, jsonEnd(err)
		}
		list = append(list, member{key, value})
	}
	if _, err := dec.Token(); err != nil {
		return nil, jsonEnd(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("more text after the end of the JSON object")
	}
	return list, nil
}

// jsonEnd makes the end of the input in the middle of a value an error of its own.
func jsonEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// checkText returns an error unless b is UTF-8; encoding/json would silently replace what is not.
func checkText(b []byte) error {
	if utf8.Valid(b) {
		return nil
	}
	for i := 0; ; {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return fmt.Errorf("byte %d is not UTF-8", i)
		}
		i += n
	}
}

// LoneSurrogate reports whether JSON has an escape that is half of a surrogate pair; encoding/json would replace it.
func LoneSurrogate(text []byte) bool {
	if !bytes.Contains(text, []byte(`\u`)) {
		return false
	}
	half := func(i int, lead byte) bool { // of the escape at i, whose third digit tells the half
		return i+6 <= len(text) && text[i] == '\\' && text[i+1] == 'u' && (text[i+2] == 'd' || text[i+2] == 'D') &&
			strings.IndexByte("89abAB", text[i+3]) >= 0 == (lead == 1) && strings.IndexByte("89abcdefABCDEF", text[i+3]) >= 0
	}
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			continue
		}
		switch {
		case half(i, 1) && half(i+6, 2):
			i += 11
		case half(i, 1) || half(i, 2):
			return true
		default:
			i++ // what is escaped
		}
	}
	return false
}

// isNull reports whether a value is null.
func isNull(raw []byte) bool { return string(raw) == "null" }

// decodeInto decodes a value strictly: unknown fields are refused.
func decodeInto(raw []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return jsonEnd(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more text after the end of the JSON value")
	}
	return nil
}
