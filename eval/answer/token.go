package answer

import (
	"math/big"
	"strings"
)

// A tokenKind is the class of a token.
type tokenKind uint8

const (
	tokenOp      tokenKind = iota // an operator, bracket or separator; its name is in text
	tokenNumber                   // a number without sign
	tokenRun                      // letters as they stand; expand makes names, words and functions of them
	tokenName                     // a variable or a constant
	tokenCommand                  // frac, sqrt, binom, begin, end
	tokenFunc                     // sin, log, …
	tokenText                     // what stood in \text{…}
)

// A token is what the parser reads.
type token struct {
	kind    tokenKind
	text    string
	value   *big.Rat // of a number
	decimal bool     // the number has a decimal point
	spaced  bool     // white space stands before it
}

func (t token) is(op string) bool { return t.kind == tokenOp && t.text == op }

// A lexer cuts an answer into tokens. It forgets what only serves typesetting: fonts, \left and \right, spaces, currencies.
type lexer struct {
	s      string
	at     int
	tokens []token
	spaced bool
	depth  int  // of ( [ and \{, in which a comma separates and groups no thousands
	failed bool // there are too many tokens, or something without meaning
}

// tokenize returns the tokens of an answer; ok is false if it has none that make sense or too many.
func tokenize(s string) (tokens []token, ok bool) {
	l := &lexer{s: ascii(s)}
	for l.at < len(l.s) && !l.failed {
		l.next()
		l.failed = l.failed || len(l.tokens) > maxTokens
	}
	if l.failed {
		return nil, false
	}
	tokens = expand(stripUnits(l.tokens))
	return tokens, len(tokens) > 0 && len(tokens) <= maxTokens
}

// ascii writes the characters of mathematics in LaTeX.
func ascii(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) < 0 {
		return s
	}
	return strings.NewReplacer(
		"−", "-", "–", "-", "×", `\times `, "·", `\cdot `, "⋅", `\cdot `, "÷", `\div `, "π", `\pi `, "√", `\sqrt `,
		"∞", `\infty `, "≤", `\le `, "≥", `\ge `, "≠", `\ne `, "°", `^\circ `, "±", `\pm `, "∪", `\cup `, "∩", `\cap `,
		"²", "^2", "³", "^3", "½", `\frac12`, "¼", `\frac14`, "¾", `\frac34`, "€", `\$`, "£", `\$`, "¥", `\$`, "∅", `\emptyset `,
		"\u00a0", " ", "\u2009", " ", "\u202f", " ", "∈", `\in `, "θ", `\theta `, "α", `\alpha `, "β", `\beta `, "ℝ", `\mathbb{R}`,
	).Replace(s)
}

func (l *lexer) emit(t token) {
	t.spaced, l.spaced = l.spaced, false
	l.tokens = append(l.tokens, t)
}

func (l *lexer) op(text string) { l.emit(token{kind: tokenOp, text: text}) }

// next reads one token, or something that is none.
func (l *lexer) next() {
	c := l.s[l.at]
	rest := l.s[l.at:]
	switch {
	case c == '\\':
		l.command()
	case isDigit(c) || c == '.' && len(rest) > 1 && isDigit(rest[1]):
		l.number()
	case isLetter(c):
		n := 1
		for n < len(rest) && isLetter(rest[n]) {
			n++
		}
		l.emit(token{kind: tokenRun, text: rest[:n]})
		l.at += n
	case c == '^' && l.degrees(rest):
	case strings.ContainsRune("\t\n\r ~", rune(c)):
		l.spaced = true
		l.at++
	case strings.ContainsRune("$\"'`.?", rune(c)): // a period here ends the sentence
		l.at++
	default:
		l.punctuation(rest)
	}
}

