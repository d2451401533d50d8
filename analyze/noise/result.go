package noise

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
	name   = "noise"
	schema = 1
	// Rise is the rise of the loss, in nats per token, whose size of noise is told.
	Rise = 0.1
)

// DefaultSigmas are the relative sizes that are measured unless others are asked for.
func DefaultSigmas() []float64 { return []float64{0.01, 0.02, 0.05, 0.1, 0.2, 0.4} }

// Settings decide a result.
type Settings struct {
	Model      string    `json:"model"`       // id of the run with the checkpoint's step, or a digest of the weights
	TextDigest string    `json:"text_digest"` // of the prepared text
	Context    int       `json:"context"`     // tokens of a window
	Tokens     int64     `json:"tokens"`      // at most
	Seed       int64     `json:"seed"`        // of windows and of noise
	Sigmas     []float64 `json:"sigmas"`      // relative to each matrix's root mean square, the smallest first
	Draws      int       `json:"draws"`
}

// Result is what noise.json has. Losses are in nats per token.
type Result struct {
	Schema      int           `json:"schema"`
	Settings    Settings      `json:"settings"`
	Text        string        `json:"text"` // folder
	Sequences   int           `json:"sequences"`
	Tokens      int64         `json:"tokens"`
	Matrices    int           `json:"matrices"` // that got noise
	Loss        record.Float  `json:"nats_per_token"`
	Levels      []Level       `json:"levels"`
	RiseWanted  record.Float  `json:"rise"`          // Rise
	SigmaAtRise *record.Float `json:"sigma_at_rise"` // at which the loss has risen by Rise; null: it has not
}

// Level is the loss with noise of one size.
type Level struct {
	Sigma    record.Float    `json:"sigma"`
	Loss     record.Float    `json:"nats_per_token"` // mean over draws
	Rise     record.Float    `json:"rise"`           // above the loss without noise
	Interval [2]record.Float `json:"interval_95"`    // of Loss, over draws
	Losses   []record.Float  `json:"draws"`          // of each draw
}

// Find returns the result that a folder has; ok is false where there is none. One of other settings is a Failure with Mismatch.
func Find(fsys record.FS, dir string, s Settings) (r *Result, ok bool, err error) {
	r = new(Result)
	ok, err = record.FindResult(fsys, filepath.Join(dir, File), schema, s, r)
	return r, ok, err
}

// Write puts the result into a folder: a row for each size, the first one of no noise, as CSV, then the whole.
func (r *Result) Write(fsys record.FS, dir string) error {
	r.Schema, r.RiseWanted = schema, Rise
	return record.WriteTabled(fsys, dir, name, r.table(), r)
}

func (r *Result) table() [][]string {
	number := func(f record.Float) string { return strconv.FormatFloat(float64(f), 'g', -1, 64) }
	rows := [][]string{
		{"model", "sigma", "draws", "nats_per_token", "low_95", "high_95", "rise"},
		{r.Settings.Model, "0", "1", number(r.Loss), number(r.Loss), number(r.Loss), "0"},
	}
	for _, l := range r.Levels {
		rows = append(rows, []string{
			r.Settings.Model, number(l.Sigma), strconv.Itoa(len(l.Losses)), number(l.Loss), number(l.Interval[0]), number(l.Interval[1]), number(l.Rise),
		})
	}
	return rows
}

// Describe says the result in words, a line for each size.
func (r *Result) Describe() string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s on %d windows of %d tokens of %s, noise on %d matrices, %d draws\n", r.Settings.Model, r.Sequences, r.Settings.Context, r.Text, r.Matrices, r.Settings.Draws)
	fmt.Fprintf(&out, "%8s %9s %9s   95 %% over draws\n%8d %9.5f\n", "σ", "loss", "rise", 0, r.Loss)
	for _, l := range r.Levels {
		fmt.Fprintf(&out, "%8.4g %9.5f %+9.5f   [%.5f, %.5f]\n", l.Sigma, l.Loss, l.Rise, l.Interval[0], l.Interval[1])
	}
	if r.SigmaAtRise == nil {
		fmt.Fprintf(&out, "the loss has not risen by %v nats per token: ask for larger sizes\n", Rise)
	} else {
		fmt.Fprintf(&out, "the loss has risen by %v nats per token at σ = %.4g\n", Rise, *r.SigmaAtRise)
	}
	return out.String()
}
