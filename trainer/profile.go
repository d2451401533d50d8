package trainer

import "plasticity/record"

// Span is a part of a training step on one thread.
type Span struct {
	Part           string
	Thread         int
	Start, Seconds float64 // Start counts from the call of SetProfile, or from a zero that all spans share
}

// Profiler is what a Stepper may offer besides: where the time of its steps goes. Recording may cost a few percent.
type Profiler interface {
	// SetProfile begins or ends recording; beginning forgets what was recorded before.
	SetProfile(on bool) error
	// Spans are the parts of the steps since then, in any order.
	Spans() ([]Span, error)
}

// Names of the spans that a bench measures itself, around the step.
const (
	SpanBatch = "batch"
	SpanStep  = "step"
)

// Profile makes n steps and tells where their time went. The spans of batch and step are on thread -1; inside says
// whether the step told its parts, too.
func (b *Bench) Profile(n int) (steps []BenchStep, spans []Span, inside bool, err error) {
	profiler, inside := b.stepper.(Profiler)
	if inside {
		if err := profiler.SetProfile(true); err != nil {
			return nil, nil, true, err
		}
	}
	steps, err = b.Run(n)
	if err != nil {
		return nil, nil, inside, err
	}
	if inside {
		if spans, err = profiler.Spans(); err != nil {
			return nil, nil, true, err
		}
		if err := profiler.SetProfile(false); err != nil {
			return nil, nil, true, err
		}
		if err := checkSpans(spans); err != nil {
			return nil, nil, true, err
		}
	}
	return steps, append(aroundSteps(steps, spans), spans...), inside, nil
}

// checkSpans refuses times that no clock gives: they come from native code.
func checkSpans(spans []Span) error {
	for _, s := range spans {
		if !(s.Seconds >= 0 && s.Seconds < 1e6) || !(s.Start >= 0 && s.Start < 1e9) {
			return record.Fail(record.Internal, "the step's profile has %s from %v for %v s on thread %d, which no clock gives", s.Part, s.Start, s.Seconds, s.Thread)
		}
	}
	return nil
}

// aroundSteps makes the spans that are seen from outside. Their zero is that of the inner spans: the first of those is
// taken to begin with the first step.
func aroundSteps(steps []BenchStep, inner []Span) []Span {
	if len(steps) == 0 {
		return nil
	}
	zero := 0.0
	if len(inner) > 0 {
		zero = inner[0].Start
		for _, s := range inner {
			zero = min(zero, s.Start)
		}
		zero -= steps[0].BatchSeconds
	}
	var out []Span
	for _, s := range steps {
		start := zero + s.Began.Sub(steps[0].Began).Seconds()
		out = append(out,
			Span{Part: SpanBatch, Thread: -1, Start: start, Seconds: s.BatchSeconds},
			Span{Part: SpanStep, Thread: -1, Start: start + s.BatchSeconds, Seconds: s.Seconds - s.BatchSeconds})
	}
	return out
}
