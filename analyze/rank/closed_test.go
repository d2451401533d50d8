package rank

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"
)

// orthonormal makes size random orthonormal rows of length width.
func orthonormal(seed uint64, size, width int) *mat.Dense {
	r := rand.New(rand.NewPCG(seed, 1))
	random := mat.NewDense(width, size, nil)
	random.Apply(func(_, _ int, _ float64) float64 { return r.NormFloat64() }, random)
	var qr mat.QR
	qr.Factorize(random)
	var q mat.Dense
	qr.QTo(&q)
	return mat.DenseCopyOf(q.Slice(0, width, 0, size).T())
}

// scaled multiplies each row by its factor.
func scaled(rows *mat.Dense, factors ...float64) *mat.Dense {
	var out mat.Dense
	out.Mul(mat.NewDiagDense(len(factors), factors), rows)
	return &out
}

func repeated(x float64, n int) []float64 { return slices.Repeat([]float64{x}, n) }

// pairOf measures AᵀB by a formula.
func pairOf(t *testing.T, f Formula, a, b *mat.Dense) head {
	t.Helper()
	x, y := triangle(a), triangle(b)
	h, err := (&Options{Formula: f}).pair(x, y)
	if err != nil {
		t.Fatal(err)
	}
	h.balance = balance(x, []*mat.Dense{y})
	return h
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*(1+math.Abs(b)) }

// Factors with orthonormal rows times numbers: the singular values are the products of the numbers, everything follows.
func TestMeasure_ClosedForms(t *testing.T) {
	const size, width = 20, 64
	one, two := orthonormal(1, size, width), orthonormal(2, size, width)
	geometric := make([]float64, size)
	for i := range geometric {
		geometric[i] = math.Pow(0.5, float64(i))
	}
	half := append(repeated(3, size/2), repeated(0, size/2)...)
	for name, c := range map[string]struct {
		a, b []float64
		f    Formula
		want head
	}{
		"equal": {
			repeated(2, size), repeated(3, size), DefaultFormula(),
			head{19, size, size, size, size, 5 * math.Sqrt(size) / (13 * size), repeated(6, size)},
		},
		"equal, all of the sum": {
			repeated(2, size), repeated(2, size),
			Formula{1, 1, NotNormalised, 0.01, false},
			head{size, size, size, size, size, 0, repeated(4, size)},
		},
		"equal, half of the energy, over the head size": {
			repeated(2, size), repeated(2, size),
			Formula{2, 0.5, ByHeadSize, 0, false},
			head{0.5, size, size, size, size, 0, repeated(4, size)},
		},
		"half of full rank": {
			half, repeated(1, size), DefaultFormula(), // ten of ten are needed for 95 %
			head{10, 10, 10, 10, 10, math.Sqrt(10*64+10) / (90 + 20), append(repeated(3, 10), repeated(0, 10)...)},
		},
		"halving": {
			geometric, repeated(1, size), DefaultFormula(), // 1 − 2⁻ᵏ ≥ 0.95·(1 − 2⁻²⁰) from k = 5 on; 2⁻⁶ > 0.01 > 2⁻⁷
			head{5, 7, 4 * (1 - math.Pow(4, -size)) / 3, entropyOf(geometric), participationOf(geometric), math.NaN(), geometric},
		},
		"halving, energy": {
			geometric, repeated(1, size), Formula{2, 0.95, NotNormalised, 0.2, false}, // 1 − 4⁻ᵏ ≥ 0.95 from k = 3 on
			head{3, 3, 4 * (1 - math.Pow(4, -size)) / 3, entropyOf(geometric), participationOf(geometric), math.NaN(), geometric},
		},
		"zero": {repeated(0, size), repeated(1, size), DefaultFormula(), head{balance: 1 / math.Sqrt(size), sigma: repeated(0, size)}},
		"both zero": {
			repeated(0, size), repeated(0, size), DefaultFormula(), head{sigma: repeated(0, size)},
		},
	} {
		got := pairOf(t, c.f, scaled(one, c.a...), scaled(two, c.b...))
		if !math.IsNaN(c.want.balance) && !near(got.balance, c.want.balance) {
			t.Errorf("%s: balance %v, want %v", name, got.balance, c.want.balance)
		}
		for i, s := range c.want.sigma {
			if math.Abs(got.sigma[i]-s) > 1e-12*(1+c.want.sigma[0]) {
				t.Errorf("%s: singular value %d is %v, want %v", name, i, got.sigma[i], s)
			}
		}
		got.balance, c.want.balance = 0, 0
		for k, pair := range map[string][2]float64{
			"pseudo-rank": {got.pseudo, c.want.pseudo}, "tolerance": {got.tolerance, c.want.tolerance}, "stable": {got.stable, c.want.stable},
			"entropy": {got.entropy, c.want.entropy}, "participation": {got.participation, c.want.participation},
		} {
			if !near(pair[0], pair[1]) {
				t.Errorf("%s: %s %v, want %v", name, k, pair[0], pair[1])
			}
		}
	}
}

