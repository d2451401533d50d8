package answer

import (
	"fmt"
	"strings"
	"unicode"
)

// A Kind says what the answers of a task are, and so when two of them are the same.
type Kind int

// The kinds of answers.
const (
	Math   Kind = iota // what a LaTeX expression means
	Letter             // an option, A to J
	Word               // one word: yes, no, maybe
)

// ParseKind returns the kind with the given name: math, letter or word.
func ParseKind(name string) (Kind, error) {
	for _, k := range []Kind{Math, Letter, Word} {
		if name == k.String() {
			return k, nil
		}
	}
	return 0, fmt.Errorf("kind of answers %.40q: want math, letter or word", name)
}

// String returns the name that [ParseKind] reads.
func (k Kind) String() string {
	switch k {
	case Math:
		return "math"
	case Letter:
		return "letter"
	case Word:
		return "word"
	default:
		return fmt.Sprintf("kind %d", int(k))
	}
}

// Extract is the function of that name: a Kind reads responses and judges answers.
func (Kind) Extract(response string) (string, bool) { return Extract(response) }

// ExtractTail is the function of that name.
func (Kind) ExtractTail(response string) (string, bool) { return ExtractTail(response) }

// Equal reports whether two answers are the same. It is symmetric, an empty answer equals nothing, and it returns in
// bounded time whatever the strings are.
//
// Letter and Word compare the first word, without case and the punctuation around it: "(B) because…" is b. A Letter is,
// moreover, one of A to J.
func (k Kind) Equal(a, b string) bool {
	switch k {
	case Math:
		return mathEqual(a, b)
	case Letter:
		word := firstWord(a)
		return len(word) == 1 && 'a' <= word[0] && word[0] <= 'j' && word == firstWord(b)
	case Word:
		word := firstWord(a)
		return word != "" && word == firstWord(b)
	default:
		return false
	}
}

// wordLimit is more than any word of a task has; what is longer is cut before it is looked at.
const wordLimit = 256

// firstWord returns the first word of an answer in lower case, without punctuation around it and without \text{…}.
func firstWord(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > wordLimit {
		s = s[:wordLimit]
	}
	for _, command := range []string{`\text{`, `\textbf{`, `\mathrm{`, `\mathbf{`} {
		s = strings.ReplaceAll(s, command, "")
	}
	s = strings.TrimLeftFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	// "B)because" and "B.The" are b as well.
	if i := strings.IndexFunc(s, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(").:,;}", r) }); i >= 0 {
		s = s[:i]
	}
	return strings.ToLower(strings.TrimRightFunc(s, unicode.IsPunct))
}
