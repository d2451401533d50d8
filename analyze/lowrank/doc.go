// Package lowrank replaces a matrix by its best approximation of lower rank: the truncation of the causal rank test, which asks whether
// low rank itself, and not what weight decay does besides, makes a base model easier to fine-tune.
//
// The approximation of rank r of A = U Σ Vᵀ that is closest in every unitarily invariant norm is A V_r V_rᵀ, with the r first columns of V,
// and its squared distance in the Frobenius norm is the sum of the other squared singular values (Eckart, Young 1936; Mirsky 1960). So
// only V is computed, of A or, where A has more columns than rows, of its transpose: of gonum's two sides it is also the one whose
// rotations run along rows of memory. All of it is in float64. A matrix of 2048 × 2048 takes about half a minute of one core.
//
// The package is pure: it imports record.
package lowrank
