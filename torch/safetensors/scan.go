package safetensors

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"
)

// maxDepth is how deeply values that are skipped may be nested.
const maxDepth = 16

// scanner reads JSON from a stream, strictly, and allocates for nothing but the strings it returns. The first failure
// sticks in err.
type scanner struct {
	from *bufio.Reader
	left int64 // bytes of the text that have not been read
	at   int64 // bytes read
	err  error
}

func newScanner(from io.Reader, size int64) *scanner {
	return &scanner{from: bufio.NewReaderSize(from, 1<<16), left: size}
}

// fail records the first failure, with its place.
func (s *scanner) fail(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf("byte %d of the JSON text: %w", s.at, fmt.Errorf(format, args...))
	}
}

// next reads a byte; 0 after a failure or at the end, which is a failure.
func (s *scanner) next() byte {
	if s.err != nil {
		return 0
	}
	if s.left == 0 {
		s.fail("it ends in the middle")
		return 0
	}
	b, err := s.from.ReadByte()
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		s.fail("%w", err)
		return 0
	}
	s.left--
	s.at++
	return b
}

// unread gives the byte that was read last back.
func (s *scanner) unread() {
	if s.err == nil && s.from.UnreadByte() == nil {
		s.left++
		s.at--
	}
}

// token reads the first byte that is not white space.
func (s *scanner) token() byte {
	for {
		switch b := s.next(); b {
		case ' ', '\t', '\n', '\r':
		default:
			return b
		}
	}
}

// expect reads one given token.
func (s *scanner) expect(want byte) {
	if got := s.token(); s.err == nil && got != want {
		s.fail("%q where %q should be", got, want)
	}
}

// end checks that only blanks follow.
func (s *scanner) end() {
	for s.left > 0 && s.err == nil {
		if b := s.next(); s.err == nil && b != ' ' && b != '\n' && b != '\t' && b != '\r' {
			s.fail("%q behind the end", b)
		}
	}
}

// members reads an object and calls member for each key, which reads the value.
func (s *scanner) members(member func(key string)) {
	s.expect('{')
	if s.token() == '}' {
		return
	}
	s.unread()
	for s.err == nil {
		key := s.text(maxName)
		s.expect(':')
		if s.err != nil {
			return
		}
		member(key)
		if s.token() == '}' {
			return
		}
		s.unread()
		s.expect(',')
	}
}

// numbers reads an array of at most limit numbers.
func (s *scanner) numbers(limit int) []int64 {
	s.expect('[')
	if s.token() == ']' {
		return nil
	}
	s.unread()
	var list []int64
	for s.err == nil {
		if len(list) == limit {
			s.fail("more than %d numbers in a list", limit)
			return nil
		}
		list = append(list, s.number())
		if s.token() == ']' {
			break
		}
		s.unread()
		s.expect(',')
	}
	return list
}

// number reads an integer that is not negative and fits an int64.
func (s *scanner) number() int64 {
	first := s.token()
	if s.err == nil && (first < '0' || first > '9') {
		s.fail("%q where a number from 0 on should be", first)
	}
	n := int64(first) - '0'
	for s.err == nil && s.left > 0 {
		b := s.next()
		if b < '0' || b > '9' {
			s.unread()
			break
		}
		if first == '0' || n > (1<<63-1-int64(b-'0'))/10 {
			s.fail("a number with a leading zero or above 2⁶³")
			break
		}
		n = 10*n + int64(b-'0')
	}
	if s.err != nil {
		return 0
	}
	return n
}

// text reads a string of at most limit bytes of UTF-8.
func (s *scanner) text(limit int) string {
	s.expect('"')
	var out []byte
	for s.err == nil {
		b := s.next()
		switch {
		case s.err != nil:
		case b == '"':
			if !utf8.Valid(out) {
				s.fail("a string that is not UTF-8")
				return ""
			}
			return string(out)
		case b < 0x20:
			s.fail("a control character, %#x, in a string", b)
		case b == '\\':
			out = s.escape(out)
		default:
			out = append(out, b)
		}
		if len(out) > limit {
			s.fail("a string longer than %d bytes", limit)
		}
	}
	return ""
}

// escape reads what follows a backslash and appends the character it stands for.
func (s *scanner) escape(out []byte) []byte {
	switch b := s.next(); b {
	case '"', '\\', '/':
		return append(out, b)
	case 'b':
		return append(out, '\b')
	case 'f':
		return append(out, '\f')
	case 'n':
		return append(out, '\n')
	case 'r':
		return append(out, '\r')
	case 't':
		return append(out, '\t')
	case 'u':
		return utf8.AppendRune(out, s.unicode())
	default:
		s.fail("an unknown escape, \\%c", b)
		return out
	}
}

// unicode reads the four digits behind \u, and a second half when the first is one of a surrogate pair.
func (s *scanner) unicode() rune {
	high := s.hex()
	if high < 0xd800 || high > 0xdfff {
		return high
	}
	if high < 0xdc00 && s.next() == '\\' && s.next() == 'u' {
		if low := s.hex(); low >= 0xdc00 && low <= 0xdfff {
			return 0x10000 + (high-0xd800)<<10 + low - 0xdc00
		}
	}
	s.fail("half of a surrogate pair in a string")
	return utf8.RuneError
}

func (s *scanner) hex() rune {
	var r rune
	for range 4 {
		b := s.next()
		switch {
		case b >= '0' && b <= '9':
			r = r<<4 | rune(b-'0')
		case b|0x20 >= 'a' && b|0x20 <= 'f':
			r = r<<4 | rune(b|0x20-'a'+10)
		default:
			s.fail("%q is not a hexadecimal digit", b)
		}
	}
	return r
}

// skip reads a value of any kind and forgets it.
func (s *scanner) skip(depth int) {
	if depth > maxDepth {
		s.fail("values nested more than %d deep", maxDepth)
		return
	}
	switch b := s.token(); {
	case b == '{':
		s.unread()
		s.members(func(string) { s.skip(depth + 1) })
	case b == '[':
		s.skipList(depth)
	case b == '"':
		s.unread()
		s.text(maxMetadata)
	default: // a number, true, false or null: up to the next delimiter
		for n := 0; s.err == nil && s.left > 0; n++ {
			if b = s.next(); b == ',' || b == '}' || b == ']' || b <= ' ' {
				s.unread()
				return
			}
			if n == 64 {
				s.fail("a value without an end")
			}
		}
	}
}

func (s *scanner) skipList(depth int) {
	if s.token() == ']' {
		return
	}
	s.unread()
	for s.err == nil {
		s.skip(depth + 1)
		if s.token() == ']' {
			return
		}
		s.unread()
		s.expect(',')
	}
}
