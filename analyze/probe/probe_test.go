package probe

import (
	"context"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"plasticity/analyze/window"
	"plasticity/eval/metric"
	"plasticity/record"
)

// planted makes texts of so many classes whose features have the class in a direction of their own, by so many standard deviations.
func planted(classes, width int, signal float64, sizes [3]int) (Problem, Features) {
	random := rand.New(rand.NewPCG(7, uint64(classes)))
	p := Problem{Classes: classes, Width: width, Grid: DefaultGrid(), Seed: 1, Threads: 2}
	var f Features
	for k, split := range []struct {
		labels   *[]int
		features *[]float32
	}{{&p.Labels.Train, &f.Train}, {&p.Labels.Val, &f.Val}, {&p.Labels.Test, &f.Test}} {
		for i := range sizes[k] {
			label := i % classes
			*split.labels = append(*split.labels, label)
			for j := range width {
				x := random.NormFloat64()
				if j == label {
					x += signal
				}
				*split.features = append(*split.features, float32(1000+float64(j+1)*x)) // far from standardised
			}
		}
	}
	return p, f
}

func run(t *testing.T, p Problem, features ...Features) []Layer {
	t.Helper()
	var numbers []int
	for i := range features {
		numbers = append(numbers, i-1)
	}
	done := 0
	layers, err := p.Run(context.Background(), numbers, features, func() { done++ })
	if err != nil {
		t.Fatal(err)
	}
	if done != len(features) {
		t.Errorf("%d of %d layers reported", done, len(features))
	}
	return layers
}

// What is planted is found, what is not there is not found, and shuffled labels are at chance whatever the features.
func TestRun_FindsWhatIsPlanted(t *testing.T) {
	for _, classes := range []int{2, 4} {
		p, strong := planted(classes, 12, 4, [3]int{400, 200, 400})
		_, none := planted(classes, 12, 0, [3]int{400, 200, 400})
		layers := run(t, p, none, strong)
		chance := record.Float(1 / float64(classes))
		for i, l := range layers {
			if l.Layer != i-1 {
				t.Errorf("layer %d is called %d", i-1, l.Layer)
			}
			for name, f := range map[string]Fit{"control": l.Control, "nothing planted": layers[0].Probe} {
				if math.Abs(float64(f.Accuracy-chance)) > 0.08 || f.Interval[0] > f.Accuracy || f.Interval[1] < f.Accuracy {
					t.Errorf("%d classes, %s: %+v, chance is %v", classes, name, f, chance)
				}
			}
		}
		if a := layers[1].Probe.Accuracy; a < 0.97 || layers[1].Selectivity != a-layers[1].Control.Accuracy {
			t.Errorf("%d classes: %+v", classes, layers[1])
		}
		s := p.Summarise(layers)
		if s.Best != 0 || s.BestAccuracy != layers[1].Probe.Accuracy || s.Majority != chance || math.Abs(float64(s.Guess-chance)) > 1e-12 {
			t.Errorf("%d classes: %+v", classes, s)
		}
		mean := (layers[0].Probe.Accuracy + layers[1].Probe.Accuracy) / 2
		if math.Abs(float64(s.Mean-mean)) > 1e-12 || s.MeanInterval[0] >= mean || s.MeanInterval[1] <= mean {
			t.Errorf("%d classes: mean %v in %+v", classes, mean, s)
		}
		perText := make([]float64, len(p.Labels.Test))
		for i := range perText {
			perText[i] = (layers[0].Probe.correct[i] + layers[1].Probe.correct[i]) / 2
		}
		if want := window.Interval(p.Seed, [][]float64{perText}, nil); s.MeanInterval != want {
			t.Errorf("%d classes: the mean's interval is %v, resamples of all analyses give %v", classes, s.MeanInterval, want)
		}
		if again := run(t, p, none, strong); again[1].Control.Accuracy != layers[1].Control.Accuracy || again[1].Probe.C != layers[1].Probe.C {
			t.Error("another result the second time")
		}
	}
}

// Texts of one document that are right or wrong together are no new evidence; where all are right, or all wrong, the interval is that of as
// many documents.
func TestInterval_IsOverDocuments(t *testing.T) {
	const documents, each = 40, 25
	random := rand.New(rand.NewPCG(3, 3))
	p := Problem{Seed: 1, Labels: Labels{Test: make([]int, documents*each)}}
	values, all := make([]float64, documents*each), make([]float64, documents*each)
	grouped := p
	for d := range documents {
		right := float64(random.IntN(2))
		for k := range each {
			values[d*each+k], all[d*each+k] = right, 1
			grouped.TestDocuments = append(grouped.TestDocuments, 7+d)
		}
	}
	width := func(i [2]record.Float) float64 { return float64(i[1] - i[0]) }
	if ratio := width(grouped.interval(values)) / width(p.interval(values)); ratio < 4 || ratio > 6 { // √25
		t.Errorf("over documents %v, over texts %v", grouped.interval(values), p.interval(values))
	}
	low, high := metric.Wilson(documents, documents)
	if got := grouped.interval(all); got != [2]record.Float{record.Float(low), record.Float(high)} {
		t.Errorf("all right: %v", got)
	}
	if got := grouped.interval(make([]float64, documents*each)); got[0] != 0 || math.Abs(float64(got[1])-(1-low)) > 1e-12 {
		t.Errorf("all wrong: %v", got)
	}
}

