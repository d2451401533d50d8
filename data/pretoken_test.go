package data

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// pretokens cuts a text into its pre-tokens.
func pretokens(s string) []string {
	var words []string
	for i := 0; i < len(s); {
		end := pretokenEnd(s, i)
		words = append(words, s[i:end])
		i = end
	}
	return words
}

// slowPretokens does the same with the pattern of GPT-2 itself. Go's regexp has no look-ahead: the alternative \s+(?!\S)
// is done by hand.
func slowPretokens(s string) []string {
	pattern := regexp.MustCompile(`^(?:'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}\x0b\x{85}\p{Z}]+|[\s\x0b\x{85}\p{Z}]+)`)
	var words []string
	for s != "" {
		word := pattern.FindString(s)
		if strings.TrimSpace(word) == "" && len(word) < len(s) && utf8.RuneCountInString(word) > 1 {
			_, last := utf8.DecodeLastRuneInString(word)
			word = word[:len(word)-last]
		}
		words = append(words, word)
		s = s[len(word):]
	}
	return words
}

func TestPretokenEnd_Table(t *testing.T) {
	for text, want := range map[string][]string{
		"Hello world!":     {"Hello", " world", "!"},
		"don't we'll I'VE": {"don", "'t", " we", "'ll", " I", "'", "VE"},
		"a  b   c":         {"a", " ", " b", "  ", " c"},
		"end  ":            {"end", "  "},
		"x\n\ny":           {"x", "\n", "\n", "y"},
		" 's":              {" '", "s"},
		"3.14 ½²":          {"3", ".", "14", " ½²"},
		"naïve 中文\u3000字":  {"naïve", " 中文", "\u3000", "字"},
		"e\u0301":          {"e", "\u0301"},
		"\xff\xfea":        {"\xff\xfe", "a"},
		"\tif":             {"\t", "if"},
	} {
		if diff := cmp.Diff(want, pretokens(text)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

// hostileText draws texts in which all alternatives of the pattern meet.
func hostileText() *rapid.Generator[string] {
	parts := rapid.SampledFrom([]string{
		" ", " ", "\n", "\t", "\r\n", "\u00a0", "\u3000", "\u0085", "a", "it", "'s", "'ll", "'L", "'", "é", "中", "9", "½", "!", "-", "😀", "\u200b",
		"\u0301", "word", "  ", "<|endoftext|>",
	})
	return rapid.Custom(func(t *rapid.T) string { return strings.Join(rapid.SliceOf(parts).Draw(t, "parts"), "") })
}

func TestPretokenEnd_EqualsPattern(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(hostileText(), rapid.String()).Draw(t, "text")
		if diff := cmp.Diff(slowPretokens(text), pretokens(text)); diff != "" {
			t.Fatalf("%q (-want +got):\n%s", text, diff)
		}
	})
}

func TestLastBoundary_CutChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := hostileText().Draw(t, "text")
		rest := rapid.OneOf(hostileText(), rapid.String()).Draw(t, "rest")
		if i := rapid.IntRange(0, len(text)).Draw(t, "cut within a character"); rapid.Bool().Draw(t, "cut") {
			text, rest = text[:i], text[i:]+rest
		}
		cut := lastBoundary(text)
		whole := text + rest
		if got := append(pretokens(whole[:cut]), pretokens(whole[cut:])...); !slices.Equal(got, pretokens(whole)) {
			t.Fatalf("cut %q at %d: %q, want %q", whole, cut, got, pretokens(whole))
		}
	})
}