// entropyOf and participationOf are the definitions, written again.
func entropyOf(sigma []float64) float64 {
	var sum, product float64 = 0, 1
	for _, s := range sigma {
		sum += s
	}
	for _, s := range sigma {
		product *= math.Pow(s/sum, -s/sum)
	}
	return product
}

func participationOf(sigma []float64) float64 {
	var squares, fourths float64
	for _, s := range sigma {
		squares, fourths = squares+s*s, fourths+math.Pow(s, 4)
	}
	return squares * squares / fourths
}

// layerOf makes a layer with random matrices.
func layerOf(seed uint64, width, heads, kvHeads int) attention {
	r, size := rand.New(rand.NewPCG(seed, 3)), width/heads
	normal := func(n int) []float32 {
		values := make([]float32, n)
		for i := range values {
			values[i] = float32(r.NormFloat64())
		}
		return values
	}
	return attention{
		width: width, size: size, q: normal(heads * size * width), k: normal(kvHeads * size * width), v: normal(kvHeads * size * width),
		p: normal(width * heads * size),
	}
}

func measureLayer(t *testing.T, a *attention, heads, kvHeads, threads int) (qk, vp []head) {
	t.Helper()
	qk, vp, err := (&Options{Formula: DefaultFormula(), Threads: threads}).heads(context.Background(), a, heads, kvHeads)
	if err != nil {
		t.Fatal(err)
	}
	return qk, vp
}

// sameHeads compares two measurements; scale is what the second one's singular values are divided by.
func sameHeads(t *testing.T, what string, got, want []head, scale, tolerance float64) {
	t.Helper()
	for h := range want {
		g, w := got[h], want[h]
		for i := range w.sigma {
			if math.Abs(g.sigma[i]/scale-w.sigma[i]) > tolerance*w.sigma[0] {
				t.Errorf("%s: head %d, singular value %d: %v, want %v", what, h, i, g.sigma[i]/scale, w.sigma[i])
			}
		}
		for _, pair := range [][2]float64{{g.pseudo, w.pseudo}, {g.tolerance, w.tolerance}, {g.stable, w.stable}, {g.entropy, w.entropy}, {g.participation, w.participation}} {
			if math.Abs(pair[0]-pair[1]) > 10*tolerance*(1+math.Abs(pair[1])) {
				t.Errorf("%s: head %d: %+v, want %+v", what, h, g, w)
				break
			}
		}
	}
}

func TestHeads_Properties(t *testing.T) {
	const width, heads, kvHeads, size = 42, 6, 2, 7
	base := layerOf(5, width, heads, kvHeads)
	qk, vp := measureLayer(t, &base, heads, kvHeads, 1)

	qk2, vp2 := measureLayer(t, &base, heads, kvHeads, 8)
	sameHeads(t, "threads", qk2, qk, 1, 0)
	sameHeads(t, "threads", vp2, vp, 1, 0)

	larger := base
	larger.q, larger.p = times(base.q, 3), times(base.p, 0.25)
	qk2, vp2 = measureLayer(t, &larger, heads, kvHeads, 2)
	sameHeads(t, "scale", qk2, qk, 3, 1e-6) // float32 rounds three times a number
	sameHeads(t, "scale", vp2, vp, 0.25, 1e-12)
	if near(qk2[0].balance, qk[0].balance) {
		t.Error("the balance does not see that one factor grew")
	}

	// The order of the residual stream's dimensions says nothing, nor that of the dimensions of a head, the same in both factors.
	r := rand.New(rand.NewPCG(6, 6))
	columns, inside := r.Perm(width), r.Perm(size)
	turned := base
	turned.q, turned.k, turned.v = permute(base.q, width, inside, columns), permute(base.k, width, inside, columns), permute(base.v, width, inside, columns)
	turned.p = transpose(permute(transpose(base.p, heads*size), width, inside, columns), width)
	qk2, vp2 = measureLayer(t, &turned, heads, kvHeads, 2)
	sameHeads(t, "permutation", qk2, qk, 1, 1e-12)
	sameHeads(t, "permutation", vp2, vp, 1, 1e-12)
	for h := range heads {
		if !near(qk2[h].balance, qk[h].balance) || !near(vp2[h].balance, vp[h].balance) {
			t.Errorf("permutation: the balance of head %d changed", h)
		}
	}

	// Heads that change places within their group change places in the result.
	swapped := base
	swapped.q = slices.Concat(base.q[size*width:2*size*width], base.q[:size*width], base.q[2*size*width:])
	qk2, _ = measureLayer(t, &swapped, heads, kvHeads, 2)
	sameHeads(t, "order of heads", qk2, slices.Concat([]head{qk[1], qk[0]}, qk[2:]), 1, 1e-12)

	// One key head for all: query heads that are copies of each other are equal.
	copies := layerOf(7, width, heads, 1)
	copies.q = slices.Repeat(copies.q[:size*width], heads)
	qk2, _ = measureLayer(t, &copies, heads, 1, 2)
	sameHeads(t, "copies", qk2, slices.Repeat(qk2[:1], heads), 1, 0)
}

