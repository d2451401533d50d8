package noise

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"plasticity/record"
)

// Weights are those of a model: read as they were, written as they shall be.
type Weights interface {
	// Matrices names the parameters that get noise.
	Matrices() []string
	// Original is what a matrix was before there was noise. The caller may change it.
	Original(name string) ([]float32, error)
	// Set overwrites a matrix.
	Set(name string, values []float32) error
	// Restore brings back every weight to the bit.
	Restore() error
}

// Bounds of settings.
const (
	MaxSigma  = 10
	MaxSigmas = 64
	MinDraws  = 2 // for an interval
	MaxDraws  = 1024
)

// Check refuses relative sizes and numbers of draws that are impossible: the error is a record.Failure with Usage.
func Check(sigmas []float64, draws int) error {
	if len(sigmas) == 0 || len(sigmas) > MaxSigmas {
		return record.Fail(record.Usage, "sigmas: %d sizes of noise: want 1 to %d", len(sigmas), MaxSigmas)
	}
	for i, s := range sigmas {
		switch {
		case !(s > 0 && s <= MaxSigma):
			return record.Fail(record.Usage, "sigmas %v: want above 0 and at most %d", s, MaxSigma)
		case i > 0 && s <= sigmas[i-1]:
			return record.Fail(record.Usage, "sigmas %v after %v: want each larger than the one before", s, sigmas[i-1])
		}
	}
	if draws < MinDraws || draws > MaxDraws {
		return record.Fail(record.Usage, "draws %d: want %d to %d", draws, MinDraws, MaxDraws)
	}
	return nil
}

// Add puts noise of a relative size on the values of a matrix. Which numbers are drawn follows from seed, draw and the matrix's name.
func Add(values []float32, sigma float64, seed int64, draw int, name string) {
	square := 0.0
	for _, x := range values {
		square += float64(x) * float64(x)
	}
	scale := sigma * math.Sqrt(square/float64(len(values)))
	of := fnv.New64a()
	_, _ = fmt.Fprintf(of, "%s %d", name, draw) // a hash takes every write
	random := rand.New(rand.NewPCG(uint64(seed), of.Sum64()))
	for i, x := range values {
		values[i] = float32(float64(x) + scale*random.NormFloat64())
	}
}

// Measure computes the loss without noise and then with it, for each draw at each size of the settings. loss is asked for the mean loss with
// the weights as they are; done is told of each time. The weights are as before when it returns, also after a failure.
func Measure(ctx context.Context, s Settings, w Weights, loss func(ctx context.Context) (float64, error), done func()) (r *Result, err error) {
	r = &Result{Settings: s, Matrices: len(w.Matrices())}
	plain, err := loss(ctx)
	if err != nil {
		return nil, err
	}
	done()
	r.Loss = record.Float(plain)
	losses := make([][]float64, len(s.Sigmas))
	defer func() { err = errors.Join(err, w.Restore()) }()
	for draw := range s.Draws {
		for k, sigma := range s.Sigmas {
			if err := ctx.Err(); err != nil {
				return nil, record.FailIO(err, "measure the loss with noise")
			}
			if err := perturb(w, sigma, s.Seed, draw); err != nil {
				return nil, err
			}
			l, err := loss(ctx)
			if err != nil {
				if record.CodeOf(err) == record.NonFinite {
					return nil, record.Fail(record.NonFinite, "with noise of relative size %v: %w: ask for smaller --sigmas", sigma, err)
				}
				return nil, err
			}
			losses[k] = append(losses[k], l)
			done()
		}
	}
	for k, sigma := range s.Sigmas {
		r.Levels = append(r.Levels, levelOf(sigma, plain, losses[k]))
	}
	r.SigmaAtRise = sigmaAt(Rise, r.Levels)
	return r, nil
}

// perturb puts fresh noise on the original values of all matrices.
func perturb(w Weights, sigma float64, seed int64, draw int) error {
	for _, name := range w.Matrices() {
		values, err := w.Original(name)
		if err != nil {
			return err
		}
		Add(values, sigma, seed, draw, name)
		if err := w.Set(name, values); err != nil {
			return err
		}
	}
	return nil
}

// levelOf summarises the losses of all draws at one size.
func levelOf(sigma, plain float64, losses []float64) Level {
	l := Level{Sigma: record.Float(sigma)}
	for _, x := range losses {
		l.Losses = append(l.Losses, record.Float(x))
	}
	mean, deviation := stat.MeanStdDev(losses, nil)
	n := float64(len(losses))
	half := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: n - 1}.Quantile(0.975) * deviation / math.Sqrt(n)
	l.Loss, l.Rise = record.Float(mean), record.Float(mean-plain)
	l.Interval = [2]record.Float{record.Float(mean - half), record.Float(mean + half)}
	return l
}

// sigmaAt is the size of noise at which the loss has first risen by so much; nil where it has not. Between two sizes, of which the first is no
// noise at all, the rise is taken to be linear in σ², as it is for small noise at a minimum.
func sigmaAt(rise float64, levels []Level) *record.Float {
	at := slices.IndexFunc(levels, func(l Level) bool { return float64(l.Rise) >= rise })
	if at < 0 {
		return nil
	}
	var low, lowRise float64
	if at > 0 {
		low, lowRise = float64(levels[at-1].Sigma), float64(levels[at-1].Rise)
	}
	high, highRise := float64(levels[at].Sigma), float64(levels[at].Rise)
	sigma := record.Float(math.Sqrt(low*low + (rise-lowRise)/(highRise-lowRise)*(high*high-low*low)))
	return &sigma
}
