package eval

import (
	"cmp"
	"math"
	"slices"

	"plasticity/record"
)

// Sampling says how the next token is chosen from the model's scores.
type Sampling struct {
	Temperature float64 // 0: the likeliest token
	TopK        int     // of the likeliest only; 0: all
	TopP        float64 // the likeliest that together reach this probability; 0 or 1: all
}

// Check refuses values that mean nothing.
func (s Sampling) Check() error {
	switch {
	case !(s.Temperature >= 0 && s.Temperature <= 100):
		return record.Fail(record.Usage, "--temperature %v: from 0 (the likeliest token) to 100", s.Temperature)
	case s.TopK < 0:
		return record.Fail(record.Usage, "--top-k %d: at least 1, or 0 for all tokens", s.TopK)
	case !(s.TopP >= 0 && s.TopP <= 1):
		return record.Fail(record.Usage, "--top-p %v: between 0 and 1", s.TopP)
	}
	return nil
}

// uniform is the n-th number, at least 0 and below 1, of a seed's random stream: a function of the
// three alone, so a sample does not depend on what was drawn before or beside it.
func uniform(seed int64, stream, n uint64) float64 {
	x := mix(mix(mix(uint64(seed))^stream) ^ n)
	return float64(x>>11) / (1 << 53)
}

// mix is one output of SplitMix64 (Steele, Lea, Flood 2014): each bit of x reaches all bits.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// pick chooses a token by u, a number from 0 to 1. Ties go to the lower id.
func (s Sampling) pick(logits []float32, u float64) int32 {
	best := argmax(logits)
	if s.Temperature == 0 || s.TopK == 1 {
		return best
	}
	order := s.candidates(logits)
	weights, total := make([]float64, len(order)), 0.0
	for i, id := range order {
		weights[i] = math.Exp(float64(logits[id]-logits[best]) / s.Temperature)
		total += weights[i]
	}
	if s.TopP > 0 && s.TopP < 1 {
		kept := nucleus(weights, total*s.TopP)
		order, weights, total = order[:kept], weights[:kept], 0
		for _, w := range weights {
			total += w
		}
	}
	at := u * total
	for i, w := range weights {
		if at -= w; at < 0 {
			return order[i]
		}
	}
	return best // u so close to 1 that rounding used the weights up
}

// candidates lists the tokens that may be chosen, by falling score where that matters.
func (s Sampling) candidates(logits []float32) []int32 {
	order := make([]int32, len(logits))
	for i := range order {
		order[i] = int32(i)
	}
	limited := s.TopK > 0 && s.TopK < len(order)
	if limited || (s.TopP > 0 && s.TopP < 1) {
		slices.SortFunc(order, func(a, b int32) int {
			return cmp.Or(cmp.Compare(logits[b], logits[a]), cmp.Compare(a, b))
		})
	}
	if limited {
		order = order[:s.TopK]
	}
	return order
}

// nucleus is how many of the weights, in falling order, reach the mass.
func nucleus(weights []float64, mass float64) int {
	sum := 0.0
	for i, w := range weights {
		if sum += w; sum >= mass {
			return i + 1
		}
	}
	return len(weights)
}

func argmax(x []float32) int32 {
	best := 0
	for i := range x {
		if x[i] > x[best] {
			best = i
		}
	}
	return int32(best)
}
