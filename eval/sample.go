package eval

import (
	"cmp"
	"encoding/binary"
	"math"
	"math/rand/v2"
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

// newStream is a random stream that depends on seed and number alone.
func newStream(seed int64, number uint64) *rand.Rand {
	var key [32]byte
	copy(key[:], "plasticity generation")
	binary.LittleEndian.PutUint64(key[24:], uint64(seed)^number*0x9e3779b97f4a7c15)
	return rand.New(rand.NewChaCha8(key))
}

// pick chooses a token. Ties go to the lower id.
func (s Sampling) pick(logits []float32, random *rand.Rand) int32 {
	if s.Temperature == 0 {
		return argmax(logits)
	}
	order := make([]int32, len(logits))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortStableFunc(order, func(a, b int32) int { return cmp.Compare(logits[b], logits[a]) })
	if s.TopK > 0 && s.TopK < len(order) {
		order = order[:s.TopK]
	}
	weights, total := make([]float64, len(order)), 0.0
	for i, id := range order {
		weights[i] = math.Exp(float64(logits[id]-logits[order[0]]) / s.Temperature)
		total += weights[i]
	}
	if s.TopP > 0 && s.TopP < 1 {
		kept := nucleus(weights, total*s.TopP)
		order, weights, total = order[:kept], weights[:kept], 0
		for _, w := range weights {
			total += w
		}
	}
	at := random.Float64() * total
	for i, w := range weights {
		if at -= w; at < 0 {
			return order[i]
		}
	}
	return order[len(order)-1]
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
