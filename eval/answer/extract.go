package answer

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// tailLength is how many characters at the end of a response a vote looks at.
const tailLength = 128

// phrase announces an answer in a response without a box.
const phrase = "answer is"

// Extract returns the answer that a response gives, and whether it gives one: the content of the last complete \boxed{…}
// or \fbox{…} (or the word after "\boxed "), else what follows the last "answer is", in any case.
//
// What follows the phrase is cut to one sentence of one line: at the first line break, and at the first period that is
// followed by a space or the end, outside braces, so "The answer is 3.5. Then…" gives 3.5. Of a sentence with a colon, what
// follows the last colon is taken; when nothing follows it, as in "The answer is:", the next line that is not empty is.
// Spaces and the asterisks of Markdown around the answer go.
func Extract(response string) (string, bool) {
	if answer, ok := lastBoxed(response); ok {
		return answer, true
	}
	at := lastPhrase(response)
	if at < 0 {
		return "", false
	}
	for line := range strings.Lines(response[at+len(phrase):]) {
		sentence := firstSentence(strings.TrimSpace(line))
		if i := strings.LastIndexByte(sentence, ':'); i >= 0 {
			sentence = sentence[i+1:]
		}
		if answer := bare(sentence); answer != "" {
			return answer, true
		}
	}
	return "", false
}

// ExtractTail is [Extract] on the last 128 characters, which is all that a vote among responses looks at: an answer that is
// not at the end was given in passing.
func ExtractTail(response string) (string, bool) {
	start := len(response)
	for range tailLength {
		if start == 0 {
			break
		}
		_, size := utf8.DecodeLastRuneInString(response[:start])
		start -= size
	}
	return Extract(response[start:])
}

// lastBoxed returns the content of the last box that is complete and not empty. It goes through the response once, so a
// million unclosed boxes cost no more than their length.
func lastBoxed(response string) (answer string, ok bool) {
	type box struct{ start, depth int }
	var open []box
	depth, last := 0, -1
	for i := 0; i < len(response); i++ {
		switch response[i] {
		case '\\':
			n := boxCommand(response[i:])
			if n == 0 {
				i++ // an escaped brace opens and closes nothing
				continue
			}
			i += n - 1
			if next := response[i+1:]; strings.HasPrefix(strings.TrimLeftFunc(next, unicode.IsSpace), "{") {
				i += len(next) - len(strings.TrimLeftFunc(next, unicode.IsSpace)) + 1
				open = append(open, box{i + 1, depth})
				depth++
			} else if word := boxedWord(next); word != "" {
				answer, last = word, i
			}
		case '{':
			depth++
		case '}':
			depth--
			if n := len(open); n > 0 && open[n-1].depth == depth {
				// Of nested boxes the outer one, which closes last, began earlier; the inner one is what it shows.
				if text := strings.TrimSpace(response[open[n-1].start:i]); text != "" && open[n-1].start > last {
					answer, last = text, open[n-1].start
				}
				open = open[:n-1]
			}
		}
	}
	return answer, last >= 0
}

// boxCommand returns the length of the command with which s begins if that draws a box, else 0.
func boxCommand(s string) int {
	for _, command := range []string{`\boxed`, `\fbox`} {
		if rest, ok := strings.CutPrefix(s, command); ok && (rest == "" || !isLetter(rest[0])) {
			return len(command)
		}
	}
	return 0
}

// boxedWord returns the word after "\boxed " without braces.
func boxedWord(s string) string {
	word := strings.TrimLeft(s, " \t")
	if i := strings.IndexFunc(word, func(r rune) bool { return unicode.IsSpace(r) || r == '$' || r == '}' }); i >= 0 {
		word = word[:i]
	}
	return strings.TrimRight(word, ".,;")
}

// lastPhrase returns where the phrase stands last in s, in any case, or -1.
func lastPhrase(s string) int {
	for i := len(s) - len(phrase); i >= 0; i-- {
		if strings.EqualFold(s[i:i+len(phrase)], phrase) {
			return i
		}
	}
	return -1
}

// firstSentence cuts s after its first sentence and drops the period.
func firstSentence(s string) string {
	depth := 0
	for i := range len(s) {
		switch s[i] {
		case '{':
			depth++
		case '}':
			depth--
		case '.':
			if depth <= 0 && (i+1 == len(s) || s[i+1] == ' ' || s[i+1] == '\t') {
				return s[:i]
			}
		}
	}
	return s
}

// bare removes spaces and the marks of Markdown around an answer, and a period before such a mark.
func bare(s string) string {
	trimmed := strings.Trim(s, "* \t\r\n")
	if trimmed != s {
		trimmed = strings.TrimSuffix(trimmed, ".")
	}
	return strings.TrimSpace(trimmed)
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
