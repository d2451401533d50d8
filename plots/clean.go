package plots

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
)

// clean makes foreign text fit for a figure: valid, one line, without control and direction marks, at most limit runes.
func clean(text string, limit int) string {
	var b strings.Builder
	n := 0
	for _, r := range strings.ToValidUTF8(text, "\uFFFD") {
		if unicode.IsSpace(r) {
			r = ' '
		}
		if !unicode.IsPrint(r) {
			continue
		}
		if n == limit {
			b.WriteRune('…')
			break
		}
		b.WriteRune(r)
		n++
	}
	return strings.TrimSpace(b.String())
}

// number writes a hyper-parameter in its shortest form: 0.1, 3e-05, 10.
func number(v float64) string {
	switch {
	case math.IsInf(v, 0):
		return strings.TrimPrefix(strings.Replace(fmt.Sprint(v), "Inf", "∞", 1), "+")
	case v != 0 && (math.Abs(v) < 1e-3 || math.Abs(v) >= 1e6):
		return strconv.FormatFloat(v, 'e', -1, 64)
	default:
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
}

// decimal writes a small rate without an exponent: 0.0003.
func decimal(v float64) string {
	if math.Abs(v) >= 1e-7 && math.Abs(v) < 1e6 {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return number(v)
}

// lambda writes a weight decay for people, with four digits that count; the CSV of points has all of them.
func lambda(v float64) string { return number(rounded(v, 4)) }

// short writes a number with three digits that count: 0.685, 6.85, 123.
func short(v float64) string {
	switch {
	case math.IsInf(v, 0) || math.IsNaN(v) || v == 0:
		return number(v)
	case math.Abs(v) >= 100 && math.Abs(v) < 1e6:
		return strconv.FormatFloat(v, 'f', 0, 64)
	default:
		return number(rounded(v, 3))
	}
}

// rounded rounds to so many digits that count.
func rounded(v float64, digits int) float64 {
	r, err := strconv.ParseFloat(strconv.FormatFloat(v, 'g', digits, 64), 64)
	if err != nil {
		return v
	}
	return r
}

// count writes a large whole number for people: 0.17M, 3.3M, 20B.
func count(v int64) string {
	f := float64(v)
	for _, unit := range []struct {
		size float64
		name string
	}{{1e12, "T"}, {1e9, "B"}, {1e5, "M"}, {1e3, "k"}} {
		if f >= unit.size {
			size := unit.size
			if unit.name == "M" {
				size = 1e6 // 170,000 parameters are 0.17M
			}
			digits := 2
			if f/size >= 100 {
				digits = 3
			}
			return strconv.FormatFloat(rounded(f/size, digits), 'f', -1, 64) + unit.name
		}
	}
	return strconv.FormatInt(v, 10)
}

// nats writes a loss, or a difference of losses, with four decimals.
func nats(v float64) string {
	if !finite(v) {
		return number(v)
	}
	if math.Abs(v) >= 1e6 {
		return minus(strconv.FormatFloat(v, 'e', 3, 64))
	}
	return minus(strconv.FormatFloat(v, 'f', 4, 64))
}

// minus sets the typographic minus.
func minus(text string) string { return strings.Replace(text, "-", "−", 1) }

// plural writes "1 run", "2 runs".
func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// was writes "1 run was", "2 runs were".
func was(n int, word string) string {
	if n == 1 {
		return plural(n, word) + " was"
	}
	return plural(n, word) + " were"
}
