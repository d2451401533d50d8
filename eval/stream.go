package eval

import (
	"strings"
	"unicode/utf8"

	"plasticity/data"
)

// streamer turns tokens into text. It holds back a character that is not complete yet and what may become one of the texts
// that end a continuation.
type streamer struct {
	tokenizer *data.Tokenizer    // nil: there is no text
	emit      func(string) error // may be nil
	stops     []string
	all       strings.Builder
	pending   []byte // of a character
	held      string // valid, the beginning of a stop
	stopped   bool
}

// add adds a token; after it has said that the text is stopped, nothing may follow.
func (s *streamer) add(id int32) (stopped bool, err error) {
	if s.tokenizer == nil {
		return false, nil
	}
	s.pending = append(s.pending, s.tokenizer.Bytes(id)...)
	return s.pass(false)
}

// finish passes on what was held back, unless a stop has ended the text.
func (s *streamer) finish() error {
	if s.stopped {
		return nil
	}
	_, err := s.pass(true)
	return err
}

// pass sends what is complete, at the end all of it.
func (s *streamer) pass(end bool) (stopped bool, err error) {
	text, used := validText(s.pending, end)
	s.pending = s.pending[used:]
	text = s.held + text
	s.held = ""
	if at := firstOf(text, s.stops); at >= 0 {
		s.stopped = true
		return true, s.send(text[:at])
	}
	if !end {
		keep := beginning(text, s.stops)
		text, s.held = text[:len(text)-keep], text[len(text)-keep:]
	}
	return false, s.send(text)
}

func (s *streamer) send(text string) error {
	s.all.WriteString(text)
	if s.emit == nil || text == "" {
		return nil
	}
	return s.emit(text)
}

// firstOf is where the first of the stops begins in a text; −1 without any.
func firstOf(text string, stops []string) int {
	first := -1
	for _, stop := range stops {
		if at := strings.Index(text, stop); at >= 0 && (first < 0 || at < first) {
			first = at
		}
	}
	return first
}

// beginning is the length of the longest end of a text that is the beginning of a stop.
func beginning(text string, stops []string) int {
	longest := 0
	for _, stop := range stops {
		for n := min(len(stop)-1, len(text)); n > longest; n-- {
			if strings.HasSuffix(text, stop[:n]) {
				longest = n
			}
		}
	}
	return longest
}

// validText is b as UTF-8, and how many of its bytes that took. What cannot become a character is one
// U+FFFD for each longest beginning of one, as Unicode recommends and Hugging Face's tokenizers do. Unless
// b is the end of a text, a beginning at its end is left for later.
func validText(b []byte, end bool) (text string, used int) {
	var out strings.Builder
	for used < len(b) {
		rest := b[used:]
		r, size := utf8.DecodeRune(rest)
		if r == utf8.RuneError && size == 1 {
			if !end && !utf8.FullRune(rest) {
				break
			}
			for size < len(rest) && !utf8.FullRune(rest[:size+1]) {
				size++
			}
		}
		out.WriteRune(r)
		used += size
	}
	return out.String(), used
}
