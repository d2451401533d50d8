package plots

import (
	"math"
	"slices"

	"plasticity/record"
)

// curve is one run as training curves show it, thinned to what can be seen.
type curve struct {
	*member
	decay       float64
	loss        []sample
	validation  []sample
	diverged    bool // the last loss is not finite
	nonFinite   int  // logged steps without a finite loss
	noTokenAxis bool // tokens are missing or do not rise
}

// sample is one point of a curve.
type sample struct {
	step, tokens  int64
	value, smooth float64
}

const (
	curvePoints = 60_000 // of a figure, shared out between the runs
	halfLife    = 0.01   // of the smoothing, as a fraction of the planned steps
)

// newCurve thins the metrics of a run to at most so many points; each is the mean of its part of the training.
func newCurve(m *member, most int) curve {
	c := curve{member: m, decay: m.decay()}
	losses := make([]float64, len(m.Metrics))
	var last int64
	for i, line := range m.Metrics {
		losses[i] = float64(line.Loss)
		if !finite(losses[i]) {
			c.nonFinite++
		}
		c.noTokenAxis = c.noTokenAxis || line.Tokens < last
		last = line.Tokens
		if line.ValLoss != nil && finite(float64(*line.ValLoss)) {
			c.validation = append(c.validation, sample{line.Step, line.Tokens, float64(*line.ValLoss), math.NaN()})
		}
	}
	if n := len(losses); n > 0 {
		c.diverged = !finite(losses[n-1])
	}
	c.loss = thin(m.Metrics, losses, smooth(losses, halfLife*planned(m)), most)
	return c
}

// planned is how many lines of metrics the whole run has.
func planned(m *member) float64 {
	n := len(m.Metrics)
	if n < 2 || m.Info.Steps <= 0 {
		return float64(n)
	}
	every := float64(m.Metrics[n-1].Step-m.Metrics[0].Step) / float64(n-1)
	return math.Max(float64(m.Info.Steps)/math.Max(every, 1), 1)
}

// thin joins neighbouring lines to at most so many points.
func thin(metrics []record.Metric, values, smoothed []float64, most int) []sample {
	if len(values) == 0 {
		return nil
	}
	stride := (len(values) + most - 1) / most
	var out []sample
	for from := 0; from < len(values); from += stride {
		to := min(from+stride, len(values))
		sum, n := 0.0, 0
		for _, v := range values[from:to] {
			if finite(v) {
				sum, n = sum+v, n+1
			}
		}
		if n > 0 && finite(smoothed[to-1]) {
			out = append(out, sample{metrics[to-1].Step, metrics[to-1].Tokens, sum / float64(n), smoothed[to-1]})
		}
	}
	return out
}

// curveRange fits a vertical axis to the values behind the first part of training, less the few highest.
func curveRange(curves []curve, of func(curve) []sample, value func(sample) float64, skip float64) (low, high float64, ok bool) {
	var values []float64
	for _, after := range []float64{skip, 0} {
		for _, c := range curves {
			for _, s := range of(c) {
				if float64(s.tokens) >= after*float64(c.Info.Tokens) {
					values = append(values, value(s))
				}
			}
		}
		if len(values) > 0 {
			break
		}
	}
	if len(values) == 0 {
		return 0, 1, false
	}
	slices.Sort(values)
	low, high = values[0], values[(len(values)-1)*98/100]
	span := math.Max(high-low, math.Max(2e-3*math.Abs(low), 1e-4))
	return low - 0.06*span, high + 0.08*span, true
}