// degrees skips ^\circ and what stands for it, with the letter of a temperature scale at the end.
func (l *lexer) degrees(rest string) bool {
	inner := strings.TrimLeft(rest[1:], " {")
	for _, sign := range []string{`\circ`, `\degree`} {
		after, ok := strings.CutPrefix(inner, sign)
		if !ok {
			continue
		}
		after = strings.TrimLeft(after, " ")
		if strings.Contains(rest[:len(rest)-len(inner)], "{") {
			after = strings.TrimPrefix(after, "}")
		}
		if scale := strings.Trim(after, " ."); scale == "C" || scale == "F" {
			after = ""
		}
		l.at = len(l.s) - len(after)
		return true
	}
	return false
}

func (l *lexer) punctuation(rest string) {
	for _, long := range []struct{ text, op string }{{"<=", "<="}, {">=", ">="}, {"!=", "!="}, {"**", "^"}} {
		if strings.HasPrefix(rest, long.text) {
			l.op(long.op)
			l.at += len(long.text)
			return
		}
	}
	c := rest[:1]
	switch c {
	case "(", "[":
		l.depth++
	case ")", "]":
		l.depth--
	case ":":
		c = "/" // a ratio
	case "+", "-", "*", "/", "^", "_", "{", "}", "|", "!", "%", ",", ";", "&", "<", ">", "=":
	default:
		l.failed = true
	}
	l.op(c)
	l.at++
}

// number reads digits with their thousands separators, decimals and an overline for what repeats.
func (l *lexer) number() {
	digits := l.digits()
	leading := len(digits)
	if n := len(l.tokens); n > 0 && l.tokens[n-1].is("_") {
		leading = 0 // log_5 125
	}
	for leading > 0 && leading <= 3 {
		n := l.separator()
		if n == 0 {
			break
		}
		digits += l.s[l.at+n : l.at+n+3]
		l.at += n + 3
	}
	value, ok := new(big.Rat).SetString("0" + digits)
	if !ok {
		l.failed = true
		return
	}
	t := token{kind: tokenNumber, value: value}
	if rest := l.s[l.at:]; len(rest) > 1 && rest[0] == '.' && (isDigit(rest[1]) || strings.HasPrefix(rest, `.\overline{`)) {
		l.at++
		decimals := l.digits()
		if decimals != "" {
			fraction, _ := new(big.Rat).SetString("0." + decimals)
			value.Add(value, fraction)
			t.decimal = true
		}
		l.repeating(&t, len(decimals))
	}
	l.emit(t)
}

// repeating adds \overline{…} after the given number of decimals; the number is exact then.
func (l *lexer) repeating(t *token, decimals int) {
	rest, ok := strings.CutPrefix(l.s[l.at:], `\overline{`)
	if !ok {
		return
	}
	period, _, ok := strings.Cut(rest, "}")
	repeated, isNumber := new(big.Int).SetString(period, 10)
	if !ok || !isNumber || repeated.Sign() < 0 || !isDigit(period[0]) {
		l.failed = true
		return
	}
	nines := new(big.Int).Sub(tenTo(len(period)), big.NewInt(1))
	nines.Mul(nines, tenTo(decimals))
	t.value.Add(t.value, new(big.Rat).SetFrac(repeated, nines))
	t.decimal = false
	l.at = len(l.s) - len(rest) + len(period) + 1
}

func tenTo(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

func (l *lexer) digits() string {
	start := l.at
	for l.at < len(l.s) && isDigit(l.s[l.at]) {
		l.at++
	}
	return l.s[start:l.at]
}

// separator returns the length of a thousands separator that stands here before exactly three digits, else 0.
func (l *lexer) separator() int {
	rest := l.s[l.at:]
	for _, separator := range []string{`{,}\!`, `{,}`, `,\!`, `\,`, `\ `, ` `, `,`} {
		after, ok := strings.CutPrefix(rest, separator)
		if !ok {
			continue
		}
		if separator == "," && l.depth > 0 || len(after) < 3 || len(after) > 3 && isDigit(after[3]) {
			return 0
		}
		for i := range 3 {
			if !isDigit(after[i]) {
				return 0
			}
		}
		return len(separator)
	}
	return 0
}
