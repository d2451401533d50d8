package answer

import (
	"math/big"
	"strings"
	"unicode"
)

// mathEqual reports whether two answers of kind [Math] are the same: as text, or by what they mean.
func mathEqual(a, b string) bool {
	a, b = strings.TrimSpace(a), strings.TrimSpace(b)
	if a == "" || b == "" {
		return false
	}
	if a == b {
		return true
	}
	if len(a) > maxLength || len(b) > maxLength {
		return false
	}
	if folded := foldText(a); folded != "" && folded == foldText(b) {
		return true
	}
	x, y := parse(a), parse(b)
	if x == nil || y == nil {
		return false
	}
	return (&judge{newAlgebra()}).equal(x, y)
}

// foldText writes a text in lower case, without fonts, spaces and a period at the end. Spaces between digits stay, so
// 1 2 is not 12.
func foldText(s string) string {
	for _, command := range []string{`\text{`, `\textbf{`, `\textit{`, `\mathrm{`, `\mathbf{`, `\mbox{`} {
		if rest, ok := strings.CutPrefix(s, command); ok && strings.Count(rest, "}") == 1 && strings.HasSuffix(rest, "}") {
			s = strings.TrimSuffix(rest, "}")
		}
	}
	s = strings.TrimSuffix(strings.TrimSpace(s), ".")
	var b strings.Builder
	var before rune
	space := false
	for _, r := range s {
		if unicode.IsSpace(r) {
			space = true
			continue
		}
		if space && unicode.IsDigit(before) && unicode.IsDigit(r) {
			b.WriteByte(' ')
		}
		b.WriteRune(unicode.ToLower(r))
		before, space = r, false
	}
	return b.String()
}

// A judge compares two trees. What it spends comes from the budget of its algebra.
type judge struct{ *algebra }

// equal reports whether two trees mean the same.
func (j *judge) equal(m, n *node) bool {
	if !j.spend(1) {
		return false
	}
	if m.isEquation() != n.isEquation() {
		if m.isEquation() {
			return j.equal(m.last(), n)
		}
		return j.equal(m, n.last())
	}
	switch {
	case m.isEquation():
		return j.equations(m, n)
	case m.op == opChain && n.op == opChain:
		return j.chains(m, n) || j.sameSpans(m, n)
	case m.op == opMatrix || n.op == opMatrix:
		return m.op == n.op && j.pairwise(m.args, n.args)
	case m.op == opSet || n.op == opSet:
		return j.sets(m, n)
	case m.op == opTuple && n.op == opTuple:
		return j.tuples(m, n)
	case isReal(m) && isReal(n):
		return j.sameSpans(m, n) || m.op == n.op && j.pairwise(m.args, n.args)
	case isReal(m) || isReal(n):
		return j.sameSpans(m, n)
	default:
		return j.scalars(m, n)
	}
}

// isReal reports whether n is a set of real numbers that spans describes.
func isReal(n *node) bool {
	return n.op == opTuple || n.op == opUnion || n.op == opMeet || n.op == opMinus || n.op == opChain
}

// pairwise compares elements in order.
func (j *judge) pairwise(m, n []*node) bool {
	if len(m) != len(n) {
		return false
	}
	for i := range m {
		if !j.equal(m[i], n[i]) {
			return false
		}
	}
	return true
}

// tuples compares tuples and intervals. The brackets count where there are two elements, which may be an interval.
func (j *judge) tuples(m, n *node) bool {
	if len(m.args) == 2 && (m.open != n.open || m.shut != n.shut) {
		return false
	}
	return j.pairwise(m.args, n.args)
}

// sets compares without order and without repetitions; what is no set is one with a single element, and a tuple with round
// brackets is taken for a set beside one.
func (j *judge) sets(m, n *node) bool {
	x, y := elements(m), elements(n)
	if len(x) > maxElements || len(y) > maxElements {
		return false
	}
	if j.within(x, y) && j.within(y, x) {
		return true
	}
	return (isReal(m) || isReal(n)) && j.sameSpans(m, n)
}

