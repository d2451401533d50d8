package plots

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"plasticity/record"
)

const (
	probesFolder  = "probes-" // and the task
	probesFile    = "probes.json"
	maxProbeBytes = 4 << 20
	maxProbes     = 32 // results of a run
	maxProbed     = 4096
	probesCommand = "plasticity analyze probes"

	// EmbeddingLayer is the number of the hidden states below the first layer.
	EmbeddingLayer = -1
)

// ProbeSettings decide what probes measure, besides the model: runs compare only when they are equal.
type ProbeSettings struct {
	Task       string    `json:"task"`
	TextDigest string    `json:"text_digest"` // of all texts with their labels and splits
	Pool       string    `json:"pool"`        // the state of a text: last, that of its last token, or mean, over its tokens
	Layers     []int     `json:"layers"`      // ascending, EmbeddingLayer first
	Context    int       `json:"context"`     // in tokens; longer texts are cut
	Grid       []float64 `json:"c_grid"`      // that the strength of the penalty is chosen from
	Seed       int64     `json:"seed"`
}

// Probes is what one probes.json says: accuracies, from 0 to 1, of linear classifiers of hidden states.
type Probes struct {
	Settings         ProbeSettings
	Step             int64 // of the checkpoint
	Synthetic        bool  // the texts are made up
	Labels           int
	Train, Val, Test int     // texts to learn from, to choose by and to test on
	TestDocuments    int     // that the texts to test on are of, which intervals are over; 0: not known, in older results
	Majority         float64 // share of the most frequent label of the texts to test on
	Layers           []LayerProbe
	Best             int // index of the layer that is best on the texts to choose by
}

// LayerProbe is the probe of a layer.
type LayerProbe struct {
	Layer     int
	Accuracy  float64 // on the texts to test on
	Low, High float64 // 95 % interval over the documents of those texts; in older results over the texts
	Control   float64 // accuracy of the control task, the same with shuffled labels
}

// Mean is the accuracy averaged over layers.
func (p *Probes) Mean() float64 {
	return p.over(func(l LayerProbe) float64 { return l.Accuracy })
}

// MeanControl is that of the control task.
func (p *Probes) MeanControl() float64 {
	return p.over(func(l LayerProbe) float64 { return l.Control })
}

func (p *Probes) over(of func(LayerProbe) float64) float64 {
	var sum float64
	for _, l := range p.Layers {
		sum += of(l)
	}
	return sum / float64(len(p.Layers))
}

// probesDocument is probes.json as far as it is read.
type probesDocument struct {
	Settings  ProbeSettings `json:"settings"`
	Synthetic bool          `json:"synthetic"`
	Labels    []string      `json:"labels"`
	Train     int           `json:"train_texts"`
	Val       int           `json:"val_texts"`
	Test      int           `json:"test_texts"`
	Summary   struct {
		Documents int          `json:"test_documents"` // absent in older results
		Majority  record.Float `json:"majority"`
		Best      *int         `json:"best_layer"`
		Mean      record.Float `json:"mean_accuracy"`
	} `json:"summary"`
	Layers []struct {
		Layer   *int        `json:"layer"`
		Probe   documentFit `json:"probe"`
		Control documentFit `json:"control"`
	} `json:"layers"`
}

type documentFit struct {
	Accuracy record.Float    `json:"accuracy"`
	Interval [2]record.Float `json:"accuracy_interval_95"`
}

// sound tells whether an accuracy lies in an interval of shares; one that is missing does not.
func (f documentFit) sound() bool {
	const rounding = 1e-9
	low, at, high := float64(f.Interval[0]), float64(f.Accuracy), float64(f.Interval[1])
	return low >= -rounding && low <= at+rounding && at <= high+rounding && high <= 1+rounding && high > 0
}

// readProbes reads the probes of a run, a folder each. What is damaged, and a second result of the same settings, is a problem.
func readProbes(run *record.Run) ([]Probes, []record.Problem) {
	var out []Probes
	var problems []record.Problem
	known := map[string]string{}
	for found, problem := range resultsBelow(run, record.AnalyzeDir, probesFolder, probesFile, maxProbeBytes) {
		switch {
		case problem != nil:
			problems = append(problems, *problem)
			continue
		case len(out) == maxProbes:
			problems = append(problems, record.Problem{Path: found.path, What: fmt.Sprintf("more than %d results of probes: left out", maxProbes)})
			return out, problems
		}
		probes, err := parseProbes(found.text, run.Info.ID)
		if err != nil {
			problems = append(problems, record.Problem{Path: found.path, What: err.Error()})
			continue
		}
		key := fmt.Sprintf("%d %+v", probes.Step, probes.Settings)
		if first, again := known[key]; again {
			problems = append(problems, record.Problem{Path: found.path, What: "a second result of the same settings; that of " + clean(first, 80) + " is used"})
			continue
		}
		known[key] = found.folder
		out = append(out, *probes)
	}
	return out, problems
}

