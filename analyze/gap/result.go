package gap

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"plasticity/analyze/window"
	"plasticity/record"
)

const (
	// File is that of a result; a table of it lies beside it.
	File   = name + ".json"
	name   = "gap"
	schema = 1
)

// AllRead says in Settings.Samples that all of the text counts as read: the model does not know how often it was.
const AllRead = -1

// Settings decide a result.
type Settings struct {
	Model         string `json:"model"`           // id of the run with the checkpoint's step, or a digest of the weights
	TrainDigest   string `json:"train_digest"`    // of the prepared text
	HeldOutDigest string `json:"held_out_digest"` // of the prepared text; empty: none
	Samples       int64  `json:"samples"`         // windows of the training text that the model was trained on, or AllRead
	Order         string `json:"order"`           // of those windows
	OrderSeed     int64  `json:"order_seed"`
	Context       int    `json:"context"` // tokens of a window
	Tokens        int64  `json:"tokens"`  // of each side, at most
	Seed          int64  `json:"seed"`    // of draws and resamples
}

// Result is what gap.json has.
type Result struct {
	Schema   int      `json:"schema"`
	Settings Settings `json:"settings"`
	Train    string   `json:"train"`              // folder
	HeldOut  string   `json:"held_out,omitempty"` // folder
	// Windows of the training text, how many of them were read, and how often the text was read, NaN where that is not known.
	Windows     int64        `json:"windows"`
	WindowsRead int64        `json:"windows_read"`
	Passes      record.Float `json:"passes"`
	Comparisons []Comparison `json:"comparisons"`
}

// Find returns the result that a folder has; ok is false where there is none. One of other settings is a Failure with Mismatch.
func Find(fsys record.FS, dir string, s Settings) (r *Result, ok bool, err error) {
	r = new(Result)
	ok, err = record.FindResult(fsys, filepath.Join(dir, File), schema, s, r)
	return r, ok, err
}

// Write puts the result into a folder: a row for each comparison as CSV, then the whole.
func (r *Result) Write(fsys record.FS, dir string) error {
	r.Schema = schema
	return record.WriteTabled(fsys, dir, name, r.table(), r)
}

func (r *Result) table() [][]string {
	rows := [][]string{{
		"model", "held_out", "pairing", "sequences", "tokens", "seen_documents", "held_out_documents", "seen_nats_per_token", "held_out_nats_per_token",
		"gap_nats_per_token", "gap_low_95", "gap_high_95", "gap_low_95_over_documents", "gap_high_95_over_documents", "passes",
	}}
	number := func(f record.Float) string { return strconv.FormatFloat(float64(f), 'g', -1, 64) }
	for _, c := range r.Comparisons {
		rows = append(rows, []string{
			r.Settings.Model, c.HeldOut, c.Pairing, strconv.Itoa(c.Sequences), strconv.FormatInt(c.Tokens, 10), strconv.Itoa(c.SeenDocuments),
			strconv.Itoa(c.HeldOutDocuments), number(c.SeenLoss), number(c.HeldOutLoss), number(c.Gap), number(c.Interval[0]), number(c.Interval[1]),
			number(c.DocumentInterval[0]), number(c.DocumentInterval[1]), number(r.Passes),
		})
	}
	return rows
}

// Describe says the result in words, a paragraph for each comparison.
func (r *Result) Describe() string {
	var out strings.Builder
	if s := r.Settings; s.Samples == AllRead {
		fmt.Fprintf(&out, "%s: all %d windows of %d tokens of %s count as read\n", s.Model, r.Windows, s.Context, r.Train)
	} else {
		fmt.Fprintf(&out, "%s read %d of %d windows of %d tokens of %s, the text %.2f times\n", s.Model, r.WindowsRead, r.Windows, s.Context, r.Train, r.Passes)
	}
	for _, c := range r.Comparisons {
		pairing := "unpaired"
		if c.Pairing == pairedByDocument {
			pairing = "paired by document"
		}
		fmt.Fprintf(&out, `%s, %s: %d windows of each side
  seen %.5f  held out %.5f  gap %+.5f nats per token
  95 %% %s over windows, %s over %d and %d documents
`, c.HeldOut, pairing, c.Sequences, c.SeenLoss, c.HeldOutLoss, c.Gap, window.Describe(c.Interval), window.Describe(c.DocumentInterval), c.SeenDocuments, c.HeldOutDocuments)
	}
	return out.String()
}
