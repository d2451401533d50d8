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

// balance is ‖AAᵀ − BBᵀ‖ / (‖A‖² + ‖B‖²) in Frobenius norms, from the triangles R of A and B (AAᵀ = RᵀR): 0 for factors that are in balance, as
// training with weight decay makes them (Kobayashi et al.), at most 1. Two zeros are in balance.
func balance(a, b *mat.Dense) float64 {
	normA, normB := mat.Norm(a, 2), mat.Norm(b, 2)
	if normA == 0 && normB == 0 {
		return 0
	}
	var gramA, gramB mat.Dense
	gramA.Mul(a.T(), a)
	gramB.Mul(b.T(), b)
	gramA.Sub(&gramA, &gramB)
	return mat.Norm(&gramA, 2) / (normA*normA + normB*normB)
}
