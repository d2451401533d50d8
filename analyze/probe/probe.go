package probe

import (
	"context"
	"math/rand/v2"
	"slices"

	"golang.org/x/sync/errgroup"

	"plasticity/analyze/window"
	"plasticity/eval/metric"
	"plasticity/record"
)

// Embedding is the number of the hidden states below the first layer.
const Embedding = -1

// Labels are those of the texts of each split, from 0.
type Labels struct{ Train, Val, Test []int }

// Features are the hidden states of the texts of each split, row by row.
type Features struct{ Train, Val, Test []float32 }

// Problem is what a layer is probed for.
type Problem struct {
	Classes int
	Width   int // of a hidden state
	Labels  Labels
	// TestDocuments are the numbers of the documents that the test texts are of; nil: each is of its own.
	TestDocuments []int
	Grid          []float64 // of C, ascending
	Seed          int64     // of shuffled labels and resamples
	Threads       int
}

// DefaultGrid is what C is chosen from.
func DefaultGrid() []float64 { return []float64{1e-4, 1e-3, 1e-2, 1e-1, 1, 10, 100} }

// Fit is a chosen classifier's result.
type Fit struct {
	C         record.Float    `json:"c"`
	Train     record.Float    `json:"train_accuracy"`
	Val       record.Float    `json:"val_accuracy"`
	Accuracy  record.Float    `json:"accuracy"`             // on the test texts
	Interval  [2]record.Float `json:"accuracy_interval_95"` // over documents
	correct   []float64       // of each test text: 1 where it is right, else 0
	validated int
}

// Layer is the result of a layer's probe.
type Layer struct {
	Layer       int          `json:"layer"` // from 0; Embedding: below the first
	Probe       Fit          `json:"probe"`
	Control     Fit          `json:"control"` // labels shuffled
	Selectivity record.Float `json:"selectivity"`
}

// Summary is the result over layers.
type Summary struct {
	// Documents is how many documents the test texts are of, which the intervals are over.
	Documents int `json:"test_documents"`
	// Majority is the share of the most frequent label of the test texts, which needs no features. The expected accuracy of a guess by
	// the labels' shares is Guess.
	Majority record.Float `json:"majority"`
	Guess    record.Float `json:"guess"`
	// Best is the layer with the highest accuracy on the texts to choose by, the lowest of equal ones.
	Best         int             `json:"best_layer"`
	BestAccuracy record.Float    `json:"best_layer_accuracy"`
	BestInterval [2]record.Float `json:"best_layer_accuracy_interval_95"`
	Mean         record.Float    `json:"mean_accuracy"` // over layers
	MeanInterval [2]record.Float `json:"mean_accuracy_interval_95"`
	MeanControl  record.Float    `json:"mean_control_accuracy"`
}

// controlStream keeps the shuffles apart from the resamples of the same seed.
const controlStream = 0x70726f6265 // "probe"

// control shuffles the labels of each split.
func (l Labels) control(seed int64) Labels {
	random := rand.New(rand.NewPCG(uint64(seed), controlStream))
	shuffled := func(labels []int) []int {
		out := slices.Clone(labels)
		random.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
		return out
	}
	return Labels{shuffled(l.Train), shuffled(l.Val), shuffled(l.Test)}
}

// Run probes layers; features[i] are those of numbers[i]. done is told of each layer.
func (p Problem) Run(ctx context.Context, numbers []int, features []Features, done func()) ([]Layer, error) {
	control := p.Labels.control(p.Seed)
	layers := make([]Layer, len(numbers))
	tell := make(chan struct{})
	told := make(chan struct{})
	go func() {
		defer close(told)
		for range tell {
			done()
		}
	}()
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(max(1, p.Threads))
	for i, f := range features {
		group.Go(func() error {
			l := Layer{Layer: numbers[i]}
			var err error
			if l.Probe, err = p.fit(ctx, f, p.Labels); err != nil {
				return err
			}
			if l.Control, err = p.fit(ctx, f, control); err != nil {
				return err
			}
			l.Selectivity = l.Probe.Accuracy - l.Control.Accuracy
			layers[i] = l
			tell <- struct{}{}
			return nil
		})
	}
	err := group.Wait()
	close(tell)
	<-told
	return layers, err
}

