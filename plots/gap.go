package plots

import (
	"errors"
	"fmt"
	"math"

	"plasticity/record"
)

const (
	gapDir      = "gap"
	gapFile     = "gap.json"
	maxGapBytes = 4 << 20
	gapAllRead  = -1 // samples of a model that does not know what it read
	gapCommand  = "plasticity analyze gap"
)

// The texts that a gap compares the text read in training with.
const (
	GapValidation = "validation split"
	GapUnread     = "training split, not read yet"
)

// GapSettings decide what a gap measures, besides the model: runs compare only when they are equal.
type GapSettings struct {
	TrainDigest   string `json:"train_digest"`
	HeldOutDigest string `json:"held_out_digest"`
	Context       int    `json:"context"` // tokens of a window
	Tokens        int64  `json:"tokens"`  // of each side, at most
	Seed          int64  `json:"seed"`    // of draws and resamples
	AllRead       bool   `json:"all_read"`
}

// Gap is what gap.json says of a run.
type Gap struct {
	Settings    GapSettings
	Step        int64   // of the checkpoint
	Passes      float64 // how often the training text was read; NaN where that is not known
	Comparisons []GapComparison
}

// GapComparison is the loss on text read in training beside that on as much text that was not, in nats per token.
type GapComparison struct {
	HeldOut   string  // GapValidation or GapUnread
	Windows   int     // of each side
	Seen      float64 // loss
	Unseen    float64 // loss
	Low, High float64 // 95 % interval of the gap over documents; NaN with fewer than two documents
}

// Value is the gap: the loss on text that was not read, less that on text that was.
func (c GapComparison) Value() float64 { return c.Unseen - c.Seen }

// with returns the comparison with a text, or nil.
func (g *Gap) with(heldOut string) *GapComparison {
	for i := range g.Comparisons {
		if g.Comparisons[i].HeldOut == heldOut {
			return &g.Comparisons[i]
		}
	}
	return nil
}

// gapDocument is gap.json as far as it is read.
type gapDocument struct {
	Settings struct {
		Samples int64 `json:"samples"`
		GapSettings
	} `json:"settings"`
	Passes      record.Float `json:"passes"`
	Comparisons []struct {
		HeldOut          string          `json:"held_out"`
		Sequences        int             `json:"sequences"`
		SeenDocuments    int             `json:"seen_documents"`
		HeldOutDocuments int             `json:"held_out_documents"`
		Seen             *record.Float   `json:"seen_nats_per_token"`
		HeldOutLoss      *record.Float   `json:"held_out_nats_per_token"`
		Gap              *record.Float   `json:"gap_nats_per_token"`
		Interval         [2]record.Float `json:"gap_interval_95_over_documents"`
	} `json:"comparisons"`
}

// readGap reads gap.json of a run; nil when there is none. What is damaged is a problem.
func readGap(run *record.Run) (*Gap, []record.Problem) {
	return readResult(run.Path(record.AnalyzeDir, gapDir, gapFile), maxGapBytes, "remove it and measure again ("+gapCommand+")", func(text []byte) (*Gap, error) {
		return parseGap(text, run.Info.ID)
	})
}

// parseGap decodes gap.json of the run with the id.
func parseGap(text []byte, id string) (*Gap, error) {
	var d gapDocument
	step, err := openResult(text, &d, id, "gap", gapCommand)
	if err != nil {
		return nil, err
	}
	out := &Gap{Settings: d.Settings.GapSettings, Step: step, Passes: float64(d.Passes)}
	out.Settings.AllRead = d.Settings.Samples == gapAllRead
	switch {
	case out.Settings.Context < 1 || out.Settings.Tokens < 1:
		return nil, errors.New("has no windows")
	case !out.Settings.AllRead && !(out.Passes > 0 && finite(out.Passes)):
		return nil, errors.New("does not say how often the text was read")
	case len(d.Comparisons) == 0:
		return nil, errors.New("has no comparison")
	}
	return out, d.comparisons(out)
}

// comparisons takes the comparisons over: each text once, losses that are numbers, a gap that is their difference, an interval around it.
func (d *gapDocument) comparisons(out *Gap) error {
	for _, c := range d.Comparisons {
		switch {
		case c.HeldOut != GapValidation && c.HeldOut != GapUnread || out.with(c.HeldOut) != nil:
			return fmt.Errorf("compares with %s: want %s or %s, each once", clean(c.HeldOut, 40), GapValidation, GapUnread)
		case c.Sequences < 1 || c.SeenDocuments < 1 || c.HeldOutDocuments < 1:
			return fmt.Errorf("%s: has no windows", c.HeldOut)
		case c.Seen == nil || c.HeldOutLoss == nil || c.Gap == nil:
			return fmt.Errorf("%s: lacks a loss", c.HeldOut)
		}
		one := GapComparison{
			HeldOut: c.HeldOut, Windows: c.Sequences, Seen: float64(*c.Seen), Unseen: float64(*c.HeldOutLoss),
			Low: float64(c.Interval[0]), High: float64(c.Interval[1]),
		}
		if !finite(one.Seen) || !finite(one.Unseen) || !(math.Abs(one.Value()-float64(*c.Gap)) <= 1e-6*(1+math.Abs(one.Seen))) {
			return fmt.Errorf("%s: the gap is not the difference of two losses", c.HeldOut)
		}
		switch {
		case min(c.SeenDocuments, c.HeldOutDocuments) < 2: // older results have an interval without width
			one.Low, one.High = math.NaN(), math.NaN()
		case !finite(one.Low) || !finite(one.High) || one.Low > one.High:
			return fmt.Errorf("%s: the interval over documents is none", c.HeldOut)
		}
		out.Comparisons = append(out.Comparisons, one)
	}
	return nil
}
