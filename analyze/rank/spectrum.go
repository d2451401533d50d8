package rank

import (
	"gonum.org/v1/gonum/mat"

	"plasticity/record"
)

// triangle is R [E, E] in the QR factorisation of the transpose of a factor A [E, D], E ≤ D: Aᵀ = Q R, Q with orthonormal columns.
// (mat.LQ of A itself would compute all of Q, which is D × D.)
func triangle(a *mat.Dense) *mat.Dense {
	size, _ := a.Dims()
	var qr mat.QR
	qr.Factorize(a.T())
	var r mat.Dense
	qr.RTo(&r)
	return mat.DenseCopyOf(r.Slice(0, size, 0, size))
}

// singularValues returns those of AᵀB, [E] of them, the largest first, from the triangles of A and B: AᵀB = Q R R′ᵀ Q′ᵀ.
func singularValues(a, b *mat.Dense) ([]float64, error) {
	var product mat.Dense
	product.Mul(a, b.T())
	var svd mat.SVD
	if !svd.Factorize(&product, mat.SVDNone) {
		return nil, record.Fail(record.Internal, "the singular values of a product did not converge")
	}
	return svd.Values(nil), nil
}

// balance is ‖SSᵀ − Σ FFᵀ‖ / (‖S‖² + Σ ‖F‖²) in Frobenius norms, for the factor S that the query heads of a group share and the factors F of
// those heads, from their triangles R (SSᵀ = RᵀR): 0 for factors that are in balance, at most 1. Zeros are in balance. See the package comment.
func balance(shared *mat.Dense, own []*mat.Dense) float64 {
	var difference, gram mat.Dense
	difference.Mul(shared.T(), shared)
	squares := mat.Trace(&difference)
	for _, factor := range own {
		gram.Mul(factor.T(), factor)
		squares += mat.Trace(&gram)
		difference.Sub(&difference, &gram)
	}
	if squares == 0 {
		return 0
	}
	return mat.Norm(&difference, 2) / squares
}
