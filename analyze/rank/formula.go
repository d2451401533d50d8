package rank

import (
	"math"

	"plasticity/record"
)

// How a pseudo-rank is normalised.
const (
	NotNormalised = "none"
	ByHeadSize    = "head_size" // divided by E, so that 1 is full rank
)

// Formula is what is computed. It is recorded beside every result.
type Formula struct {
	// Power of the singular values σ that are summed: 1, or 2 for what is called energy.
	Power int `json:"power"`
	// Threshold is the part of the sum that the pseudo-rank has to reach: above 0, at most 1.
	Threshold float64 `json:"threshold"`
	// Normalisation of the pseudo-rank: NotNormalised or ByHeadSize.
	Normalisation string `json:"normalisation"`
	// Tolerance of the tolerance rank, relative to the largest singular value: from 0 on, below 1.
	Tolerance float64 `json:"tolerance"`
	// FoldedNorms is whether the gains of OLMo-2's norms on queries and keys are multiplied into W_Q and W_K.
	FoldedNorms bool `json:"folded_norms"`
}

// DefaultFormula counts the singular values that sum to 95 %: the likeliest reading of the paper, which does not say.
func DefaultFormula() Formula {
	return Formula{Power: 1, Threshold: 0.95, Normalisation: NotNormalised, Tolerance: 0.01}
}

// Check refuses a formula without a meaning: the error is a record.Failure with Usage. NaN fails every comparison.
func (f Formula) Check() error {
	switch {
	case f.Power != 1 && f.Power != 2:
		return record.Fail(record.Usage, "power %d: want 1 or 2", f.Power)
	case !(f.Threshold > 0 && f.Threshold <= 1):
		return record.Fail(record.Usage, "threshold %v: want above 0 and at most 1", f.Threshold)
	case !(f.Tolerance >= 0 && f.Tolerance < 1):
		return record.Fail(record.Usage, "tolerance %v: want 0 or more and below 1", f.Tolerance)
	case f.Normalisation != NotNormalised && f.Normalisation != ByHeadSize:
		return record.Fail(record.Usage, "normalisation %q: want %s or %s", f.Normalisation, NotNormalised, ByHeadSize)
	}
	return nil
}

// tie is the part of a sum that rounding may take away: a threshold that equal singular values reach exactly counts as reached.
const tie = 1e-12

// head is what is measured of one product of one head.
type head struct {
	pseudo        float64 // smallest k with σ₁^p + … + σₖ^p ≥ threshold · Σ σ^p
	tolerance     float64 // number of σ above tolerance · σ₁
	stable        float64 // Σ σ² / σ₁²
	entropy       float64 // exp(−Σ p ln p) with p = σ / Σ σ (Roy and Vetterli, EUSIPCO 2007)
	participation float64 // (Σ σ²)² / Σ σ⁴
	balance       float64 // of the factors of its group, see balance
	sigma         []float64
}

// measure takes the measures of the singular values sigma, the largest first. A product that is zero has rank 0 by all of them.
func (f Formula) measure(sigma []float64) head {
	h := head{sigma: sigma}
	if len(sigma) == 0 || sigma[0] == 0 {
		return h
	}
	var sum, squares, fourths float64
	relative := make([]float64, len(sigma)) // to the largest, so that no power overflows
	for i, s := range sigma {
		r := s / sigma[0]
		relative[i] = r
		sum, squares, fourths = sum+r, squares+r*r, fourths+r*r*r*r
		if r > f.Tolerance {
			h.tolerance++
		}
	}
	h.stable, h.participation = squares, squares*squares/fourths
	for _, r := range relative {
		if p := r / sum; p > 0 {
			h.entropy -= p * math.Log(p)
		}
	}
	h.entropy = math.Exp(h.entropy)
	h.pseudo = float64(f.pseudoRank(relative))
	if f.Normalisation == ByHeadSize {
		h.pseudo /= float64(len(sigma))
	}
	return h
}

// pseudoRank counts the largest values that are needed to reach the threshold.
func (f Formula) pseudoRank(values []float64) int {
	weight := func(v float64) float64 {
		if f.Power == 2 {
			return v * v
		}
		return v
	}
	var total, reached float64
	for _, v := range values {
		total += weight(v)
	}
	for i, v := range values {
		if reached += weight(v); reached >= f.Threshold*total*(1-tie) {
			return i + 1
		}
	}
	return len(values)
}