// parseProbes decodes probes.json of the run with the id.
func parseProbes(text []byte, id string) (*Probes, error) {
	var d probesDocument
	step, err := openResult(text, &d, id, "probes", probesCommand)
	if err != nil {
		return nil, err
	}
	out := &Probes{
		Settings: d.Settings, Step: step, Synthetic: d.Synthetic, Labels: len(d.Labels), Train: d.Train, Val: d.Val, Test: d.Test,
		TestDocuments: d.Summary.Documents, Majority: float64(d.Summary.Majority), Best: -1,
	}
	switch {
	case out.Settings.Task == "" || len(out.Settings.Task) > 200:
		return nil, errors.New("has no name of a task")
	case d.Train < 1 || d.Val < 1 || d.Test < 1 || len(d.Labels) < 2:
		return nil, errors.New("has no texts with two labels or more")
	case out.TestDocuments < 0 || out.TestDocuments > d.Test:
		return nil, errors.New("has more documents than texts to test on")
	case !(out.Majority > 0 && out.Majority <= 1):
		return nil, errors.New("the share of the most frequent label is not from 0 to 1")
	}
	return out, d.layers(out)
}

// layers takes the layers over: those of the settings, ascending, with sound accuracies, their mean and the best one.
func (d *probesDocument) layers(out *Probes) error {
	if len(d.Layers) == 0 || len(d.Layers) > maxProbed || len(d.Layers) != len(d.Settings.Layers) {
		return errors.New("the layers are not those of its settings")
	}
	last := EmbeddingLayer - 1
	for i, l := range d.Layers {
		switch {
		case l.Layer == nil || *l.Layer <= last || *l.Layer >= maxProbed || *l.Layer != d.Settings.Layers[i]:
			return errors.New("the layers are not those of its settings, numbered upwards")
		case !l.Probe.sound() || !l.Control.sound():
			return fmt.Errorf("%s: an accuracy is not a share with an interval around it", layerWord(*l.Layer))
		}
		last = *l.Layer
		if d.Summary.Best != nil && last == *d.Summary.Best {
			out.Best = i
		}
		out.Layers = append(out.Layers, LayerProbe{
			Layer: last, Accuracy: float64(l.Probe.Accuracy), Low: float64(l.Probe.Interval[0]), High: float64(l.Probe.Interval[1]), Control: float64(l.Control.Accuracy),
		})
	}
	if out.Best < 0 {
		return errors.New("the best layer is none of its layers")
	}
	if !(math.Abs(out.Mean()-float64(d.Summary.Mean)) <= 1e-6) {
		return errors.New("the mean accuracy is not that of its layers")
	}
	return nil
}

// layerWord names a layer in a sentence or a table: "embedding", "layer 3".
func layerWord(layer int) string {
	if layer == EmbeddingLayer {
		return "embedding"
	}
	return fmt.Sprintf("layer %d", layer)
}

// poolWord says how the states of a text became one.
func poolWord(pool string) string {
	switch pool {
	case "last":
		return "last token"
	case "mean":
		return "mean over tokens"
	default:
		return "pool " + clean(pool, 20)
	}
}

// layersWord names layers, at least one: "embedding and layers 0 to 3".
func layersWord(layers []int) string {
	if len(layers) == 1 {
		return layerWord(layers[0])
	}
	if layers[0] != EmbeddingLayer {
		return "layers " + joined(layers)
	}
	return "embedding and " + layersWord(layers[1:])
}

// cutFrom says how many documents the texts to test on were cut out of; empty where each is one, or where it is not known.
func (p *Probes) cutFrom() string {
	if p.TestDocuments == 0 || p.TestDocuments == p.Test {
		return ""
	}
	return plural(p.TestDocuments, "document")
}

// label says in short how probes were measured.
func (p *Probes) label() string {
	words := []string{poolWord(p.Settings.Pool), layersWord(p.Settings.Layers), plural(p.Train, "text")}
	return strings.Join(words, ", ")
}
