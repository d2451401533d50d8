package answer_test

import (
	"os"
	"strings"
	"testing"

	"plasticity/eval/answer"
)

// A pair is a line of testdata/pairs.txt.
type pair struct {
	section, a, b string
	same          bool
	differs       string // why math-verify judges otherwise, if it does
}

// readPairs reads testdata/pairs.txt.
func readPairs(t testing.TB) []pair {
	t.Helper()
	text, err := os.ReadFile("testdata/pairs.txt")
	if err != nil {
		t.Fatal(err)
	}
	var pairs []pair
	section := ""
	for line := range strings.Lines(string(text)) {
		line = strings.TrimRight(line, "\n")
		a, b, same := strings.Cut(line, " ⇔ ")
		if !same {
			var differs bool
			if a, b, differs = strings.Cut(line, " ≠ "); !differs {
				if reason, ok := strings.CutPrefix(line, "  "); ok {
					pairs[len(pairs)-1].differs = reason
				} else if line != "" {
					section = line
				}
				continue
			}
		}
		pairs = append(pairs, pair{section: section, a: a, b: b, same: same})
	}
	return pairs
}

func TestMath_Pairs(t *testing.T) {
	pairs := readPairs(t)
	if len(pairs) < 420 {
		t.Fatalf("only %d pairs were read", len(pairs))
	}
	for _, p := range pairs {
		if got := answer.Math.Equal(p.a, p.b); got != p.same {
			t.Errorf("%s: Equal(%s, %s) is %v", p.section, p.a, p.b, got)
		}
		if got := answer.Math.Equal(p.b, p.a); got != p.same {
			t.Errorf("%s: Equal(%s, %s) is %v, so it is not symmetric", p.section, p.b, p.a, got)
		}
	}
}

// What is the same must not depend on the shortcuts for equal texts: a pair of brackets around an answer changes no meaning.
func TestMath_Reflexive(t *testing.T) {
	for _, p := range readPairs(t) {
		for _, s := range []string{p.a, p.b} {
			if !answer.Math.Equal(s, s) {
				t.Errorf("%s is not equal to itself", s)
			}
			if !answer.Math.Equal(s, " "+s+`\,`) {
				t.Errorf("%s is not equal to itself with spaces", s)
			}
		}
	}
}
