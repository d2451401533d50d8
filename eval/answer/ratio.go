package answer

import (
	"math/big"
	"strings"
)

// A ratio is a quotient of polynomials. It is not reduced: p/q = r/s is decided by ps - qr, which needs no common divisors.
type ratio struct{ above, below poly }

func whole(p poly) ratio { return ratio{p, constant(big.NewRat(1, 1))} }

// rational returns the value of r if it is a number.
func (r ratio) rational() (v *big.Rat, ok bool) {
	above, ok := r.above.rational()
	below, also := r.below.rational()
	if !ok || !also || below.Sign() == 0 {
		return nil, false
	}
	return new(big.Rat).Quo(above, below), true
}

func (a *algebra) multiply(r, s ratio) (out ratio, ok bool) {
	if out.above, ok = a.product(r.above, s.above); !ok {
		return out, false
	}
	out.below, ok = a.product(r.below, s.below)
	return out, ok
}

func (a *algebra) plus(r, s ratio) (out ratio, ok bool) {
	// A number below is divided out, so that sums of fractions keep small numbers.
	left, ok1 := a.product(r.above, s.below)
	right, ok2 := a.product(s.above, r.below)
	if !ok1 || !ok2 {
		return out, false
	}
	if out.above, ok = a.sum(left, right); !ok {
		return out, false
	}
	if out.below, ok = a.product(r.below, s.below); !ok {
		return out, false
	}
	if v, isNumber := out.below.rational(); isNumber && v.Sign() != 0 {
		return whole(out.above.scale(new(big.Rat).Inv(v))), true
	}
	return out, true
}

func inverse(r ratio) (out ratio, ok bool) { return ratio{r.below, r.above}, len(r.above) > 0 }

// raise returns r to an integer power.
func (a *algebra) raise(r ratio, exponent int) (out ratio, ok bool) {
	if exponent < 0 {
		if r, ok = inverse(r); !ok {
			return r, false
		}
		exponent = -exponent
	}
	out = whole(constant(big.NewRat(1, 1)))
	if exponent == 0 {
		return out, len(r.above) > 0 // 0^0 has no value
	}
	for {
		if exponent&1 == 1 {
			if out, ok = a.multiply(out, r); !ok {
				return out, false
			}
		}
		if exponent >>= 1; exponent == 0 {
			return out, true
		}
		if r, ok = a.multiply(r, r); !ok {
			return out, false
		}
	}
}

// ratio returns the normal form of a tree; ok is false if it has none or a limit is hit.
func (a *algebra) ratio(n *node) (out ratio, ok bool) {
	if !a.spend(1) {
		return out, false
	}
	switch n.op {
	case opNumber:
		return whole(constant(n.value)), small(n.value)
	case opName:
		p, ok := a.name(n.name)
		return whole(p), ok
	case opSum:
		return a.fold(n.args, a.plus)
	case opProduct:
		return a.fold(n.args, a.multiply)
	case opInverse, opNegative, opPercent:
		r, ok := a.ratio(n.args[0])
		if !ok {
			return r, false
		}
		switch n.op {
		case opInverse:
			return inverse(r)
		case opNegative:
			return ratio{r.above.scale(big.NewRat(-1, 1)), r.below}, true
		}
		return ratio{r.above.scale(big.NewRat(1, 100)), r.below}, true
	case opPower:
		return a.power(n)
	case opRoot:
		return a.rootNode(n)
	case opFunction, opBinomial:
		return a.function(n)
	default:
		return out, false
	}
}

func (a *algebra) fold(args []*node, combine func(r, s ratio) (ratio, bool)) (out ratio, ok bool) {
	out, ok = a.ratio(args[0])
	for _, arg := range args[1:] {
		if !ok {
			return out, false
		}
		var next ratio
		if next, ok = a.ratio(arg); ok {
			out, ok = combine(out, next)
		}
	}
	return out, ok
}

func (a *algebra) name(name string) (p poly, ok bool) {
	switch name {
	case "i":
		return a.atom("i", 2, big.NewRat(-1, 1))
	case infinity: // no arithmetic with it
		return nil, false
	default:
		return a.atom(name, 0, nil)
	}
}

