package rank

import (
	"math"

	"gonum.org/v1/gonum/mat"

	"plasticity/record"
)

// triangle is the triangular factor L [E, E] of a matrix A [E, D], E ≤ D: A = L Q, Q with orthonormal rows. It is the transposed
// R of the QR factorisation of Aᵀ; this way round, rows are read as they lie in memory.
func triangle(a *mat.Dense) *mat.Dense {
	size, _ := a.Dims()
	var lq mat.LQ
	lq.Factorize(a)
	var l mat.Dense
	lq.LTo(&l)
	return mat.DenseCopyOf(l.Slice(0, size, 0, size))
}

// singularValues returns those of AᵀB, [E] of them, the largest first, from the triangles of A and B: AᵀB = Qᵀ (LᵀL′) Q′.
func singularValues(a, b *mat.Dense) ([]float64, error) {
	var product mat.Dense
	product.Mul(a.T(), b)
	var svd mat.SVD
	if !svd.Factorize(&product, mat.SVDNone) {
		return nil, record.Fail(record.Internal, "the singular values of a product did not converge")
	}
	return svd.Values(nil), nil
}

// balance is ‖AAᵀ − BBᵀ‖ / (‖A‖² + ‖B‖²) in Frobenius norms, from the triangles of A and B: 0 for factors that are in balance, as
// training with weight decay makes them (Kobayashi et al., section 3: there the factors are Aᵀ and Bᵀ), at most 1. Two zeros are in balance.
func balance(a, b *mat.Dense) float64 {
	normA, normB := mat.Norm(a, 2), mat.Norm(b, 2)
	largest := math.Max(normA, normB)
	if largest == 0 {
		return 0
	}
	var gramA, gramB mat.Dense
	gramA.Mul(a, a.T())
	gramB.Mul(b, b.T())
	gramA.Sub(&gramA, &gramB)
	return mat.Norm(&gramA, 2) / (normA*normA + normB*normB)
}
