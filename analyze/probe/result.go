package probe

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"plasticity/record"
)

const (
	// File is that of a result; a table of it lies beside it.
	File   = name + ".json"
	name   = "probes"
	schema = 1
)

// The ways in which the hidden states of a text become one.
const (
	Last = "last" // that of the last token
	Mean = "mean" // the mean over tokens
)

// Settings decide a result.
type Settings struct {
	Model      string    `json:"model"` // id of the run with the checkpoint's step, or a digest of the weights
	Task       string    `json:"task"`
	TextDigest string    `json:"text_digest"` // of all texts with their labels and splits
	Pool       string    `json:"pool"`        // Last or Mean
	Layers     []int     `json:"layers"`      // from 0; Embedding: below the first
	Context    int       `json:"context"`     // longer texts are cut, in tokens
	Grid       []float64 `json:"c_grid"`
	Seed       int64     `json:"seed"` // of texts drawn, labels shuffled and resamples
}

// Result is what probes.json has.
type Result struct {
	Schema    int      `json:"schema"`
	Settings  Settings `json:"settings"`
	Data      string   `json:"data"`      // where the texts are from, in words
	Synthetic bool     `json:"synthetic"` // the texts are made up
	Labels    []string `json:"labels"`
	Train     int      `json:"train_texts"`
	Val       int      `json:"val_texts"`
	Test      int      `json:"test_texts"`
	Cut       int      `json:"texts_cut"` // of all, longer than the context
	Summary   Summary  `json:"summary"`
	Layers    []Layer  `json:"layers"`
}

// Find returns the result that a folder has; ok is false where there is none. One of other settings is a Failure with Mismatch.
func Find(fsys record.FS, dir string, s Settings) (r *Result, ok bool, err error) {
	r = new(Result)
	ok, err = record.FindResult(fsys, filepath.Join(dir, File), schema, s, r)
	return r, ok, err
}

// Write puts the result into a folder: a row for each layer as CSV, then the whole.
func (r *Result) Write(fsys record.FS, dir string) error {
	r.Schema = schema
	return record.WriteTabled(fsys, dir, name, r.table(), r)
}

func (r *Result) table() [][]string {
	rows := [][]string{{
		"model", "task", "synthetic", "pool", "layer", "c", "train_accuracy", "val_accuracy", "accuracy", "accuracy_low_95", "accuracy_high_95",
		"control_accuracy", "control_low_95", "control_high_95", "selectivity", "majority", "test_texts", "test_documents",
	}}
	number := func(f record.Float) string { return strconv.FormatFloat(float64(f), 'g', -1, 64) }
	for _, l := range r.Layers {
		p, c := l.Probe, l.Control
		rows = append(rows, []string{
			r.Settings.Model, r.Settings.Task, strconv.FormatBool(r.Synthetic), r.Settings.Pool, LayerName(l.Layer), number(p.C), number(p.Train), number(p.Val),
			number(p.Accuracy), number(p.Interval[0]), number(p.Interval[1]), number(c.Accuracy), number(c.Interval[0]), number(c.Interval[1]),
			number(l.Selectivity), number(r.Summary.Majority), strconv.Itoa(r.Test), strconv.Itoa(r.Summary.Documents),
		})
	}
	return rows
}

// LayerName is how people call hidden states.
func LayerName(layer int) string {
	if layer == Embedding {
		return "embedding"
	}
	return strconv.Itoa(layer)
}

// Describe says the result in words.
func (r *Result) Describe() string {
	var out strings.Builder
	made := ""
	if r.Synthetic {
		made = " (synthetic)"
	}
	fmt.Fprintf(&out, "%s%s of %s, %s: %d texts to learn from, %d to choose by, %d of %d documents to test on, %d labels, the most frequent %.3f\n",
		r.Settings.Task, made, r.Settings.Model, r.Settings.Pool, r.Train, r.Val, r.Test, r.Summary.Documents, len(r.Labels), r.Summary.Majority)
	out.WriteString("layer      accuracy  95 %              control  selectivity  C\n")
	for _, l := range r.Layers {
		fmt.Fprintf(&out, "%-9s  %.4f    [%.4f, %.4f]  %.4f   %+.4f      %g\n", LayerName(l.Layer), l.Probe.Accuracy, l.Probe.Interval[0], l.Probe.Interval[1],
			l.Control.Accuracy, l.Selectivity, float64(l.Probe.C))
	}
	s := r.Summary
	fmt.Fprintf(&out, "best on the texts to choose by: %s, %.4f [%.4f, %.4f]; mean over layers %.4f [%.4f, %.4f], control %.4f\n",
		LayerName(s.Best), s.BestAccuracy, s.BestInterval[0], s.BestInterval[1], s.Mean, s.MeanInterval[0], s.MeanInterval[1], s.MeanControl)
	return out.String()
}