// A group is in balance with what it shares where the sum over its heads is: heads of half the shared factor, of which there are four,
// turned each in its own way in the residual stream; one head alone is far from it.
func TestHeads_BalanceOfAGroup(t *testing.T) {
	const width, heads, kvHeads, size = 40, 8, 2, 5
	a := layerOf(8, width, heads, kvHeads)
	r := rand.New(rand.NewPCG(9, 9))
	a.q = nil
	var outputs []float32 // W_Pᵀ
	inside := []int{0, 1, 2, 3, 4}
	for h := range heads {
		g := h / (heads / kvHeads)
		columns, shared := r.Perm(width), func(of []float32) []float32 { return times(of[g*size*width:(g+1)*size*width], 0.5) }
		a.q = append(a.q, permute(shared(a.k), width, inside, columns)...)
		outputs = append(outputs, permute(shared(a.v), width, inside, columns)...)
	}
	a.p = transpose(outputs, width)
	qk, vp := measureLayer(t, &a, heads, kvHeads, 2)
	for h := range heads {
		if qk[h].balance > 1e-12 || vp[h].balance > 1e-12 {
			t.Errorf("head %d: balance %v of W_QK, %v of W_VP", h, qk[h].balance, vp[h].balance)
		}
	}
	clear(a.q[size*width : 4*size*width]) // the other heads of the first group
	qk, _ = measureLayer(t, &a, heads, kvHeads, 2)
	if qk[0].balance < 0.1 || qk[3].balance != qk[0].balance || qk[4].balance > 1e-12 {
		t.Errorf("without three of four heads: %v, %v, and %v in the other group", qk[0].balance, qk[3].balance, qk[4].balance)
	}
}

func times(values []float32, by float32) []float32 {
	out := make([]float32, len(values))
	for i, x := range values {
		out[i] = by * x
	}
	return out
}

// permute changes the order of the rows inside each head, and of the columns.
func permute(values []float32, width int, inside, columns []int) []float32 {
	out, size := make([]float32, len(values)), len(inside)
	for row := range len(values) / width {
		from := row/size*size + inside[row%size]
		for j, c := range columns {
			out[row*width+j] = values[from*width+c]
		}
	}
	return out
}

func transpose(values []float32, width int) []float32 {
	out, height := make([]float32, len(values)), len(values)/width
	for i := range height {
		for j := range width {
			out[j*height+i] = values[i*width+j]
		}
	}
	return out
}

func TestFormula_Check(t *testing.T) {
	for _, f := range []Formula{
		{0, 0.95, NotNormalised, 0, false},
		{3, 0.95, NotNormalised, 0, false},
		{1, 0, NotNormalised, 0, false},
		{1, 1.01, NotNormalised, 0, false},
		{1, math.NaN(), NotNormalised, 0, false},
		{1, 0.9, NotNormalised, 1, false},
		{1, 0.9, NotNormalised, -1, false},
		{1, 0.9, "half", 0, false},
	} {
		if f.Check() == nil {
			t.Errorf("%+v is accepted", f)
		}
	}
	if err := DefaultFormula().Check(); err != nil {
		t.Error(err)
	}
}