// fit chooses C and tests.
func (p Problem) fit(ctx context.Context, f Features, labels Labels) (Fit, error) {
	scale := newScaling(f.Train, p.Width)
	train, val, test := scale.apply(f.Train), scale.apply(f.Val), scale.apply(f.Test)
	c := newClassifier(p.Classes, p.Width)
	best := Fit{validated: -1}
	for _, strength := range p.Grid {
		if err := ctx.Err(); err != nil {
			return Fit{}, record.FailIO(err, "probe")
		}
		var err error
		if c, err = c.fit(train, labels.Train, strength); err != nil { // beginning where the last one ended
			return Fit{}, err
		}
		right, _ := count(c.predict(val), labels.Val)
		if right <= best.validated {
			continue
		}
		best = Fit{C: record.Float(strength), Val: share(right, len(labels.Val)), validated: right}
		right, _ = count(c.predict(train), labels.Train)
		best.Train = share(right, len(labels.Train))
		right, best.correct = count(c.predict(test), labels.Test)
		best.Accuracy = share(right, len(labels.Test))
	}
	best.Interval = p.interval(best.correct)
	return best, nil
}

// count compares predictions with labels; correct is 1 or 0.
func count(predicted, labels []int) (right int, correct []float64) {
	correct = make([]float64, len(labels))
	for i, l := range labels {
		if predicted[i] == l {
			correct[i] = 1
			right++
		}
	}
	return right, correct
}

// documents counts those of the test texts.
func (p Problem) documents() int {
	if p.TestDocuments == nil {
		return len(p.Labels.Test)
	}
	return len(slices.Compact(slices.Sorted(slices.Values(p.TestDocuments))))
}

// interval is that of 95 % of the mean of a value from 0 to 1 for each test text: Wilson's for a share of texts that are documents of their
// own, else bootstrapped over documents. Where all are 0, or all 1, every resample is the same, and it is Wilson's for as many documents.
func (p Problem) interval(values []float64) [2]record.Float {
	right, isShare := 0, true
	for _, v := range values {
		switch v {
		case 0:
		case 1:
			right++
		default:
			isShare = false
		}
	}
	texts, documents := len(values), p.documents()
	if isShare && (documents == texts || right == 0 || right == texts) {
		low, high := metric.Wilson(right*documents/texts, documents)
		return [2]record.Float{record.Float(low), record.Float(high)}
	}
	var of [][]int
	if p.TestDocuments != nil {
		of = [][]int{p.TestDocuments}
	}
	return window.Interval(p.Seed, [][]float64{values}, of)
}

func share(k, n int) record.Float { return record.Float(float64(k) / float64(n)) }

// Summarise puts layers together.
func (p Problem) Summarise(layers []Layer) Summary {
	var s Summary
	counts := make([]int, p.Classes)
	for _, l := range p.Labels.Test {
		counts[l]++
	}
	n := len(p.Labels.Test)
	for _, c := range counts {
		s.Majority = max(s.Majority, share(c, n))
		s.Guess += share(c, n) * share(c, n)
	}
	best := layers[0]
	perText := make([]float64, n) // the share of layers that are right
	for _, l := range layers {
		if l.Probe.validated > best.Probe.validated {
			best = l
		}
		s.Mean += l.Probe.Accuracy / record.Float(len(layers))
		s.MeanControl += l.Control.Accuracy / record.Float(len(layers))
		for i, right := range l.Probe.correct {
			perText[i] += right
		}
	}
	for i := range perText {
		perText[i] /= float64(len(layers))
	}
	s.Best, s.BestAccuracy, s.BestInterval = best.Layer, best.Probe.Accuracy, best.Probe.Interval
	s.MeanInterval, s.Documents = p.interval(perText), p.documents()
	return s
}