// The layers and their summary have such intervals, and say over how many documents.
func TestRun_IsOverDocuments(t *testing.T) {
	p, f := planted(2, 4, 1, [3]int{200, 100, 300})
	alone := run(t, p, f)
	for i := range p.Labels.Test {
		p.TestDocuments = append(p.TestDocuments, i/30)
	}
	layers := run(t, p, f)
	s := p.Summarise(layers)
	if want := p.interval(layers[0].Probe.correct); layers[0].Probe.Interval != want || s.BestInterval != want || s.MeanInterval != want || alone[0].Probe.Interval == want {
		t.Errorf("%v of the layer, %v and %v in the summary, want %v; as texts of their own %v", layers[0].Probe.Interval, s.BestInterval, s.MeanInterval, want, alone[0].Probe.Interval)
	}
	if s.Documents != 10 {
		t.Errorf("%d documents", s.Documents)
	}
}

func TestObjective_HasItsGradient(t *testing.T) {
	for _, classes := range []int{2, 3} {
		p, f := planted(classes, 4, 1, [3]int{30, 4, 4})
		x := newScaling(f.Train, 4).apply(f.Train)
		c := newClassifier(classes, 4)
		random := rand.New(rand.NewPCG(1, 2))
		for i := range c.parameters {
			c.parameters[i] = random.NormFloat64()
		}
		gradient := make([]float64, len(c.parameters))
		o := &objective{classifier: classifier{classes: classes, d: 4}, x: x, labels: p.Labels.Train, strength: 0.3}
		o.gradient(gradient, c.parameters)
		for i, want := range gradient {
			at := func(step float64) float64 {
				moved := slices.Clone(c.parameters)
				moved[i] += step
				return o.loss(moved)
			}
			const h = 1e-5
			if got := (at(h) - at(-h)) / (2 * h); math.Abs(got-want) > 1e-8 {
				t.Errorf("%d classes, parameter %d: %v by differences, %v", classes, i, got, want)
			}
		}
		again := make([]float64, len(gradient)) // after it was elsewhere, and at a place where it was just asked for the loss
		o.loss(c.parameters)
		if o.gradient(again, c.parameters); !slices.Equal(again, gradient) {
			t.Errorf("%d classes: %v, then %v at the same place", classes, gradient, again)
		}
	}
}

func TestScaling_OfAFeatureThatDoesNotVary(t *testing.T) {
	s := newScaling([]float32{5, 1, 5, 3}, 2)
	got := s.apply([]float32{5, 1, 5, 3, 6, 4})
	if want := []float64{0, -1, 0, 1, 1, 2}; !slices.Equal(got.values, want) {
		t.Errorf("%v, want %v", got.values, want)
	}
	tenths := slices.Repeat([]float32{0.1}, 7) // their mean in float64 is not one of them
	if got := newScaling(tenths, 1).apply([]float32{0.1, 1.1}); got.values[0] != 0 || math.Abs(got.values[1]-1) > 1e-6 {
		t.Errorf("%v, want 0 and 1", got.values)
	}
}

func TestResult_IsKeptAndNotReplaced(t *testing.T) {
	dir := t.TempDir()
	r := Result{Settings: Settings{Model: "a@1", Layers: []int{-1, 0}}, Layers: []Layer{{Layer: -1}}}
	if _, ok, err := Find(record.OS(), dir, r.Settings); ok || err != nil {
		t.Fatal(ok, err)
	}
	if err := r.Write(record.OS(), dir); err != nil {
		t.Fatal(err)
	}
	if got, ok, err := Find(record.OS(), dir, r.Settings); !ok || err != nil || len(got.Layers) != 1 {
		t.Error(got, ok, err)
	}
	if _, _, err := Find(record.OS(), dir, Settings{Model: "a@1", Layers: []int{0}}); record.CodeOf(err) != record.Mismatch {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, File), []byte("{}"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Find(record.OS(), dir, r.Settings); record.CodeOf(err) != record.BadData {
		t.Error(err)
	}
}
