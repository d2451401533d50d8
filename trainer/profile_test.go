package trainer

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"plasticity/config"
	"plasticity/data"
)

// telling is a step that tells its parts.
type telling struct {
	Stepper
	on    bool
	spans []Span
	bad   float64
}

func (s *telling) SetProfile(on bool) error {
	if on {
		s.spans = nil
	}
	s.on = on
	return nil
}

func (s *telling) Spans() ([]Span, error) {
	if !s.on {
		return nil, errors.New("not recording")
	}
	return s.spans, nil
}

func (s *telling) Step(ctx context.Context, b data.Batch, u Update) (StepResult, error) {
	if s.on {
		start := 100 + float64(len(s.spans))
		s.spans = append(s.spans, Span{"forward", 0, start, 0.5 + s.bad}, Span{"forward", 1, start + 0.25, 0.5})
	}
	time.Sleep(time.Millisecond)
	return s.Stepper.Step(ctx, b, u)
}

// profiled makes a bench over a step.
func profiled(t *testing.T, wrap func(Stepper) Stepper) *Bench {
	t.Helper()
	c, err := config.Load(config.LoadOptions{Sets: []string{
		"model.layers=1", "model.width=8", "model.heads=2", "model.kv_heads=2", "model.ffn=8", "model.vocab=16", "model.context=8", "budget.steps=5",
	}})
	if err != nil {
		t.Fatal(err)
	}
	resolved, err := c.Resolve(config.DataFacts{Vocab: 16})
	if err != nil {
		t.Fatal(err)
	}
	inner, err := newArithmetic(resolved)
	if err != nil {
		t.Fatal(err)
	}
	b := &Bench{Config: resolved, stepper: wrap(inner), random: rand.New(rand.NewPCG(1, 2))}
	t.Cleanup(b.Close)
	return b
}

// Spans from inside keep their clock, and those from outside are laid on it.
func TestProfile_OfAStepThatTells(t *testing.T) {
	var s *telling
	b := profiled(t, func(inner Stepper) Stepper { s = &telling{Stepper: inner}; return s })
	steps, spans, inside, err := b.Profile(3)
	if err != nil || !inside || s.on || len(steps) != 3 || len(spans) != 3*(2+2) {
		t.Fatalf("%v, inside %v, on %v, %d steps, %d spans", err, inside, s.on, len(steps), len(spans))
	}
	first := 0.0
	for _, span := range spans {
		if span.Part == SpanStep && first == 0 {
			first = span.Start
		}
	}
	if d := first - 100; d > 1e-9 || d < -1e-9 {
		t.Errorf("the first step begins at %v, its first part at 100", first)
	}
	s.bad = -1
	if _, _, _, err := b.Profile(1); err == nil {
		t.Error("negative seconds were taken for a time")
	}
}

// Without parts there are still the batch and the step, which add up.
func TestProfile_OfAStepThatDoesNot(t *testing.T) {
	b := profiled(t, func(inner Stepper) Stepper { return inner })
	steps, spans, inside, err := b.Profile(4)
	if err != nil || inside || len(spans) != 8 {
		t.Fatalf("%v, inside %v, %d spans", err, inside, len(spans))
	}
	for i, s := range steps {
		batch, step := spans[2*i], spans[2*i+1]
		if batch.Part != SpanBatch || step.Part != SpanStep || batch.Thread >= 0 {
			t.Errorf("spans %+v %+v", batch, step)
		}
		if d := batch.Seconds + step.Seconds - s.Seconds; d > 1e-9 || d < -1e-9 || step.Start < batch.Start {
			t.Errorf("step %d: %+v %+v of %v s", i, batch, step, s.Seconds)
		}
	}
}
