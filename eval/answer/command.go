package answer

import (
	"math/big"
	"slices"
	"strings"
)

// command reads a command of LaTeX.
func (l *lexer) command() {
	rest := l.s[l.at+1:]
	n := 0
	for n < len(rest) && isLetter(rest[n]) {
		n++
	}
	if n == 0 {
		l.symbol(rest)
		return
	}
	name := rest[:n]
	l.at += 1 + n
	switch name {
	case "text", "textbf", "textit", "textrm", "textnormal", "mathrm", "mathbf", "mathit", "mathsf", "mbox", "operatorname", "rm":
		l.text()
	case "mathbb", "mathcal":
		l.emit(token{kind: tokenName, text: `\` + name + l.group()})
	case "left", "right", "big", "Big", "bigl", "bigr", "Bigl", "Bigr", "bigg", "Bigg":
		l.at += len(l.s[l.at:]) - len(strings.TrimPrefix(l.s[l.at:], ".")) // \left. draws nothing
	case "quad", "qquad", "displaystyle", "textstyle", "limits", "hline", "degree", "circ", "dfn", "overline", "underline",
		"vec", "hat", "bar", "overrightarrow", "boxed", "fbox", "cancel":
		l.spaced = true
	case "begin", "end":
		l.emit(token{kind: tokenCommand, text: name + " " + l.group()})
		if strings.HasSuffix(l.tokens[len(l.tokens)-1].text, "begin array") {
			l.group() // its columns
		}
	default:
		l.named(name)
	}
}

// named emits what a command without special syntax stands for.
func (l *lexer) named(name string) {
	if op := operatorOf(name); op != "" {
		switch op {
		case `\{`:
			l.depth++
		case `\}`:
			l.depth--
		}
		l.op(op)
		return
	}
	switch name {
	case "frac", "dfrac", "tfrac", "cfrac":
		l.emit(token{kind: tokenCommand, text: "frac"})
		l.digit()
	case "binom", "dbinom", "tbinom":
		l.emit(token{kind: tokenCommand, text: "binom"})
	case "sqrt":
		l.emit(token{kind: tokenCommand, text: "sqrt"})
	case "emptyset", "varnothing":
		l.emit(token{kind: tokenCommand, text: "emptyset"})
	case "infty":
		l.emit(token{kind: tokenName, text: infinity})
	case "imath":
		l.emit(token{kind: tokenName, text: "i"})
	default:
		if isFunction(name) {
			l.emit(token{kind: tokenFunc, text: name})
			return
		}
		l.emit(token{kind: tokenName, text: `\` + name})
	}
}

// digit reads the numerator of \frac12, which is one digit.
func (l *lexer) digit() {
	rest := strings.TrimLeft(l.s[l.at:], " ")
	if rest != "" && isDigit(rest[0]) {
		l.emit(token{kind: tokenNumber, value: big.NewRat(int64(rest[0]-'0'), 1)})
		l.at = len(l.s) - len(rest) + 1
	}
}

// operatorOf returns the operator that a command writes, or "".
func operatorOf(name string) string {
	switch name {
	case "cdot", "times", "ast":
		return "*"
	case "div":
		return "/"
	case "le", "leq", "leqslant":
		return "<="
	case "ge", "geq", "geqslant":
		return ">="
	case "ne", "neq":
		return "!="
	case "lt":
		return "<"
	case "gt":
		return ">"
	case "in", "approx", "equiv":
		return "="
	case "pm", "mp", "cup", "cap", "lfloor", "rfloor", "lceil", "rceil":
		return name
	case "setminus", "backslash":
		return "setminus"
	case "lvert", "rvert", "vert", "mid":
		return "|"
	case "lbrace":
		return `\{`
	case "rbrace":
		return `\}`
	default:
		return ""
	}
}

// isFunction reports whether name is a function of one argument that evaluate knows.
func isFunction(name string) bool {
	return slices.Contains([]string{
		"sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "sinh", "cosh", "tanh", "log", "ln", "exp",
	}, name)
}

// symbol reads a backslash before something that is no letter.
func (l *lexer) symbol(rest string) {
	l.at += 1 + min(1, len(rest))
	if rest == "" {
		return
	}
	switch c := rest[:1]; c {
	case "{":
		l.depth++
		l.op(`\{`)
	case "}":
		l.depth--
		l.op(`\}`)
	case "\\":
		l.op(`\\`)
	case "%":
		l.op("%")
	case "|":
		l.op("|")
	case " ", ",", ";", ":", "!", "\n":
		l.spaced = true
	case "$", "(", ")", "[", "]", "_", "&", "#": // marks of mathematics mode, currencies
	default:
		l.failed = true
	}
}

// group reads {…} without looking inside and returns its content.
func (l *lexer) group() string {
	rest := strings.TrimLeft(l.s[l.at:], " ")
	if !strings.HasPrefix(rest, "{") {
		return ""
	}
	depth := 0
	for i := range len(rest) {
		switch rest[i] {
		case '{':
			depth++
		case '}':
			depth--
		}
		if depth == 0 {
			l.at = len(l.s) - len(rest) + i + 1
			return rest[1:i]
		}
	}
	l.failed = true
	return ""
}

// text reads the group of \text or a font. A number or a function is what it would be without.
func (l *lexer) text() {
	content := strings.TrimSpace(l.group())
	word := strings.Trim(content, "(). ")
	switch {
	case word == "":
		l.spaced = true
	case isFunction(word) || connective(word) || percentage(word):
		l.emit(token{kind: tokenRun, text: word})
	case strings.IndexFunc(word, func(r rune) bool { return r < '0' || r > '9' }) < 0:
		inner := &lexer{s: word}
		inner.number()
		l.failed = l.failed || inner.failed
		l.tokens = append(l.tokens, inner.tokens...)
	default:
		l.emit(token{kind: tokenText, text: foldText(word)})
	}
}

func connective(word string) bool { return word == "and" || word == "or" }

func percentage(word string) bool { return word == "percent" || word == "percentage" || word == "pct" }

// expand makes names, functions and words of runs of letters. A run of up to three letters is a product of variables; a
// longer one is a word, which is one name.
func expand(tokens []token) []token {
	var out []token
	for _, t := range tokens {
		word := strings.ToLower(t.text)
		switch {
		case t.kind == tokenText:
			out = append(out, token{kind: tokenName, text: t.text, spaced: t.spaced})
		case t.kind != tokenRun:
			out = append(out, t)
		case connective(word):
			out = append(out, token{kind: tokenOp, text: ","})
		case percentage(word):
			out = append(out, token{kind: tokenOp, text: "%"})
		case word == "inf" || word == "infinity" || word == "infty":
			out = append(out, token{kind: tokenName, text: infinity})
		case word == "pi":
			out = append(out, token{kind: tokenName, text: `\pi`})
		case word == "sqrt":
			out = append(out, token{kind: tokenCommand, text: "sqrt"})
		case isFunction(word):
			out = append(out, token{kind: tokenFunc, text: word})
		case len(word) > 3:
			out = append(out, token{kind: tokenName, text: word, spaced: t.spaced})
		default:
			for i := range len(word) {
				out = append(out, token{kind: tokenName, text: word[i : i+1], spaced: t.spaced && i == 0})
			}
		}
	}
	// "1, and 2" has one separator.
	return slices.CompactFunc(out, func(a, b token) bool { return a.is(",") && b.is(",") })
}
