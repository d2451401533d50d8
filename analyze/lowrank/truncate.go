package lowrank

import (
	"gonum.org/v1/gonum/mat"

	"plasticity/record"
)

// tie is the part of a sum that rounding may take away: a share that equal singular values reach exactly counts as reached.
const tie = 1e-13

// Truncation says what was taken away from a matrix.
type Truncation struct {
	Rank, Full int     // of what is left, and the smaller of the two sizes
	Discarded  float64 // share of the squared singular values that is gone: the squared relative error
}

// Truncate replaces a matrix [rows, columns], row-major, by its best approximation of the lowest rank whose squared singular values sum to at
// least a share of all, above 0 and at most 1. A matrix that needs its full rank, and one that is zero, stays as it is to the bit. Values
// must be finite.
func Truncate(values []float32, rows, columns int, share float64) (Truncation, error) {
	if len(values) != rows*columns || !(share > 0 && share <= 1) {
		return Truncation{}, record.Fail(record.Internal, "lowrank: %d values of a matrix %d × %d, share %v", len(values), rows, columns, share)
	}
	a := tall(values, rows, columns)
	var svd mat.SVD
	if !svd.Factorize(a, mat.SVDThinV) {
		return Truncation{}, record.Fail(record.Internal, "the singular values of a matrix %d × %d did not converge", rows, columns)
	}
	rank, discarded := needed(svd.Values(nil), share)
	out := Truncation{Rank: rank, Full: min(rows, columns), Discarded: discarded}
	if rank == out.Full || rank == 0 {
		return out, nil
	}
	var v mat.Dense
	svd.VTo(&v)
	first := v.Slice(0, out.Full, 0, rank)
	var coordinates mat.Dense // of A's rows among the first right singular vectors
	coordinates.Mul(a, first)
	a.Mul(&coordinates, first.T())
	for i := range rows {
		for j := range columns {
			if rows >= columns {
				values[i*columns+j] = float32(a.At(i, j))
			} else {
				values[i*columns+j] = float32(a.At(j, i))
			}
		}
	}
	return out, nil
}

// tall is a matrix with at least as many rows as columns: the one given, or its transpose.
func tall(values []float32, rows, columns int) *mat.Dense {
	wide := make([]float64, len(values))
	for i, x := range values {
		wide[i] = float64(x)
	}
	a := mat.NewDense(rows, columns, wide)
	if rows >= columns {
		return a
	}
	return mat.DenseCopyOf(a.T())
}

// needed is the smallest number of singular values, the largest first, whose squares sum to a share of all, and which share the others have.
func needed(sigma []float64, share float64) (rank int, discarded float64) {
	if len(sigma) == 0 || sigma[0] == 0 {
		return 0, 0
	}
	square := func(i int) float64 { r := sigma[i] / sigma[0]; return r * r } // to the largest, so that nothing overflows
	total, reached := 0.0, 0.0
	for i := range sigma {
		total += square(i)
	}
	for rank < len(sigma) && reached < share*total*(1-tie) {
		reached += square(rank)
		rank++
	}
	for i := len(sigma) - 1; i >= rank; i-- { // the smallest first
		discarded += square(i)
	}
	return rank, discarded / total
}
