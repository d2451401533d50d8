package config

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

const tiny = 1e-12

// anySchedule draws a resolved run with any schedules that Load accepts.
func anySchedule(t *rapid.T) Resolved {
	r := Resolved{Run: Defaults(), Steps: rapid.Int64Range(1, 3000).Draw(t, "steps"), WeightDecay: 0.3}
	r.Optimizer.LR = rapid.Float64Range(1e-6, 1).Draw(t, "lr")
	r.Schedule = Schedule{
		Kind:           rapid.SampledFrom([]string{"cosine", "wsd", "linear", "constant"}).Draw(t, "kind"),
		WarmupFraction: rapid.Float64Range(0, 0.95).Draw(t, "warmup"),
		FinalFraction:  rapid.Float64Range(0, 1).Draw(t, "final"),
	}
	r.Schedule.DecayFraction = rapid.Float64Range(0.001, 1-r.Schedule.WarmupFraction).Draw(t, "decay")
	start := rapid.Float64Range(0, 0.9).Draw(t, "start")
	r.DecaySchedule = DecaySchedule{
		Kind:          rapid.SampledFrom([]string{"constant", "linear", "cosine", "window", "coupled"}).Draw(t, "decay kind"),
		FinalFraction: rapid.Float64Range(0, 1).Draw(t, "decay final"),
		StartFraction: start,
		EndFraction:   rapid.Float64Range(start+0.01, 1).Draw(t, "end"),
	}
	return r
}

func TestLRAt_Properties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := anySchedule(t)
		lr, warmup := r.Optimizer.LR, r.warmupSteps()
		final := lr * r.Schedule.FinalFraction
		if r.Schedule.Kind == "constant" {
			final = lr
		}
		if got := r.LRAt(r.Steps - 1); math.Abs(got-final) > tiny {
			t.Fatalf("ends at %v, want %v", got, final)
		}
		falling := float64(r.Steps - warmup) // steps from peak to end
		if r.Schedule.Kind == "wsd" {
			falling = max(1, math.Round(r.Schedule.DecayFraction*float64(r.Steps)))
			falling = min(falling, float64(r.Steps-warmup))
		}
		// The steepest slope of half a cosine is π/2 times that of a line.
		most := lr*math.Pi/2/falling + tiny
		before := math.NaN()
		for s := range r.Steps {
			got := r.LRAt(s)
			switch {
			case got < 0 || got > lr+tiny:
				t.Fatalf("step %d: %v is not within 0 and %v", s, got, lr)
			case s < warmup && s > 0 && !(got > before):
				t.Fatalf("step %d: the warm-up falls from %v to %v", s, before, got)
			case s == warmup-1 && math.Abs(got-lr) > tiny:
				t.Fatalf("the warm-up ends at %v, want %v", got, lr)
			case s >= warmup && s > 0 && got > before+tiny:
				t.Fatalf("step %d: rises from %v to %v", s, before, got)
			case s >= warmup && s > 0 && before-got > most:
				t.Fatalf("step %d: jumps from %v to %v", s, before, got)
			}
			before = got
		}
		if r.LRAt(-5) != r.LRAt(0) || r.LRAt(r.Steps+5) != r.LRAt(r.Steps-1) {
			t.Fatal("steps outside of the run")
		}
	})
}

func TestWDAt_Properties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := anySchedule(t)
		for s := range r.Steps {
			if got := r.WDAt(s); got < 0 || got > r.WeightDecay+tiny {
				t.Fatalf("step %d: %v", s, got)
			}
		}
		first, last := r.WDAt(0), r.WDAt(r.Steps-1)
		switch d := r.DecaySchedule; d.Kind {
		case "constant":
			if first != r.WeightDecay || last != r.WeightDecay {
				t.Fatal("is not constant")
			}
		case "linear", "cosine":
			if r.Steps > 1 && (first != r.WeightDecay || math.Abs(last-r.WeightDecay*d.FinalFraction) > tiny) {
				t.Fatalf("goes from %v to %v", first, last)
			}
			checkFalls(t, r)
		case "window":
			checkWindow(t, r)
		case "coupled":
			checkCoupled(t, r)
		}
	})
}

func checkFalls(t *rapid.T, r Resolved) {
	for s := int64(1); s < r.Steps; s++ {
		if r.WDAt(s) > r.WDAt(s-1)+tiny {
			t.Fatalf("step %d: rises from %v to %v", s, r.WDAt(s-1), r.WDAt(s))
		}
	}
}

func checkWindow(t *rapid.T, r Resolved) {
	open := 0.0
	for s := range r.Steps {
		if r.WDAt(s) > 0 {
			open++
		}
	}
	want := (r.DecaySchedule.EndFraction - r.DecaySchedule.StartFraction) * float64(r.Steps)
	if math.Abs(open-want) > 1+tiny {
		t.Fatalf("open for %v steps, want about %v", open, want)
	}
}

func checkCoupled(t *rapid.T, r Resolved) {
	for s := range r.Steps {
		if math.Abs(r.WDAt(s)/r.WeightDecay-r.LRAt(s)/r.Optimizer.LR) > tiny {
			t.Fatalf("step %d: %v does not follow the learning rate", s, r.WDAt(s))
		}
	}
}

func TestLRAt_ByHand(t *testing.T) {
	r := Resolved{Run: Defaults(), Steps: 10}
	r.Optimizer.LR = 1
	r.Schedule = Schedule{Kind: "linear", WarmupFraction: 0.2, FinalFraction: 0.2}
	for s, want := range []float64{0.5, 1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2} {
		if got := r.LRAt(int64(s)); math.Abs(got-want) > tiny {
			t.Errorf("linear, step %d: %v, want %v", s, got, want)
		}
	}
	r.Schedule = Schedule{Kind: "wsd", WarmupFraction: 0.2, FinalFraction: 0, DecayFraction: 0.4}
	for s, want := range []float64{0.5, 1, 1, 1, 1, 1, 0.75, 0.5, 0.25, 0} {
		if got := r.LRAt(int64(s)); math.Abs(got-want) > tiny {
			t.Errorf("wsd, step %d: %v, want %v", s, got, want)
		}
	}
	r.Schedule = Schedule{Kind: "cosine", WarmupFraction: 0.2, FinalFraction: 0.1}
	if got, want := r.LRAt(5), 0.1+0.9*0.5; math.Abs(got-want) > tiny {
		t.Errorf("cosine, half-way: %v, want %v", got, want)
	}
	if got := r.LRAt(9); got != 0.1 {
		t.Errorf("cosine, end: %v", got)
	}
}