func (a *algebra) power(n *node) (out ratio, ok bool) {
	base, ok := a.ratio(n.args[0])
	if !ok {
		return out, false
	}
	exponent, ok := a.ratio(n.args[1])
	if !ok {
		return out, false
	}
	v, ok := exponent.rational()
	if !ok {
		return a.opaque("^", base, exponent)
	}
	p, q := v.Num(), v.Denom()
	if !p.IsInt64() || !q.IsInt64() || p.Int64() < -1<<16 || p.Int64() > 1<<16 {
		return out, false
	}
	if q.Int64() > 1 {
		if base, ok = a.root(base, q.Int64()); !ok {
			return out, false
		}
	}
	return a.raise(base, int(p.Int64()))
}

func (a *algebra) rootNode(n *node) (out ratio, ok bool) {
	base, ok := a.ratio(n.args[0])
	if !ok {
		return out, false
	}
	index, ok := a.ratio(n.args[1])
	if !ok {
		return out, false
	}
	v, ok := index.rational()
	if !ok || !v.IsInt() || !v.Num().IsInt64() || v.Num().Int64() < 2 {
		return out, false
	}
	return a.root(base, v.Num().Int64())
}

// root returns the q-th root of base.
func (a *algebra) root(base ratio, q int64) (out ratio, ok bool) {
	v, ok := base.rational()
	if !ok || q > 64 {
		return a.opaque("√", base, whole(constant(big.NewRat(q, 1))))
	}
	if v.Sign() >= 0 {
		return a.rationalRoot(v, int(q))
	}
	if out, ok = a.rationalRoot(new(big.Rat).Neg(v), int(q)); !ok {
		return out, false
	}
	if q%2 == 1 { // of the real numbers, as at school
		return ratio{out.above.scale(big.NewRat(-1, 1)), out.below}, true
	}
	if q != 2 {
		return out, false
	}
	i, ok := a.name("i")
	if !ok {
		return out, false
	}
	return a.multiply(out, whole(i))
}

// function returns |q|, n! and binomials of numbers exactly, and takes all else for an atom of its own.
func (a *algebra) function(n *node) (out ratio, ok bool) {
	args := make([]ratio, len(n.args))
	values := make([]*big.Rat, len(n.args))
	for i, arg := range n.args {
		if args[i], ok = a.ratio(arg); !ok {
			return out, false
		}
		values[i], _ = args[i].rational()
	}
	if v := exactValue(n, values); v != nil {
		return whole(constant(v)), small(v)
	}
	return a.opaque(n.name+"(", args...)
}

// exactValue returns what a function gives for rational numbers, or nil.
func exactValue(n *node, args []*big.Rat) *big.Rat {
	v := args[0]
	if v == nil {
		return nil
	}
	counts := v.IsInt() && v.Sign() >= 0 && v.Num().BitLen() < 10
	switch {
	case n.op == opBinomial:
		if k := args[1]; counts && k != nil && k.IsInt() && k.Sign() >= 0 && k.Cmp(v) <= 0 {
			return new(big.Rat).SetInt(new(big.Int).Binomial(v.Num().Int64(), k.Num().Int64()))
		}
	case n.name == "abs":
		return new(big.Rat).Abs(v)
	case n.name == "!" && counts:
		return new(big.Rat).SetInt(new(big.Int).MulRange(1, v.Num().Int64()))
	case n.name == "floor":
		return new(big.Rat).SetInt(floor(v))
	case n.name == "ceil":
		down := floor(new(big.Rat).Neg(v))
		return new(big.Rat).SetInt(down.Neg(down))
	}
	return nil
}

func floor(v *big.Rat) *big.Int { return new(big.Int).Div(v.Num(), v.Denom()) }

// opaque returns an atom for a function of args of which nothing more is known.
func (a *algebra) opaque(name string, args ...ratio) (out ratio, ok bool) {
	a.decisive = false
	var key strings.Builder
	key.WriteString(name)
	for _, arg := range args {
		if !a.write(&key, arg.above) || !a.write(&key, arg.below) {
			return out, false
		}
	}
	p, ok := a.atom(key.String(), 0, nil)
	return whole(p), ok
}