func elements(n *node) []*node {
	if n.op == opSet || n.op == opTuple && n.open == '(' && n.shut == ')' {
		return n.args
	}
	return []*node{n}
}

// within reports whether every element of x has an equal one in y.
func (j *judge) within(x, y []*node) bool {
	for _, m := range x {
		found := false
		for _, n := range y {
			if found = j.equal(m, n); found {
				break
			}
		}
		if !found {
			return false
		}
	}
	return true
}

// scalars compares numbers and expressions.
func (j *judge) scalars(m, n *node) bool {
	if m.base != "" || n.base != "" {
		return j.based(m, n)
	}
	if x, y := infinite(m), infinite(n); x != 0 || y != 0 {
		return x == y
	}
	if x, y := written(m), written(n); x != nil && y != nil && x.Cmp(y) == 0 {
		return true
	}
	if same, decided := j.exact(m, n); decided {
		return same
	}
	if m.isDecimal() || n.isDecimal() {
		return j.roundedValues(m, n)
	}
	return j.sameValues(m, n)
}

// exact compares normal forms; decided is false if these do not settle it.
func (j *judge) exact(m, n *node) (same, decided bool) {
	r, ok1 := j.ratio(m)
	s, ok2 := j.ratio(n)
	if !ok1 || !ok2 {
		return false, false
	}
	if len(r.below) == 0 || len(s.below) == 0 {
		return false, true
	}
	inexact := m.isDecimal() || n.isDecimal()
	x, isNumber := r.rational()
	y, also := s.rational()
	if isNumber && also {
		inexact = inexact && !m.isWhole() && !n.isWhole()
		return x.Cmp(y) == 0 || inexact && rounded(x).Cmp(rounded(y)) == 0, true
	}
	left, ok1 := j.product(r.above, s.below)
	right, ok2 := j.product(s.above, r.below)
	if !ok1 || !ok2 {
		return false, false
	}
	difference, ok := j.sum(left, right.scale(big.NewRat(-1, 1)))
	same = ok && len(difference) == 0
	return same, same || ok && j.decisive && !inexact
}

// based compares numbers of which at least one has its base below it. The base counts if both have one.
func (j *judge) based(m, n *node) bool {
	if m.base != "" && n.base != "" && m.base != n.base {
		return false
	}
	return m.op == opNumber && n.op == opNumber && m.value.Cmp(n.value) == 0
}

// infinite returns 1 for ∞, -1 for -∞ and else 0.
func infinite(n *node) int {
	sign := 1
	for n.op == opNegative {
		n, sign = n.args[0], -sign
	}
	if n.op == opName && n.name == infinity {
		return sign
	}
	return 0
}

// written returns the integer that n is or is percent of; nil if it is neither. So 50% is 50.
func written(n *node) *big.Rat {
	switch {
	case n.isInteger():
		return n.value
	case n.op == opPercent:
		return written(n.args[0])
	case n.op == opNegative:
		if v := written(n.args[0]); v != nil {
			return new(big.Rat).Neg(v)
		}
	}
	return nil
}

// roundedValues compares a decimal number with an expression that has no exact rational value.
func (j *judge) roundedValues(m, n *node) bool {
	x, ok1 := j.value(m, 0)
	y, ok2 := j.value(n, 0)
	if !ok1 || !ok2 || imag(x) != 0 || imag(y) != 0 || hasVariable(m) || hasVariable(n) {
		return false
	}
	return rounded(new(big.Rat).SetFloat64(real(x))).Cmp(rounded(new(big.Rat).SetFloat64(real(y)))) == 0
}

func hasVariable(n *node) bool {
	if n.op == opName && n.name != "e" && n.name != "i" && n.name != `\pi` && n.name != infinity {
		return true
	}
	for _, arg := range n.args {
		if hasVariable(arg) {
			return true
		}
	}
	return false
}
