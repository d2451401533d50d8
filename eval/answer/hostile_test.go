package answer_test

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"plasticity/eval/answer"
)

// limit is how long one comparison may take here; the budget of steps keeps it far below, on any machine.
const limit = time.Second

// judged compares two strings in both directions and fails if that takes long, or depends on the direction.
func judged(t *testing.T, a, b string) bool {
	t.Helper()
	start := time.Now()
	same := answer.Math.Equal(a, b)
	other := answer.Math.Equal(b, a)
	if d := time.Since(start); d > 2*limit {
		t.Errorf("%v for %.200q and %.200q", d, a, b)
	}
	if same != other {
		t.Errorf("not symmetric: %.200q and %.200q", a, b)
	}
	if strings.TrimSpace(a) != "" && !answer.Math.Equal(a, a) {
		t.Errorf("not equal to itself: %.200q", a)
	}
	return same
}

func TestMath_Hostile(t *testing.T) {
	deep := func(open, middle, shut string, n int) string {
		return strings.Repeat(open, n) + middle + strings.Repeat(shut, n)
	}
	strange := []string{
		deep("{", "1", "}", 2000), deep("(", "1", ")", 2000), deep(`\{`, "1", `\}`, 900), deep(`\sqrt{`, "2", "}", 600),
		deep(`\frac{1}{`, "x", "}", 400), deep("|", "x", "|", 1000), deep("-", "1", "", 4000), deep("2^{", "2", "}", 1000),
		deep(`\boxed{`, "1", "}", 500), deep(`\sin(x+`, "x", ")", 13), deep(`\{1,`, "2", `\}`, 13), deep("(1,", "2", ")", 39),
		strings.Repeat("2^", 2000) + "2", "9" + strings.Repeat("!", 1000), strings.Repeat("9", 4000), strings.Repeat("9", 500) + "!",
		strings.Repeat("1,", 2000), strings.Repeat(`1\pm`, 800) + "1", strings.Repeat("x", 1000), strings.Repeat("x^2+", 1000) + "1",
		strings.Repeat("%", 3000), "5" + strings.Repeat("%", 3000), strings.Repeat("1/", 2000) + "3", strings.Repeat(`\cup`, 1000),
		strings.Repeat(`(1,2)\cup`, 200) + "(1,2)", strings.Repeat("(x+y+z+w)", 100), "(a+b+c+d+e+f+g+h)^{1000}", "(x+1)^{1000}",
		"(x+1)^{99999999999999999999}", "2^{9999999999}", "2^{-9999999999}", "9^{9^{9^9}}", "(2^{8000})^{1000}", "0^0", "0^{-1}",
		`\frac{1}{0}`, `\frac{0}{0}`, "1/0", `\infty-\infty`, `0\cdot\infty`, `\log 0`, `\ln(-1)`, `\log_1 5`, `\log_0 0`, `\tan\frac{\pi}{2}`,
		`\sqrt{-1}`, `\sqrt[0]{5}`, `\sqrt[-2]{5}`, `\sqrt[1000000]{5}`, `\sqrt[4]{-16}`, `\sqrt{` + strings.Repeat("7", 2000) + "}",
		`\sqrt[64]{` + strings.Repeat("7", 100) + "}", `\binom{1000000}{500000}`, `\binom{1000}{500}`, `\binom{-1}{2}`, "1000000!", "1000!", "(-5)!", "2.5!",
		`\begin{pmatrix}`, `\begin{pmatrix}1`, `\begin{pmatrix}\end{pmatrix}`, `\end{pmatrix}`, `\begin{pmatrix}1&\\&2\end{pmatrix}`,
		`\begin{pmatrix}` + strings.Repeat(`1\\`, 500) + `\end{pmatrix}`, `0.\overline{` + strings.Repeat("3", 3000) + "}", `0.\overline{}`, `0.\overline{x}`,
		`\`, `\\`, "{", "}", "{}", "()", `\{\}`, "[", "(1", "1)", "1_", "_1", "^", "^2", "x^", "x_{", "||", "|", `\frac`, `\frac{`, `\frac1`, `\sqrt`, `\sqrt[`,
		`\text{`, `\text{}`, `\text`, `\left`, `\left.`, "=", "x=", "=x", "<", "1<", "1<2<3<4<5", ",", ",,", "1,,2", "1,", ".", "..", "1..2", "$", "$$", "%", "\x00", "\xff\xfe",
		"é", "½½", "−−", "²", "∞^∞", "√", "√2", "1 2 3 4", "1 000 000", "- 5", "+-+-5", "5-", "5+", "5*", "e", "i", "ie", `\pi\pi`, "x!", "x%", "x_x_x",
		strings.Repeat("é", 3000), strings.Repeat("½", 1500), strings.Repeat("x", 1<<20), strings.Repeat("{", 1<<20), strings.Repeat(`\frac{1}{2}`, 1<<16),
	}
	// Each beside itself with another space, beside the next and beside what most hold.
	for i, s := range strange {
		judged(t, s, s+" ")
		judged(t, s, s+"+0")
		judged(t, s, strange[(i+1)%len(strange)])
		judged(t, s, "1")
	}
	for _, nothing := range []string{`\frac{1}{0}`, `\frac{0}{0}`, "0^{-1}", `\infty-\infty`, `\log 0`} {
		for _, number := range []string{"0", "1", "x", `\infty`} {
			if judged(t, nothing, number) {
				t.Errorf("%s has no value and is %s", nothing, number)
			}
		}
	}
}

// mutated returns an answer of the pairs, or several in a row, with pieces cut, doubled, moved and replaced.
func mutated(r *rand.Rand, answers []string) string {
	s := answers[r.IntN(len(answers))]
	pieces := []string{
		"{", "}", "(", ")", "[", "]", `\{`, `\}`, "^", "_", "!", "%", "|", "-", `\pm`, ",", "=", "<", `\frac`, `\sqrt`, `\sqrt[`, "9", "99999", "x", "i", "e",
		`\infty`, `\cup`, `\text{`, `\begin{pmatrix}`, `\\`, "&", " ", ".", "^{99", `\ln`, `\sin`, "0", "/", "\x80", "é", "$",
	}
	for range 1 + r.IntN(6) {
		i := r.IntN(len(s) + 1)
		j := i + r.IntN(len(s)-i+1)
		switch r.IntN(5) {
		case 0:
			s = s[:i] + s[j:]
		case 1:
			s = s[:i] + strings.Repeat(s[i:j], 1+r.IntN(4)) + s[j:]
		case 2:
			s = s[:i] + pieces[r.IntN(len(pieces))] + s[j:]
		case 3:
			s = s[:i] + strings.Repeat(pieces[r.IntN(len(pieces))], 1+r.IntN(50)) + s[i:]
		default:
			s = s[:i] + answers[r.IntN(len(answers))] + s[i:]
		}
		if len(s) > 3000 {
			s = s[:3000]
		}
	}
	return s
}

func TestMath_TenThousandHostile(t *testing.T) {
	var answers []string
	for _, p := range readPairs(t) {
		answers = append(answers, p.a, p.b)
	}
	r := rand.New(rand.NewPCG(20, 26))
	for range 10_000 {
		a := mutated(r, answers)
		b := a + "+0"
		if r.IntN(2) == 0 {
			b = mutated(r, answers)
		}
		judged(t, a, b)
		answer.Extract(a + "answer is " + b)
	}
}

func FuzzMath(f *testing.F) {
	for _, p := range readPairs(f) {
		f.Add(p.a, p.b)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		judged(t, a, b)
		for _, kind := range []answer.Kind{answer.Letter, answer.Word} {
			if kind.Equal(a, b) != kind.Equal(b, a) {
				t.Errorf("%v is not symmetric: %q and %q", kind, a, b)
			}
		}
	})
}

func FuzzExtract(f *testing.F) {
	f.Add(`so \boxed{\frac{1}{2}} and the answer is: 5. Then`)
	f.Fuzz(func(t *testing.T, response string) {
		for _, extract := range []func(string) (string, bool){answer.Extract, answer.ExtractTail} {
			got, ok := extract(response)
			if ok != (got != "") || strings.TrimSpace(got) != got || !strings.Contains(response, got) {
				t.Errorf("%q, %v from %q", got, ok, response)
			}
		}
	})
}
