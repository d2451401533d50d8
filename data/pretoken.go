package data

import (
	"unicode"
	"unicode/utf8"
)

// asciiClass has the class of every ASCII character in the pattern of GPT-2: l for a letter, n for a number, s for
// white space and o for all else. It is a constant, so that nothing can change it.
const asciiClass = "" +
	"ooooooooosssssoo" +
	"oooooooooooooooo" +
	"sooooooooooooooo" +
	"nnnnnnnnnnoooooo" +
	"olllllllllllllll" +
	"lllllllllllooooo" +
	"olllllllllllllll" +
	"lllllllllllooooo"

// The classes of asciiClass.
const (
	classLetter = 'l'
	classNumber = 'n'
	classSpace  = 's'
	classOther  = 'o'
)

// classAt returns the class of the code point that begins at s[i] and its length in bytes. A byte that is not UTF-8 is a
// code point of its own, of class o.
func classAt(s string, i int) (class byte, size int) {
	if c := s[i]; c < utf8.RuneSelf {
		return asciiClass[c], 1
	}
	r, size := utf8.DecodeRuneInString(s[i:])
	switch {
	case unicode.IsLetter(r):
		return classLetter, size
	case unicode.IsNumber(r):
		return classNumber, size
	case unicode.IsSpace(r):
		return classSpace, size
	default:
		return classOther, size
	}
}

// pretokenEnd returns the end of the pre-token that begins at s[start], as the pattern of GPT-2 cuts it:
//
//	'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//
// Every alternative is decided by at most one code point of look-ahead, so no byte is read more than twice, whatever the
// text. The concatenation of all pre-tokens is the text.
func pretokenEnd(s string, start int) int {
	class, size := classAt(s, start)
	if class == classSpace {
		return spaceEnd(s, start, size)
	}
	if s[start] == '\'' {
		if n := contraction(s[start+1:]); n > 0 {
			return start + 1 + n
		}
	}
	return runEnd(s, start+size, class)
}

// spaceEnd is pretokenEnd for a pre-token that begins with white space of size bytes.
func spaceEnd(s string, start, size int) int {
	if s[start] == ' ' && start+1 < len(s) {
		if class, n := classAt(s, start+1); class != classSpace {
			return runEnd(s, start+1+n, class)
		}
	}
	last, end := start, start+size // last is where the last white space begins
	for end < len(s) {
		class, n := classAt(s, end)
		if class != classSpace {
			break
		}
		last, end = end, end+n
	}
	if end == len(s) || last == start {
		return end
	}
	return last // the last white space goes with what follows it
}

// contraction returns how many bytes of s, which follows an apostrophe, are the rest of an English contraction; 0 when
// there is none.
func contraction(s string) int {
	if s == "" {
		return 0
	}
	switch s[0] {
	case 's', 'd', 'm', 't':
		return 1
	}
	if len(s) < 2 {
		return 0
	}
	switch s[:2] {
	case "ll", "ve", "re":
		return 2
	}
	return 0
}

// runEnd returns where the run of code points of a class that s[i] continues ends.
func runEnd(s string, i int, class byte) int {
	for i < len(s) {
		if c := s[i]; c < utf8.RuneSelf {
			if asciiClass[c] != class {
				return i
			}
			i++
			continue
		}
		k, n := classAt(s, i)
		if k != class {
			return i
		}
		i += n
	}
	return i
}

// lookAhead is how many bytes after a pre-token's start must be known for its start to be certain: more than the longest
// white space, code point and contraction together.
const lookAhead = 16

// quickSearch is how far from the end, in bytes, lastBoundary looks for an easy boundary.
const quickSearch = 64 << 10

// lastBoundary returns the last place in s, which may go on, where a pre-token certainly begins and so where s can be cut
// without a change to its tokens; 0 when there is none.
func lastBoundary(s string) int {
	for i := len(s) - 1; i > max(0, len(s)-quickSearch); i-- {
		if s[i] != ' ' {
			continue
		}
		// No pre-token has a blank behind a letter or number.
		if c := s[i-1]; c < utf8.RuneSelf && (asciiClass[c] == classLetter || asciiClass[c] == classNumber) {
			return i
		}
	}
	boundary, afterSpace := 0, true
	for i := 0; i <= len(s)-lookAhead; {
		if !afterSpace { // at the end of a text, white space goes together that apart would not
			boundary = i
		}
		end := pretokenEnd(s, i)
		r, _ := utf8.DecodeLastRuneInString(s[i:end])
		i, afterSpace = end, unicode.IsSpace(r)
	}
	return boundary
}

// lastRune returns the last place in s, not its start, where a code point begins, for a cut where there is no boundary.
func lastRune(s string) int {
	for i := len(s) - 1; i > max(0, len(s)-utf8.UTFMax); i-- {
		if utf8.RuneStart(s[i]) {
			return i
		}
	}
	return len(s)
}
