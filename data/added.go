package data

import (
	"strings"
	"unicode/utf8"
)

// finder has added tokens by their first byte, the longest first.
type finder [256][]addedToken

// newFinder returns a finder of the tokens, of which the longest come first, that are late or not; nil when there are none.
func newFinder(tokens []addedToken, late bool) *finder {
	var f *finder
	for _, a := range tokens {
		if a.late != late {
			continue
		}
		if f == nil {
			f = new(finder)
		}
		f[a.content[0]] = append(f[a.content[0]], a)
	}
	return f
}

// at returns the longest token that text begins with.
func (f *finder) at(text string) (addedToken, bool) {
	for _, a := range f[text[0]] {
		if strings.HasPrefix(text, a.content) {
			return a, true
		}
	}
	return addedToken{}, false
}

// part is a stretch of a text: an added token, or what is between two.
type part struct {
	end int   // it begins where the one before ends
	id  int32 // noToken: what is between
}

// noToken is the id of what is no added token.
const noToken = int32(-1)

// parts cuts text at its added tokens as the Hugging Face library does: each finder goes from left to right through what those
// before it left, and takes the longest token at each place. It steps over the name of a special token that is not asked for,
// which is text.
func (t *Tokenizer) parts(text string, special bool) []part {
	parts := []part{{len(text), noToken}}
	for _, f := range t.finders {
		var cut []part
		start := 0
		for _, p := range parts {
			if p.id == noToken {
				cut = t.find(f, cut, text[:p.end], start, special)
			}
			cut, start = append(cut, p), p.end
		}
		parts = cut
	}
	return parts
}

// find appends the tokens of text from start on, and what is before each, to parts.
func (t *Tokenizer) find(f *finder, parts []part, text string, start int, special bool) []part {
	for i := start; i < len(text); {
		token, ok := f.at(text[i:])
		if !ok {
			i++
			continue
		}
		if special || !t.IsSpecial(token.id) {
			parts = append(parts, part{i, noToken}, part{i + len(token.content), token.id})
		}
		i += len(token.content)
	}
	return parts
}

// lastCut returns the last place in text, which may go on, where it can be cut without a change to what Encode makes of it; 0 when
// there is none near its end.
func (t *Tokenizer) lastCut(text string) int {
	for i := len(text) - max(t.reach, utf8.UTFMax); i > max(0, len(text)-quickSearch); i-- {
		if utf8.RuneStart(text[i]) && wordEnds(text, i) && !t.across(text, i) {
			return i
		}
	}
	return 0
}

// wordEnds reports whether a run of letters or numbers ends at i: a pre-token ends there wherever it began.
func wordEnds(text string, i int) bool {
	_, size := utf8.DecodeLastRuneInString(text[:i])
	before, _ := classAt(text, i-size)
	after, _ := classAt(text, i)
	return after != before && (before == classLetter || before == classNumber)
}

// across reports whether the name of an added token begins before i and ends behind it.
func (t *Tokenizer) across(text string, i int) bool {
	for start := max(0, i-t.reach); start < i; start++ {
		for _, f := range t.finders {
			for _, a := range f[text[start]] {
				if start+len(a.content) > i && strings.HasPrefix(text[start:], a.content) {
					return true
				}
			}
		}
	}
	return false
}
