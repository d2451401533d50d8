package task

import (
	"regexp"
	"strings"
)

// boxed returns what stands in the last \boxed or \fbox of a text, braces matched; ok is false without one.
func boxed(s string) (content string, ok bool) {
	for _, command := range []string{`\boxed`, `\fbox`} {
		at := strings.LastIndex(s, command)
		if at < 0 {
			continue
		}
		rest := s[at+len(command):]
		if word, spaced := strings.CutPrefix(rest, " "); spaced { // \boxed 5$
			word, _, _ = strings.Cut(word, "$")
			word = strings.TrimSpace(word)
			return word, word != ""
		}
		if content, ok := braced(rest); ok {
			return content, content != ""
		}
	}
	return "", false
}

// braced returns what stands in the braces that s begins with.
func braced(s string) (string, bool) {
	if !strings.HasPrefix(s, "{") {
		return "", false
	}
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return strings.TrimSpace(s[1:i]), true
			}
		}
	}
	return "", false
}

// afterLast returns what follows the last mark on its line, without a full stop at the end.
func afterLast(s, mark string) (string, bool) {
	at := strings.LastIndex(s, mark)
	if at < 0 {
		return "", false
	}
	line, _, _ := strings.Cut(s[at+len(mark):], "\n")
	line = strings.TrimSuffix(strings.TrimSpace(line), ".")
	return line, line != ""
}

// letterEnd finds an answer by letter in many wordings, markup included.
var letterEnd = regexp.MustCompile(`[*_#\s]*(?i:(?:\b(?:therefore|so|thus|hence),?\s+)?(?:\bthe\s+)?(?:\b(?:final|correct|best)\s+)?` +
	`\banswer(?:\s+is)?)[\s*_]*:?[\s*_(\[]*([A-Z])\b[)\].*_]*`)

// maxAfterLetter is how much may follow the letter, such as the text of the option.
const maxAfterLetter = 300

// letterEnding cuts the answer by letter off the end of a response, whatever its wording. ok is false when no letter up
// to last stands at the end.
func letterEnding(response string, last byte) (steps, letter string, ok bool) {
	found := letterEnd.FindAllStringSubmatchIndex(response, -1)
	if len(found) == 0 {
		return "", "", false
	}
	at := found[len(found)-1]
	letter = response[at[2]:at[3]]
	if letter < "A" || letter > string(last) || len(response)-at[1] > maxAfterLetter {
		return "", "", false
	}
	return strings.TrimSpace(response[:at[0]]), letter, true
}

// withLetter puts the answer behind the steps, in the words of all tasks by letter.
func withLetter(steps, letter string) string {
	return strings.TrimSpace(steps + "\nThe answer is " + letter + ".")
}

// lettered puts options on lines of their own: "A. one".
func lettered(options []string) string {
	lines := make([]string, len(options))
	for i, option := range options {
		lines[i] = letterOf(i) + ". " + option
	}
	return strings.Join(lines, "\n")
}
