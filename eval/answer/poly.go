package answer

import (
	"encoding/binary"
	"maps"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

// A monomial is a product of powers of atoms: four bytes each, the number of the atom and the exponent, in order of the
// atoms. So it is a key of a map.
type monomial string

// A poly is a polynomial with rational coefficients, none of which is zero.
type poly map[monomial]*big.Rat

// An atom is what a polynomial is a polynomial in.
type atom struct {
	key string
	// degree and power say that the atom to the degree is the power, so no higher exponents stand: i² is -1. A degree of 0
	// means that the atom is free.
	degree int
	power  *big.Rat
}

// An algebra knows the atoms of one comparison and how much work is left. Its methods that return ok answer false when a
// limit is hit.
type algebra struct {
	atoms []atom
	index map[string]int
	// decisive says that different polynomials in these atoms are different numbers or functions. It holds for variables, π,
	// e, i and square roots of primes; it does not for values of functions.
	decisive bool
	steps    int
}

func newAlgebra() *algebra {
	return &algebra{index: map[string]int{}, decisive: true, steps: maxSteps}
}

// spend takes n steps from the budget.
func (a *algebra) spend(n int) bool {
	a.steps -= n
	return a.steps >= 0
}

func (a *algebra) atom(key string, degree int, power *big.Rat) (p poly, ok bool) {
	i, known := a.index[key]
	if !known {
		if i = len(a.atoms); i == maxAtoms {
			return nil, false
		}
		a.atoms = append(a.atoms, atom{key, degree, power})
		a.index[key] = i
	}
	return poly{monomial(appendPower(nil, i, 1)): big.NewRat(1, 1)}, true
}

func appendPower(m []byte, atom, exponent int) []byte {
	m = binary.BigEndian.AppendUint16(m, uint16(atom))
	return binary.BigEndian.AppendUint16(m, uint16(exponent))
}

func powerAt(m monomial, i int) (atom, exponent int) {
	return int(m[i])<<8 | int(m[i+1]), int(m[i+2])<<8 | int(m[i+3])
}

func constant(v *big.Rat) poly {
	if v.Sign() == 0 {
		return poly{}
	}
	return poly{"": v}
}

// rational returns the value of p if it is a number.
func (p poly) rational() (v *big.Rat, ok bool) {
	switch len(p) {
	case 0:
		return new(big.Rat), true
	case 1:
		v, ok = p[""]
	}
	return v, ok
}

// monomials returns those of p in a fixed order.
func (p poly) monomials() []monomial { return slices.Sorted(maps.Keys(p)) }

func (p poly) scale(v *big.Rat) poly {
	out := make(poly, len(p))
	for m, c := range p {
		out[m] = new(big.Rat).Mul(c, v)
	}
	return out
}

// add adds c·m to p in place.
func (a *algebra) add(p poly, m monomial, c *big.Rat) bool {
	sum, ok := p[m]
	if !ok {
		if len(p) == maxTerms {
			return false
		}
		sum = new(big.Rat)
	}
	sum = new(big.Rat).Add(sum, c)
	// Numbers cost by their length, squared because a fraction is reduced.
	words := (sum.Num().BitLen() + sum.Denom().BitLen()) / 256
	if !small(sum) || !a.spend(1+words*words) {
		return false
	}
	if sum.Sign() == 0 {
		delete(p, m)
	} else {
		p[m] = sum
	}
	return true
}

func small(v *big.Rat) bool { return v.Num().BitLen() <= maxBits && v.Denom().BitLen() <= maxBits }

func (a *algebra) sum(p, q poly) (sum poly, ok bool) {
	sum = maps.Clone(p)
	for m, c := range q {
		if !a.add(sum, m, c) {
			return nil, false
		}
	}
	return sum, true
}

func (a *algebra) product(p, q poly) (out poly, ok bool) {
	out = poly{}
	for _, m := range p.monomials() {
		for _, n := range q.monomials() {
			c := new(big.Rat).Mul(p[m], q[n])
			product, ok := a.join(m, n, c)
			if !ok || !a.add(out, product, c) {
				return nil, false
			}
		}
	}
	return out, true
}

// join multiplies monomials; powers of atoms that are known go into c.
func (a *algebra) join(m, n monomial, c *big.Rat) (product monomial, ok bool) {
	out := make([]byte, 0, len(m)+len(n))
	i, j := 0, 0
	for i < len(m) || j < len(n) {
		var at, exponent int
		switch {
		case j == len(n) || i < len(m) && m[i:i+2] < n[j:j+2]:
			at, exponent = powerAt(m, i)
			i += 4
		case i == len(m) || n[j:j+2] < m[i:i+2]:
			at, exponent = powerAt(n, j)
			j += 4
		default:
			_, more := powerAt(m, i)
			at, exponent = powerAt(n, j)
			exponent += more
			i, j = i+4, j+4
		}
		if d := a.atoms[at].degree; d > 0 && exponent >= d {
			c.Mul(c, a.atoms[at].power) // both exponents were below the degree
			exponent -= d
		}
		if exponent > maxExponent || !a.spend(1) {
			return "", false
		}
		if exponent > 0 {
			out = appendPower(out, at, exponent)
		}
	}
	return monomial(out), true
}

// write appends p to b in a form that equal polynomials share.
func (a *algebra) write(b *strings.Builder, p poly) bool {
	for _, m := range p.monomials() {
		words := (p[m].Num().BitLen() + p[m].Denom().BitLen()) / 64
		if !a.spend(1 + len(m)/4 + words) {
			return false
		}
		b.WriteString(p[m].RatString())
		for i := 0; i < len(m); i += 4 {
			at, exponent := powerAt(m, i)
			b.WriteString("·" + strconv.Itoa(at) + "^" + strconv.Itoa(exponent))
		}
		b.WriteByte('+')
	}
	b.WriteByte(';')
	return true
}
