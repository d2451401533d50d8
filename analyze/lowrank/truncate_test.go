package lowrank

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"gonum.org/v1/gonum/mat"

	"plasticity/record"
)

// random is a matrix of normal numbers whose columns shrink, so that its singular values spread.
func random(rows, columns int) []float32 {
	r := rand.New(rand.NewPCG(uint64(rows), uint64(columns)))
	out := make([]float32, rows*columns)
	for i := range out {
		out[i] = float32(r.NormFloat64() * math.Pow(0.9, float64(i%columns)))
	}
	return out
}

// spectrum is the singular values, by another way than the code's: both sets of vectors, of the matrix as it lies.
func spectrum(t *testing.T, values []float32, rows, columns int) []float64 {
	t.Helper()
	a := mat.NewDense(rows, columns, nil)
	a.Apply(func(i, j int, _ float64) float64 { return float64(values[i*columns+j]) }, a)
	var svd mat.SVD
	if !svd.Factorize(a, mat.SVDThin) {
		t.Fatal("no singular values")
	}
	return svd.Values(nil)
}

// distance is the squared Frobenius norm of a difference.
func distance(a, b []float32) float64 {
	sum := 0.0
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		sum += d * d
	}
	return sum
}

// Eckart and Young: the rank is the lowest that keeps the share, and the error is what was discarded, whatever the shape.
func TestTruncate_IsTheBestOfItsRank(t *testing.T) {
	for _, shape := range [][2]int{{24, 24}, {8, 24}, {24, 8}, {40, 39}, {1, 7}, {7, 1}} {
		rows, columns := shape[0], shape[1]
		for _, share := range []float64{0.3, 0.5, 0.9, 0.99} {
			name := fmt.Sprint(shape, " ", share)
			before := random(rows, columns)
			sigma := spectrum(t, before, rows, columns)
			after := slices.Clone(before)
			got, err := Truncate(after, rows, columns, share)
			if err != nil {
				t.Fatal(err)
			}
			total, kept, want := 0.0, 0.0, 0
			for _, s := range sigma {
				total += s * s
			}
			for kept < share*total {
				kept += sigma[want] * sigma[want]
				want++
			}
			if got.Rank != want || got.Full != min(rows, columns) || math.Abs(got.Discarded-(total-kept)/total) > 1e-12 {
				t.Errorf("%s: %+v, want rank %d with %v discarded", name, got, want, (total-kept)/total)
			}
			if error2 := distance(before, after); math.Abs(error2-(total-kept)) > 1e-6*total {
				t.Errorf("%s: squared error %v, want the discarded %v", name, error2, total-kept)
			}
			left := spectrum(t, after, rows, columns)
			for i, s := range left {
				wanted := 0.0
				if i < want {
					wanted = sigma[i]
				}
				if math.Abs(s-wanted) > 1e-6*sigma[0] {
					t.Errorf("%s: singular value %d is %v, want %v", name, i, s, wanted)
				}
			}
		}
	}
}

// A share of 1 takes nothing away, of a matrix of full rank not a bit; equal singular values reach a share exactly.
func TestTruncate_Bounds(t *testing.T) {
	full := random(16, 12)
	same := slices.Clone(full)
	if got, err := Truncate(same, 16, 12, 1); err != nil || got != (Truncation{12, 12, 0}) || !slices.Equal(same, full) {
		t.Errorf("%+v, %v", got, err)
	}
	// Rank 3 by construction, then all of it.
	low := slices.Clone(full)
	if _, err := Truncate(low, 16, 12, 0.9); err != nil {
		t.Fatal(err)
	}
	again := slices.Clone(low)
	if _, err := Truncate(again, 16, 12, 1); err != nil || math.Sqrt(distance(low, again)) > 1e-6*math.Sqrt(distance(low, make([]float32, len(low)))) {
		t.Errorf("a share of 1 changed a matrix of low rank by %v, %v", math.Sqrt(distance(low, again)), err)
	}
	equal := make([]float32, 25*25)
	for i := range 25 {
		equal[26*i] = 2
	}
	if got, err := Truncate(equal, 25, 25, 0.56); err != nil || got.Rank != 14 || math.Abs(got.Discarded-0.44) > 1e-12 { // 0.56 · 25 rounds to more than 14
		t.Errorf("equal singular values: %+v, %v", got, err)
	}
	zero := make([]float32, 6)
	if got, err := Truncate(zero, 2, 3, 0.5); err != nil || got != (Truncation{0, 2, 0}) || !slices.Equal(zero, make([]float32, 6)) {
		t.Errorf("zero: %+v, %v", got, err)
	}
	for _, share := range []float64{0, -1, 1.1, math.NaN()} {
		if _, err := Truncate(zero, 2, 3, share); record.CodeOf(err) != record.Internal {
			t.Errorf("share %v: %v", share, err)
		}
	}
	if _, err := Truncate(zero, 2, 4, 0.5); record.CodeOf(err) != record.Internal {
		t.Error(err)
	}
}

// The matrices of a model of 1 B parameters take seconds each.
func BenchmarkTruncate(b *testing.B) {
	for _, shape := range [][2]int{{512, 512}, {2048, 512}, {1024, 1024}, {2048, 2048}} {
		b.Run(fmt.Sprintf("%dx%d", shape[0], shape[1]), func(b *testing.B) {
			r := rand.New(rand.NewPCG(1, 1))
			values := make([]float32, shape[0]*shape[1])
			for b.Loop() {
				b.StopTimer()
				for i := range values {
					values[i] = float32(r.NormFloat64())
				}
				b.StartTimer()
				if _, err := Truncate(values, shape[0], shape[1], 0.9); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
