package answer

import (
	"math/big"
	"strconv"
)

// primeLimit is up to where primes are taken out of a root one by one; what is left is one factor.
const primeLimit = 1000

// rationalRoot writes the q-th root of v, which is not negative, as a rational number times roots of primes: √(8/3) is
// (2/3)·√2·√3.
func (a *algebra) rationalRoot(v *big.Rat, q int) (out ratio, ok bool) {
	if !small(v) || v.Sign() == 0 {
		return whole(constant(v)), v.Sign() == 0
	}
	// (n/d)^(1/q) is (n·d^(q-1))^(1/q) / d
	rest := new(big.Int).Exp(v.Denom(), big.NewInt(int64(q-1)), nil)
	rest.Mul(rest, v.Num())
	if rest.BitLen() > maxBits {
		return out, false
	}
	out = whole(constant(new(big.Rat).SetFrac(big.NewInt(1), v.Denom())))
	one := big.NewInt(1)
	for prime := int64(2); prime < primeLimit && rest.Cmp(one) > 0; prime++ {
		divisor := big.NewInt(prime)
		times := a.divide(rest, divisor)
		if a.steps < 0 || times > 0 && !a.factor(&out, divisor, times, q) {
			return out, false
		}
	}
	return out, a.leftover(&out, rest, q)
}

// divide divides n by divisor as often as it can and returns how often.
func (a *algebra) divide(n, divisor *big.Int) (times int) {
	var quotient, remainder big.Int
	for a.spend(1 + n.BitLen()/512) {
		if quotient.QuoRem(n, divisor, &remainder); remainder.Sign() != 0 {
			break
		}
		n.Set(&quotient)
		times++
	}
	return times
}

// factor multiplies out by the q-th root of n^times.
func (a *algebra) factor(out *ratio, n *big.Int, times, q int) bool {
	coefficient := new(big.Int).Exp(n, big.NewInt(int64(times/q)), nil)
	out.above = out.above.scale(new(big.Rat).SetInt(coefficient))
	if times%q == 0 {
		return true
	}
	a.decisive = a.decisive && q == 2
	p, ok := a.atom("√"+strconv.Itoa(q)+" "+n.String(), q, new(big.Rat).SetInt(n))
	for range times % q {
		if ok {
			out.above, ok = a.product(out.above, p)
		}
	}
	return ok
}

// leftover multiplies out by the root of what has no small prime divisors: exactly if it is a power, else as one factor.
func (a *algebra) leftover(out *ratio, rest *big.Int, q int) bool {
	if rest.Cmp(big.NewInt(1)) == 0 {
		return true
	}
	if root := integerRoot(rest, q); root != nil {
		return a.factor(out, root, q, q)
	}
	if rest.Cmp(big.NewInt(primeLimit*primeLimit)) > 0 { // it may be no prime
		a.decisive = false
	}
	return a.factor(out, rest, 1, q)
}

// integerRoot returns the q-th root of n if that is an integer, else nil.
func integerRoot(n *big.Int, q int) *big.Int {
	low, high := big.NewInt(1), new(big.Int).Lsh(big.NewInt(1), uint(n.BitLen()/q+1))
	for low.Cmp(high) <= 0 {
		middle := new(big.Int).Add(low, high)
		middle.Rsh(middle, 1)
		switch new(big.Int).Exp(middle, big.NewInt(int64(q)), nil).Cmp(n) {
		case 0:
			return middle
		case -1:
			low = middle.Add(middle, big.NewInt(1))
		default:
			high = middle.Sub(middle, big.NewInt(1))
		}
	}
	return nil
}
