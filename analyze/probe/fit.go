package probe

import (
	"math"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas64"
	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/optimize"

	"plasticity/record"
)

const (
	// The fit ends where no element of the gradient of the mean loss is larger than gradientEnd; one that cannot go on is accepted up
	// to gradientMost.
	gradientEnd  = 1e-6
	gradientMost = 1e-3
	iterations   = 2000
)

// matrix is n × d, row by row.
type matrix struct {
	n, d   int
	values []float64
}

func (m matrix) general() blas64.General {
	return blas64.General{Rows: m.n, Cols: m.d, Stride: m.d, Data: m.values}
}

// scaling makes features of mean 0 and standard deviation 1.
type scaling struct{ mean, deviation []float64 }

// newScaling is that of features [n, d], row by row. A feature that does not vary is left as wide as it is.
func newScaling(features []float32, d int) scaling {
	s := scaling{make([]float64, d), make([]float64, d)}
	n := float64(len(features) / d)
	varies := make([]bool, d) // the deviation does not tell: the mean of equal numbers is rounded
	for i, x := range features {
		varies[i%d] = varies[i%d] || x != features[i%d]
		s.mean[i%d] += float64(x) / n
	}
	for i, x := range features {
		difference := float64(x) - s.mean[i%d]
		s.deviation[i%d] += difference * difference / n
	}
	for j, v := range s.deviation {
		s.deviation[j] = math.Sqrt(v)
		if !varies[j] {
			s.mean[j], s.deviation[j] = float64(features[j]), 1
		}
	}
	return s
}

func (s scaling) apply(features []float32) matrix {
	d := len(s.mean)
	m := matrix{len(features) / d, d, make([]float64, len(features))}
	for i, x := range features {
		m.values[i] = (float64(x) - s.mean[i%d]) / s.deviation[i%d]
	}
	return m
}

// classifier scores classes: one row of weights and an intercept for each, or a single one for the second of two.
type classifier struct {
	classes, d int
	parameters []float64 // weights [rows, d], then intercepts [rows]
}

func newClassifier(classes, d int) classifier {
	c := classifier{classes: classes, d: d}
	c.parameters = make([]float64, c.rows()*(d+1))
	return c
}

func (c classifier) rows() int {
	if c.classes == 2 {
		return 1
	}
	return c.classes
}

// scores are x·Wᵀ + b: [n, rows].
func (c classifier) scores(x matrix) matrix {
	k := c.rows()
	out := matrix{x.n, k, make([]float64, x.n*k)}
	weights := blas64.General{Rows: k, Cols: c.d, Stride: c.d, Data: c.parameters[:k*c.d]}
	for i := range out.values {
		out.values[i] = c.parameters[k*c.d+i%k]
	}
	blas64.Gemm(blas.NoTrans, blas.Trans, 1, x.general(), weights, 1, out.general())
	return out
}

// predict returns the class of each row.
func (c classifier) predict(x matrix) []int {
	scores := c.scores(x)
	out := make([]int, x.n)
	for i := range out {
		row := scores.values[i*scores.d : (i+1)*scores.d]
		if c.classes > 2 {
			out[i] = floats.MaxIdx(row)
		} else if row[0] > 0 {
			out[i] = 1
		}
	}
	return out
}

// objective is the penalised loss over C·n, which has the same minimum.
type objective struct {
	classifier // that it was last computed at
	x          matrix
	labels     []int
	strength   float64

	value     float64
	residuals matrix // gradient of the loss by the scores: [n, rows]
}

// at computes the loss and its gradient by the scores; at the parameters of the last call it has them.
func (o *objective) at(parameters []float64) {
	if floats.Equal(o.parameters, parameters) {
		return
	}
	o.parameters = append(o.parameters[:0], parameters...)
	k, n := o.rows(), float64(o.x.n)
	o.residuals = o.scores(o.x)
	loss := 0.0
	for i, label := range o.labels {
		row := o.residuals.values[i*k : (i+1)*k]
		if o.classes == 2 {
			loss += softplus(row[0]) - float64(label)*row[0]
			row[0] = (logistic(row[0]) - float64(label)) / n
			continue
		}
		normaliser := floats.LogSumExp(row)
		loss += normaliser - row[label]
		for j := range row {
			row[j] = math.Exp(row[j]-normaliser) / n
		}
		row[label] -= 1 / n
	}
	weights := o.parameters[:k*o.d]
	o.value = loss/n + o.penalty()/2*floats.Dot(weights, weights)
}

func (o *objective) penalty() float64 { return 1 / (o.strength * float64(o.x.n)) }

func (o *objective) loss(parameters []float64) float64 {
	o.at(parameters)
	return o.value
}

func (o *objective) gradient(gradient, parameters []float64) {
	o.at(parameters)
	k := o.rows()
	copy(gradient, o.parameters[:k*o.d])
	out := blas64.General{Rows: k, Cols: o.d, Stride: o.d, Data: gradient[:k*o.d]}
	blas64.Gemm(blas.Trans, blas.NoTrans, 1, o.residuals.general(), o.x.general(), o.penalty(), out)
	intercepts := gradient[k*o.d:]
	clear(intercepts)
	for i := range o.x.n {
		floats.Add(intercepts, o.residuals.values[i*k:(i+1)*k])
	}
}

// softplus is log(1 + eˣ).
func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

func logistic(x float64) float64 {
	if x < 0 {
		e := math.Exp(x)
		return e / (1 + e)
	}
	return 1 / (1 + math.Exp(-x))
}

// fit finds the minimum for an inverse strength C of the penalty, beginning with the parameters that c has.
func (c classifier) fit(x matrix, labels []int, strength float64) (classifier, error) {
	o := &objective{classifier: classifier{classes: c.classes, d: c.d}, x: x, labels: labels, strength: strength}
	settings := &optimize.Settings{GradientThreshold: gradientEnd, MajorIterations: iterations, Converger: optimize.NeverTerminate{}}
	result, err := optimize.Minimize(optimize.Problem{Func: o.loss, Grad: o.gradient}, c.parameters, settings, &optimize.LBFGS{})
	if result == nil {
		return c, record.Fail(record.Internal, "logistic regression: %w", err)
	}
	// Near the minimum a line search may find no lower value in float64, which is no failure.
	gradient := make([]float64, len(result.X))
	o.gradient(gradient, result.X)
	if size := floats.Norm(gradient, math.Inf(1)); !(size <= gradientMost) {
		return c, record.Fail(record.Internal, "logistic regression with C = %v ended at a gradient of %v (%v): leave the layer out with --layers", strength, size, result.Status)
	}
	return classifier{c.classes, c.d, result.X}, nil
}
