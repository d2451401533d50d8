package metric

import (
	"cmp"
	"fmt"
	"slices"
)

// Estimate is the value of a metric over all problems.
type Estimate struct {
	Name  string // as in results.json: greedy, maj@16, …
	Value float64
	CI95  [2]float64
	// HigherIsBetter is false for losses.
	HigherIsBetter bool
}

// Result is the score of a model on a task.
type Result struct {
	Problems  int // n
	Responses int // N, to each problem
	Seed      int64
	// Estimates are those that the input allows, always in the same order.
	Estimates []Estimate
	// Samples are the problems, ordered by id.
	Samples []Sample
}

// Estimate returns the metric of a name.
func (r *Result) Estimate(name string) (Estimate, bool) {
	at := slices.IndexFunc(r.Estimates, func(e Estimate) bool { return e.Name == name })
	if at < 0 {
		return Estimate{}, false
	}
	return r.Estimates[at], true
}

// Score scores responses. seed is that of the bootstrapped intervals.
func Score(problems []Problem, judge Judge, seed int64) (Result, error) {
	s := NewScorer(judge, seed)
	for _, p := range problems {
		if err := s.Add(p); err != nil {
			return Result{}, err
		}
	}
	return s.Result()
}

// Scorer scores problems that come one by one. It keeps answers, not responses.
type Scorer struct {
	judge   Judge
	seed    int64
	checker *checker
	samples []Sample
}

// NewScorer returns a Scorer without problems. seed is that of the bootstrapped intervals.
func NewScorer(judge Judge, seed int64) *Scorer {
	return &Scorer{judge: judge, seed: seed, checker: newChecker("problem")}
}

// Add judges the responses to a problem. One that is not sound, or differs in shape from those before, is refused.
func (s *Scorer) Add(p Problem) error {
	place := len(s.samples) + 1
	if err := s.checker.check(&p, place); err != nil {
		return bad("problem %d (%.80q): %w", place, p.ID, err)
	}
	s.samples = append(s.samples, judgeProblem(&p, s.judge))
	return nil
}

// Result returns the metrics over all problems that were added, of which there must be one.
func (s *Scorer) Result() (Result, error) {
	if len(s.samples) == 0 {
		return Result{}, bad("no problems: give at least one")
	}
	samples := slices.Clone(s.samples)
	slices.SortFunc(samples, func(a, b Sample) int { return cmp.Compare(a.ID, b.ID) })
	responses := len(samples[0].Correct)
	return Result{
		Problems: len(samples), Responses: responses, Seed: s.seed, Samples: samples, Estimates: estimate(samples, responses, s.seed),
	}, nil
}

// estimate returns the metrics of judged problems, which are ordered by id and have n responses each.
func estimate(samples []Sample, n int, seed int64) []Estimate {
	first := &samples[0]
	var out []Estimate
	var statistics []ratio // those to bootstrap
	var places []int       // of them in out
	bootstrapped := func(name string, higherIsBetter bool, r ratio) {
		statistics, places = append(statistics, r), append(places, len(out))
		out = append(out, Estimate{Name: name, Value: r.value(), HigherIsBetter: higherIsBetter})
	}

	if first.GreedyCorrect != nil {
		out = append(out, share("greedy", samples, func(s *Sample) bool { return *s.GreedyCorrect }))
	}
	out = append(out, share(fmt.Sprintf("maj@%d", n), samples, func(s *Sample) bool { return s.Correct[s.Voted] }))
	if first.Best != nil {
		out = append(out, share(fmt.Sprintf("rm@%d", n), samples, func(s *Sample) bool { return s.Correct[*s.Best] }))
	}
	out = append(out, share(fmt.Sprintf("pass@%d", n), samples, func(s *Sample) bool { return slices.Contains(s.Correct, true) }))
	ratioAt := len(out)
	bootstrapped("correct_ratio", true, ratio{perProblem(samples, correct), perProblem(samples, func(*Sample) float64 { return float64(n) })})
	if first.Best != nil {
		bootstrapped("orm", true, ratio{perProblem(samples, meanReward), perProblem(samples, func(*Sample) float64 { return 1 })})
	}
	if first.Loss != nil {
		bootstrapped("loss_nats_per_token", false, ratio{
			perProblem(samples, func(s *Sample) float64 { return s.Loss.Nats }),
			perProblem(samples, func(s *Sample) float64 { return float64(s.Loss.Tokens) }),
		})
	}

	for i, interval := range bootstrap(seed, statistics) {
		out[places[i]].CI95 = interval
	}
	// Resamples of problems that are all wrong, or all right, are all the same; the ratio is a share of problems there.
	if e := &out[ratioAt]; e.Value == 0 || e.Value == 1 {
		*e = share(e.Name, samples, func(s *Sample) bool { return s.Correct[0] })
	}
	return out
}

// share is the part of the problems for which something is true.
func share(name string, samples []Sample, holds func(*Sample) bool) Estimate {
	k := 0
	for i := range samples {
		if holds(&samples[i]) {
			k++
		}
	}
	low, high := Wilson(k, len(samples))
	return Estimate{name, float64(k) / float64(len(samples)), [2]float64{low, high}, true}
}

func perProblem(samples []Sample, value func(*Sample) float64) []float64 {
	values := make([]float64, len(samples))
	for i := range samples {
		values[i] = value(&samples[i])
	}
	return values
}

// correct is how many responses are.
func correct(s *Sample) float64 {
	n := 0.0
	for _, c := range s.Correct {
		if c {
			n++
		}
	}
	return n
}

func meanReward(s *Sample) float64 {
	sum := 0.0
	for _, r := range s.Rewards {
		sum += r
	}
	return sum / float64(len(s.Rewards))
}
