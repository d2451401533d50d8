package data

import (
	"unicode/utf8"
)

// alphabetEnd is one past the largest code point that byte-level vocabularies use for a byte.
const alphabetEnd = 256 + 68

// alphabet maps bytes to the visible characters that byte-level vocabularies write for them, and back.
type alphabet struct {
	runes [256]rune
	bytes [alphabetEnd]int16 // -1 where no byte has the character
}

// newAlphabet returns the alphabet of GPT-2: printable Latin-1 characters stand for themselves; all other bytes, in
// order, for the characters from U+0100 on.
func newAlphabet() *alphabet {
	a := new(alphabet)
	for i := range a.bytes {
		a.bytes[i] = -1
	}
	other := rune(256)
	for b := range rune(256) {
		r := b
		if b <= ' ' || b >= 0x7f && b <= 0xa0 || b == 0xad {
			r = other
			other++
		}
		a.runes[b] = r
		a.bytes[r] = int16(b)
	}
	return a
}

// decode returns the bytes that the visible form s stands for; ok is false when a character stands for no byte.
func (a *alphabet) decode(s string) (string, bool) {
	out := make([]byte, 0, len(s))
	for _, r := range s {
		if r >= alphabetEnd || r == utf8.RuneError || a.bytes[r] < 0 {
			return "", false
		}
		out = append(out, byte(a.bytes[r]))
	}
	return string(out), true
}
