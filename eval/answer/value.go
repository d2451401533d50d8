package answer

import (
	"hash/fnv"
	"math"
	"math/big"
	"math/cmplx"
)

// points is at how many points expressions with variables are compared. At the first all variables are positive, so that
// roots and logarithms have their usual branch; at the second all are negative, since √(x²) is not x; then it varies.
const points = 4

// tolerance is the relative difference up to which values from float64 are the same, and floorTolerance the absolute one, for
// values that should be zero.
const (
	tolerance      = 1e-9
	floorTolerance = 1e-13
)

// near reports whether two values are the same but for rounding.
func near(x, y complex128) bool {
	d := cmplx.Abs(x - y)
	return d <= tolerance*max(cmplx.Abs(x), cmplx.Abs(y)) || d <= floorTolerance
}

// variable returns the value of a variable at a point. It depends on the name alone, so both sides of a comparison agree.
func variable(name string, point int) complex128 {
	h := fnv.New64a()
	h.Write([]byte(name)) // never fails
	sum := h.Sum64()
	v := 0.3 + float64(sum%100_003)/50_000 + 0.7*float64(point)
	if point == 1 || point > 1 && sum>>(20+uint(point))&1 == 1 {
		v = -v
	}
	return complex(v, 0)
}

// sameValues compares two trees at all points where both have values; at one they must.
func (a *algebra) sameValues(m, n *node) bool {
	compared := 0
	for point := range points {
		x, ok1 := a.value(m, point)
		y, ok2 := a.value(n, point)
		if ok1 != ok2 {
			return false
		}
		if !ok1 {
			continue
		}
		if !near(x, y) {
			return false
		}
		compared++
	}
	return compared > 0
}

// value returns what a tree is at a point; ok is false where it has no finite value.
func (a *algebra) value(n *node, point int) (v complex128, ok bool) {
	if !a.spend(1) {
		return 0, false
	}
	args := make([]complex128, len(n.args))
	for i, arg := range n.args {
		if args[i], ok = a.value(arg, point); !ok {
			return 0, false
		}
	}
	switch n.op {
	case opNumber:
		f, _ := n.value.Float64()
		v = complex(f, 0)
	case opName:
		v = valueOfName(n.name, point)
	case opSum:
		for _, x := range args {
			v += x
		}
	case opProduct:
		v = 1
		for _, x := range args {
			v *= x
		}
	case opInverse:
		v = 1 / args[0]
	case opNegative:
		v = -args[0]
	case opPercent:
		v = args[0] / 100
	case opPower:
		v = power(args[0], args[1])
	case opRoot:
		v = root(args[0], args[1])
	case opFunction:
		v = function(n.name, args)
	case opBinomial:
		v = function("!", args[:1]) / function("!", args[1:]) / function("!", []complex128{args[0] - args[1]})
	default:
		return 0, false
	}
	return v, !cmplx.IsNaN(v) && !cmplx.IsInf(v)
}

func valueOfName(name string, point int) complex128 {
	switch name {
	case "e":
		return math.E
	case `\pi`:
		return math.Pi
	case "i":
		return 1i
	case infinity:
		return cmplx.Inf()
	default:
		return variable(name, point)
	}
}

func power(x, y complex128) complex128 {
	if imag(x) == 0 && imag(y) == 0 { // exact for integers, and real where it can be
		if v := math.Pow(real(x), real(y)); !math.IsNaN(v) {
			return complex(v, 0)
		}
	}
	return cmplx.Pow(x, y)
}

// root returns the principal root, or the real one of a negative number if the index is odd.
func root(x, index complex128) complex128 {
	if imag(x) == 0 && real(x) < 0 && imag(index) == 0 && math.Mod(real(index), 2) == 1 {
		return complex(-math.Pow(-real(x), 1/real(index)), 0)
	}
	return power(x, 1/index)
}

func function(name string, args []complex128) complex128 {
	x := args[0]
	switch name {
	case "abs":
		return complex(cmplx.Abs(x), 0)
	case "ln":
		return cmplx.Log(x)
	case "log":
		return cmplx.Log(x) / cmplx.Log(args[1])
	case "exp":
		return cmplx.Exp(x)
	case "sin":
		return cmplx.Sin(x)
	case "cos":
		return cmplx.Cos(x)
	case "tan":
		return cmplx.Tan(x)
	case "cot":
		return 1 / cmplx.Tan(x)
	case "sec":
		return 1 / cmplx.Cos(x)
	case "csc":
		return 1 / cmplx.Sin(x)
	case "arcsin":
		return cmplx.Asin(x)
	case "arccos":
		return cmplx.Acos(x)
	case "arctan":
		return cmplx.Atan(x)
	case "sinh":
		return cmplx.Sinh(x)
	case "cosh":
		return cmplx.Cosh(x)
	case "tanh":
		return cmplx.Tanh(x)
	}
	if imag(x) != 0 {
		return cmplx.NaN()
	}
	switch name {
	case "floor":
		return complex(math.Floor(real(x)), 0)
	case "ceil":
		return complex(math.Ceil(real(x)), 0)
	case "!":
		return complex(math.Gamma(real(x)+1), 0)
	default:
		return cmplx.NaN()
	}
}

// places is how many decimals of a decimal number count.
const places = 6

// rounded returns v times 10^places as an integer, halves to even.
func rounded(v *big.Rat) *big.Int {
	scaled := new(big.Rat).Mul(v, new(big.Rat).SetInt(tenTo(places)))
	twice := new(big.Rat).Add(scaled, big.NewRat(1, 2))
	up := floor(twice)
	if twice.IsInt() && up.Bit(0) == 1 {
		up.Sub(up, big.NewInt(1))
	}
	return up
}
