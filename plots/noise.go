package plots

import (
	"errors"
	"fmt"
	"math"

	"plasticity/record"
)

const (
	noiseDir      = "noise"
	noiseFile     = "noise.json"
	maxNoiseBytes = 4 << 20
	maxSigmas     = 256
	noiseCommand  = "plasticity analyze noise"

	// NoiseRise is the rise of the loss, in nats per token, at which the size of noise is told.
	NoiseRise = 0.1
)

// NoiseSettings decide what noise measures, besides the model: runs compare only when they are equal.
type NoiseSettings struct {
	TextDigest string    `json:"text_digest"`
	Context    int       `json:"context"` // tokens of a window
	Tokens     int64     `json:"tokens"`  // at most
	Seed       int64     `json:"seed"`    // of windows and of noise
	Sigmas     []float64 `json:"sigmas"`  // relative to each matrix's root mean square, ascending
	Draws      int       `json:"draws"`
}

// Noise is what noise.json says of a run: how its loss answers to noise on its weights, in nats per token.
type Noise struct {
	Settings NoiseSettings
	Step     int64     // of the checkpoint
	Loss     float64   // without noise
	Rises    []float64 // of the loss, at each size
	Enough   float64   // size at which the loss has risen by NoiseRise; NaN: at none of them
}

// noiseDocument is noise.json as far as it is read.
type noiseDocument struct {
	Settings NoiseSettings `json:"settings"`
	Loss     *record.Float `json:"nats_per_token"`
	Levels   []struct {
		Sigma record.Float  `json:"sigma"`
		Loss  *record.Float `json:"nats_per_token"`
		Rise  *record.Float `json:"rise"`
	} `json:"levels"`
	Wanted record.Float  `json:"rise"`
	Enough *record.Float `json:"sigma_at_rise"`
}

// readNoise reads noise.json of a run; nil when there is none. What is damaged is a problem.
func readNoise(run *record.Run) (*Noise, []record.Problem) {
	return readResult(run.Path(record.AnalyzeDir, noiseDir, noiseFile), maxNoiseBytes, "remove it and measure again ("+noiseCommand+")", func(text []byte) (*Noise, error) {
		return parseNoise(text, run.Info.ID)
	})
}

// parseNoise decodes noise.json of the run with the id.
func parseNoise(text []byte, id string) (*Noise, error) {
	var d noiseDocument
	step, err := openResult(text, &d, id, "noise", noiseCommand)
	if err != nil {
		return nil, err
	}
	switch {
	case d.Settings.Context < 1 || d.Settings.Tokens < 1 || d.Settings.Draws < 1:
		return nil, errors.New("has no windows or no draws")
	case len(d.Levels) == 0 || len(d.Levels) > maxSigmas || len(d.Levels) != len(d.Settings.Sigmas):
		return nil, errors.New("has not a loss for each size of noise")
	case math.Abs(float64(d.Wanted)-NoiseRise) > 1e-9:
		return nil, fmt.Errorf("tells the size at a rise of %v, this version reads %v", d.Wanted, NoiseRise)
	}
	out := &Noise{Settings: d.Settings, Step: step, Enough: math.NaN()}
	return out, d.rises(out)
}

// rises takes the losses over: of sizes that ascend and are those of the settings, numbers, with a rise that is their difference.
func (d *noiseDocument) rises(out *Noise) error {
	if d.Loss == nil || !finite(float64(*d.Loss)) {
		return errors.New("lacks the loss without noise")
	}
	out.Loss = float64(*d.Loss)
	last := 0.0
	for i, l := range d.Levels {
		sigma := float64(l.Sigma)
		switch {
		case !finite(sigma) || sigma <= last || sigma != out.Settings.Sigmas[i]:
			return errors.New("the sizes of noise do not rise, or are not those of its settings")
		case l.Loss == nil || l.Rise == nil:
			return fmt.Errorf("σ = %v: lacks a loss", sigma)
		}
		rise := float64(*l.Loss) - out.Loss
		if !(math.Abs(rise-float64(*l.Rise)) <= 1e-6*(1+math.Abs(out.Loss))) {
			return fmt.Errorf("σ = %v: the rise is not the difference of two losses", sigma)
		}
		last, out.Rises = sigma, append(out.Rises, rise)
	}
	if d.Enough != nil {
		if out.Enough = float64(*d.Enough); !(out.Enough > 0 && out.Enough <= last) {
			return fmt.Errorf("the size at a rise of %v is none of those measured", NoiseRise)
		}
	}
	return nil
}
