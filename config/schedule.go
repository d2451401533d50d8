package config

import "math"

// clampStep keeps s within the run.
func (r Resolved) clampStep(s int64) int64 { return max(0, min(s, r.Steps-1)) }

// warmupSteps is W: the nearest to the fraction, but the last step is never part of the warm-up.
func (r Resolved) warmupSteps() int64 {
	return max(0, min(r.Steps-1, int64(math.Round(r.Schedule.WarmupFraction*float64(r.Steps)))))
}

// LRAt returns the learning rate of the update with index s, 0 ≤ s < N = Steps (others are clamped). With W warm-up
// steps, peak lr, final fraction f and p = (s−W+1)/(N−W):
//
//	s < W     lr·(s+1)/W, the peak at s = W−1
//	cosine    lr·(f + (1−f)·(1+cos πp)/2), f·lr at the last step
//	linear    lr·(1 − (1−f)·p), f·lr at the last step
//	wsd       lr, and over the last K = decay_fraction·N steps lr·(1 − (1−f)·(s−(N−K)+1)/K), f·lr at the last step
//	constant  lr
func (r Resolved) LRAt(s int64) float64 { return r.Optimizer.LR * r.lrFactor(s) }

func (r Resolved) lrFactor(s int64) float64 {
	s = r.clampStep(s)
	warmup := r.warmupSteps()
	if s < warmup {
		return float64(s+1) / float64(warmup)
	}
	final := r.Schedule.FinalFraction
	switch r.Schedule.Kind {
	case "cosine":
		p := float64(s-warmup+1) / float64(r.Steps-warmup)
		return fall(cosine(p), final)
	case "linear":
		p := float64(s-warmup+1) / float64(r.Steps-warmup)
		return fall(1-p, final)
	case "wsd":
		length := int64(math.Round(r.Schedule.DecayFraction * float64(r.Steps)))
		length = max(1, min(length, r.Steps-warmup))
		if s < r.Steps-length {
			return 1
		}
		return fall(1-float64(s-(r.Steps-length)+1)/float64(length), final)
	}
	return 1
}

// cosine falls from 1 at p = 0 to 0 at p = 1, exactly.
func cosine(p float64) float64 {
	if p >= 1 {
		return 0
	}
	return (1 + math.Cos(math.Pi*p)) / 2
}

// fall maps 1…0 to 1…final.
func fall(x, final float64) float64 { return final + (1-final)*x }

// WDAt returns λ_t, the weight decay of the update with index s: DecayFactorAt times the weight decay. Decoupled AdamW
// multiplies the weights by 1 − LRAt(s)·WDAt(s).
func (r Resolved) WDAt(s int64) float64 { return r.WeightDecay * r.DecayFactorAt(s) }

// DecayFactorAt returns what every weight decay is multiplied by at the update with index s, those of groups included.
// With N = Steps, p = s/(N−1) and final fraction f:
//
//	constant  1
//	linear    1 − (1−f)·p
//	cosine    f + (1−f)·(1+cos πp)/2
//	window    1 while start_fraction ≤ s/N < end_fraction, else 0
//	coupled   LRAt(s)/lr: the decay follows the learning rate, and a step shrinks by its square
func (r Resolved) DecayFactorAt(s int64) float64 {
	s = r.clampStep(s)
	d := r.DecaySchedule
	p := float64(s) / float64(max(1, r.Steps-1))
	switch d.Kind {
	case "linear":
		return fall(1-p, d.FinalFraction)
	case "cosine":
		return fall(cosine(p), d.FinalFraction)
	case "window":
		at := float64(s) / float64(r.Steps)
		if at >= d.StartFraction && at < d.EndFraction {
			return 1
		}
		return 0
	case "coupled":
		return r.lrFactor(s)
	}
	return 1
}
