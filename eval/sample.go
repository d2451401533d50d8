package eval

import (
	"cmp"
	"math"
	"slices"
	"sync"

	"plasticity/record"
	"plasticity/torch"
)

// Sampling says how the next token is chosen from the model's scores.
type Sampling struct {
	Temperature float64 // 0: the likeliest token
	TopK        int     // of the likeliest only; 0: all
	TopP        float64 // the likeliest that together reach this probability; 0 or 1: all
	// RepetitionPenalty divides the positive scores of tokens that prompt or continuation have already and multiplies the
	// negative ones, before anything else (Keskar et al. 2019); 0 or 1: none.
	RepetitionPenalty float64
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
	case !(s.RepetitionPenalty >= 0 && s.RepetitionPenalty <= 100):
		return record.Fail(record.Usage, "--repetition-penalty %v: from 1 (none) to 100", s.RepetitionPenalty)
	}
	return nil
}

func (s Sampling) penalises() bool { return s.RepetitionPenalty != 0 && s.RepetitionPenalty != 1 }

// limits reports whether only some of n tokens may be chosen.
func (s Sampling) limits(n int) bool { return (s.TopK > 0 && s.TopK < n) || (s.TopP > 0 && s.TopP < 1) }

// drawing says the same without limits, for n tokens.
func (s Sampling) drawing(n int) torch.Drawing {
	d := torch.Drawing{Temperature: s.Temperature, Penalty: 1, Known: n}
	if s.penalises() {
		d.Penalty = s.RepetitionPenalty
	}
	return d
}

// penalise changes the scores of tokens that are there already.
func (s Sampling) penalise(logits []float32, seen []int32) {
	if !s.penalises() {
		return
	}
	penalty := float32(s.RepetitionPenalty)
	for _, id := range seen {
		switch {
		case int(id) >= len(logits):
		case logits[id] > 0:
			logits[id] /= penalty
		default:
			logits[id] *= penalty
		}
	}
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

// picker chooses tokens; it keeps its memory from one to the next.
type picker struct {
	weights []float64
	order   []int32
	row     []float32
}

// penalised are scores after the penalty of the tokens that are there, which others who share the scores do not see.
func (p *picker) penalised(s Sampling, logits []float32, seen []int32) []float32 {
	if !s.penalises() {
		return logits
	}
	p.row = append(p.row[:0], logits...)
	s.penalise(p.row, seen)
	return p.row
}

// negligible is how far below the best, in nats, a token counts as impossible: all of them together are less than what rounding
// loses.
const negligible = 50

// pick chooses a token by u, a number from 0 to 1. Ties go to the lower id.
func (p *picker) pick(s Sampling, logits []float32, u float64) (int32, error) {
	best := argmax(logits)
	if err := finite(logits[best]); err != nil || s.Temperature == 0 || s.TopK == 1 {
		return best, err
	}
	limited := s.limits(len(logits))
	p.order = p.order[:0]
	if limited {
		p.order = s.candidates(p.order, logits)
	}
	token := func(i int) int32 {
		if limited {
			return p.order[i]
		}
		return int32(i)
	}
	n := len(logits)
	if limited {
		n = len(p.order)
	}
	p.weights = slices.Grow(p.weights[:0], n)[:n]
	total := 0.0
	for i := range p.weights {
		w, x := 0.0, float64(logits[token(i)]-logits[best])/s.Temperature
		if x > -negligible {
			w = math.Exp(x)
		}
		p.weights[i] = w
		total += w
	}
	weights := p.weights
	if s.TopP > 0 && s.TopP < 1 {
		weights = weights[:nucleus(weights, total*s.TopP)]
		total = 0
		for _, w := range weights {
			total += w
		}
	}
	at := u * total
	for i, w := range weights {
		if at -= w; at < 0 {
			return token(i), nil
		}
	}
	return best, nil // u so close to 1 that rounding used the weights up
}

// candidates lists the tokens that may be chosen, by falling score.
func (s Sampling) candidates(order []int32, logits []float32) []int32 {
	for i := range logits {
		order = append(order, int32(i))
	}
	slices.SortFunc(order, func(a, b int32) int {
		return cmp.Or(cmp.Compare(logits[b], logits[a]), cmp.Compare(a, b))
	})
	if s.TopK > 0 && s.TopK < len(order) {
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

// argmax is the first of the largest; the first that is not a number, if there is one.
func argmax(x []float32) int32 {
	best := 0
	for i := range x {
		if !(x[i] <= x[best]) {
			if best = i; x[i] != x[i] {
				break
			}
		}
	}
	return int32(best)
}

// parallel calls f(worker, i) for each i below n, on as many goroutines as there are workers. The error is that of the
// smallest i, whoever is first.
func parallel(n, workers int, f func(worker, i int) error) error {
	if workers = min(workers, n); workers <= 1 {
		for i := range n {
			if err := f(0, i); err != nil {
				return err
			}
		}
		return nil
	}
	errs := make([]error, workers)
	var wait sync.WaitGroup
	for w := range workers {
		wait.Go(func() {
			for i := w * n / workers; i < (w+1)*n/workers && errs[w] == nil; i++ {
				errs[w] = f(w, i)
			}
		})
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
