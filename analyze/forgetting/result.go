package forgetting

import (
	"fmt"
	"path/filepath"
	"strconv"

	"plasticity/analyze/window"
	"plasticity/record"
)

const (
	// File is that of a result; a table of it lies beside it.
	File   = name + ".json"
	name   = "forgetting"
	schema = 1
)

// Settings decide a result.
type Settings struct {
	Base       string `json:"base"`        // id of the run with the checkpoint's step, or a digest of the weights
	Model      string `json:"model"`       // the same of the fine-tuned model
	TextDigest string `json:"text_digest"` // of the prepared text
	Context    int    `json:"context"`     // tokens of a window
	Tokens     int64  `json:"tokens"`      // at most
	Seed       int64  `json:"seed"`        // of the draw and of resamples
}

// Result is what forgetting.json has.
type Result struct {
	Schema    int      `json:"schema"`
	Settings  Settings `json:"settings"`
	Text      string   `json:"text"` // folder
	Sequences int      `json:"sequences"`
	Tokens    int64    `json:"tokens"`
	Documents int      `json:"documents"` // that the windows begin in
	// Mean losses in nats per token, and that of the fine-tuned model less that of its base.
	BaseLoss   record.Float `json:"base_nats_per_token"`
	TunedLoss  record.Float `json:"tuned_nats_per_token"`
	Forgetting record.Float `json:"forgetting_nats_per_token"`
	// Bootstrapped intervals of Forgetting: over windows, and over whole documents; NaN where there is one alone.
	Interval         [2]record.Float `json:"forgetting_interval_95"`
	DocumentInterval [2]record.Float `json:"forgetting_interval_95_over_documents"`
}

// Compare puts the losses of both models on the windows of a sample together, each in the order of the windows.
func Compare(s Settings, sample *window.Sample, base, tuned []float64) *Result {
	differences := [][]float64{window.Differences(base, tuned)}
	return &Result{
		Settings: s, Text: sample.Text.Set.Dir(), Sequences: sample.Len(), Tokens: sample.Tokens(), Documents: sample.DocumentCount(),
		BaseLoss: record.Float(window.Mean(base)), TunedLoss: record.Float(window.Mean(tuned)), Forgetting: record.Float(window.Mean(differences[0])),
		Interval: window.Interval(s.Seed, differences, nil), DocumentInterval: window.Interval(s.Seed, differences, [][]int{sample.Documents}),
	}
}

// Find returns the result that a folder has; ok is false where there is none. One of other settings is a Failure with Mismatch.
func Find(fsys record.FS, dir string, s Settings) (r *Result, ok bool, err error) {
	r = new(Result)
	ok, err = record.FindResult(fsys, filepath.Join(dir, File), schema, s, r)
	return r, ok, err
}

// Write puts the result into a folder: a row as CSV, then the whole.
func (r *Result) Write(fsys record.FS, dir string) error {
	r.Schema = schema
	number := func(f record.Float) string { return strconv.FormatFloat(float64(f), 'g', -1, 64) }
	return record.WriteTabled(fsys, dir, name, [][]string{{
		"base", "model", "sequences", "tokens", "documents", "base_nats_per_token", "tuned_nats_per_token", "forgetting_nats_per_token",
		"forgetting_low_95", "forgetting_high_95", "forgetting_low_95_over_documents", "forgetting_high_95_over_documents",
	}, {
		r.Settings.Base, r.Settings.Model, strconv.Itoa(r.Sequences), strconv.FormatInt(r.Tokens, 10), strconv.Itoa(r.Documents),
		number(r.BaseLoss), number(r.TunedLoss), number(r.Forgetting),
		number(r.Interval[0]), number(r.Interval[1]), number(r.DocumentInterval[0]), number(r.DocumentInterval[1]),
	}}, r)
}

// Describe says the result in words.
func (r *Result) Describe() string {
	return fmt.Sprintf(`%s, fine-tuned from %s, on %d windows of %d tokens of %s
  base %.5f  fine-tuned %.5f  forgetting %+.5f nats per token
  95 %% %s over windows, %s over %d documents
`, r.Settings.Model, r.Settings.Base, r.Sequences, r.Settings.Context, r.Text, r.BaseLoss, r.TunedLoss, r.Forgetting,
		window.Describe(r.Interval), window.Describe(r.DocumentInterval), r.Documents)
}
