package answer

import "math/big"

// equations compares a = b with c = d: the same sides in either order, or differences of the sides that are multiples of
// each other, as those of x + y = 1 and 2x + 2y = 2 are. Of a = b = c the first and the last count.
func (j *judge) equations(m, n *node) bool {
	if j.equal(m.args[0], n.args[0]) && j.equal(m.last(), n.last()) {
		return true
	}
	if j.equal(m.args[0], n.last()) && j.equal(m.last(), n.args[0]) {
		return true
	}
	return j.multiples(m.args[0], m.last(), n.args[0], n.last(), false)
}

// chains compares inequalities: the same relations between the same parts, from the left or from the right, or one relation
// whose difference is a positive multiple of the other's.
func (j *judge) chains(m, n *node) bool {
	if sameRelations(m, n) && j.pairwise(m.args, n.args) {
		return true
	}
	turned := turn(n)
	if sameRelations(m, turned) && j.pairwise(m.args, turned.args) {
		return true
	}
	if len(m.relations) != 1 {
		return false
	}
	for _, other := range []*node{n, turned} {
		if sameRelations(m, other) {
			return j.multiples(m.args[0], m.args[1], other.args[0], other.args[1], m.relations[0] != "!=")
		}
	}
	return false
}

func sameRelations(m, n *node) bool {
	if len(m.relations) != len(n.relations) {
		return false
	}
	for i := range m.relations {
		if m.relations[i] != n.relations[i] {
			return false
		}
	}
	return true
}

// turn writes a chain from right to left.
func turn(n *node) *node {
	out := &node{op: opChain}
	for i := len(n.args) - 1; i >= 0; i-- {
		out.args = append(out.args, n.args[i])
	}
	for i := len(n.relations) - 1; i >= 0; i-- {
		r := n.relations[i]
		switch r[0] {
		case '<':
			r = ">" + r[1:]
		case '>':
			r = "<" + r[1:]
		}
		out.relations = append(out.relations, r)
	}
	return out
}

// multiples reports whether a - b is c - d times a number, which must be positive if positive is set.
func (j *judge) multiples(a, b, c, d *node, positive bool) bool {
	left, ok1 := j.ratio(apply(opSum, a, apply(opNegative, b)))
	right, ok2 := j.ratio(apply(opSum, c, apply(opNegative, d)))
	if !ok1 || !ok2 {
		return false
	}
	x, y := left.above, right.above
	below, isNumber := left.below.rational()
	belowRight, also := right.below.rational()
	if !isNumber || !also || below.Sign()*belowRight.Sign() == 0 || len(x) != len(y) || len(x) == 0 {
		return false
	}
	first := x.monomials()[0]
	if y[first] == nil {
		return false
	}
	factor := new(big.Rat).Quo(x[first], y[first])
	if positive && factor.Sign()*below.Sign()*belowRight.Sign() < 0 {
		return false
	}
	difference, ok := j.sum(x, y.scale(factor.Neg(factor)))
	return ok && len(difference) == 0
}
