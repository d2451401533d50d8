package plots

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"plasticity/record"
)

const (
	forgettingDir      = "forgetting"
	forgettingFile     = "forgetting.json"
	maxForgettingBytes = 1 << 20
	forgettingCommand  = "plasticity analyze forgetting"
)

// ForgettingSettings decide what forgetting measures, besides the two models: runs compare only when they are equal.
type ForgettingSettings struct {
	TextDigest string `json:"text_digest"`
	Context    int    `json:"context"` // tokens of a window
	Tokens     int64  `json:"tokens"`  // at most
	Seed       int64  `json:"seed"`    // of the draw of windows
}

// Forgetting is what forgetting.json says of a fine-tuned run: its loss on text of the kind that its base was pretrained for, and the base's on
// the same windows, in nats per token.
type Forgetting struct {
	Settings ForgettingSettings
	Step     int64 // of the fine-tuned checkpoint
	Base     float64
	Tuned    float64
}

// Value is what was forgotten.
func (f Forgetting) Value() float64 { return f.Tuned - f.Base }

// forgettingDocument is forgetting.json as far as it is read.
type forgettingDocument struct {
	Settings struct {
		Base string `json:"base"`
		ForgettingSettings
	} `json:"settings"`
	Base       *record.Float `json:"base_nats_per_token"`
	Tuned      *record.Float `json:"tuned_nats_per_token"`
	Forgetting *record.Float `json:"forgetting_nats_per_token"`
}

// readForgetting reads forgetting.json of a fine-tuned run; nil when there is none. What is damaged is a problem.
func readForgetting(run *record.Run) (*Forgetting, []record.Problem) {
	path := run.Path(record.AnalyzeDir, forgettingDir, forgettingFile)
	return readResult(path, maxForgettingBytes, "remove it and measure again ("+forgettingCommand+")", func(text []byte) (*Forgetting, error) {
		return parseForgetting(text, run.Info)
	})
}

// parseForgetting decodes forgetting.json of a run.
func parseForgetting(text []byte, info record.Info) (*Forgetting, error) {
	var d forgettingDocument
	step, err := openResult(text, &d, info.ID, "forgetting", forgettingCommand)
	if err != nil {
		return nil, err
	}
	if base, _, _ := strings.Cut(d.Settings.Base, "@"); len(info.Parents) == 0 || base != info.Parents[0] {
		return nil, fmt.Errorf("compares with %s, which the run was not made from: measure again (%s)", clean(d.Settings.Base, 60), forgettingCommand)
	}
	if d.Settings.Context < 1 || d.Settings.Tokens < 1 {
		return nil, errors.New("has no windows")
	}
	if d.Base == nil || d.Tuned == nil || d.Forgetting == nil {
		return nil, errors.New("lacks a loss")
	}
	out := &Forgetting{Settings: d.Settings.ForgettingSettings, Step: step, Base: float64(*d.Base), Tuned: float64(*d.Tuned)}
	if !finite(out.Base) || !finite(out.Tuned) || !(math.Abs(out.Value()-float64(*d.Forgetting)) <= 1e-6*(1+math.Abs(out.Base))) {
		return nil, errors.New("the forgetting is not the difference of two losses")
	}
	return out, nil
}

// forgettingMeasure is the measure of it; the runs are those that chooseForgetting left.
func forgettingMeasure() measure { return measure{name: forgettingName} }

// forgettingName is its name. It is none of the measures that results after fine-tuning are drawn by: it says nothing of the task.
const forgettingName = "forgetting"

// chooseForgetting leaves those that compare: of the last step, measured as most of the set's are.
func (s *Set) chooseForgetting() {
	counts := map[ForgettingSettings]int{}
	for _, r := range s.tuned {
		if f := r.Forgetting; f != nil && f.Step == r.Info.Steps {
			counts[f.Settings]++
		}
	}
	var chosen ForgettingSettings
	for settings, n := range counts {
		most := counts[chosen]
		if n > most || n == most && fmt.Sprint(settings) < fmt.Sprint(chosen) {
			chosen = settings
		}
	}
	for _, r := range s.tuned {
		switch f := r.Forgetting; {
		case f == nil:
		case f.Step == r.Info.Steps && f.Settings == chosen:
			r.forgot = f
		default:
			s.unusedForgetting++
		}
	}
}

// forgets tells whether some fine-tuned run that counts has it.
func (d *downstream) forgets() bool { return len(d.tasksWith(forgettingMeasure())) > 0 }
