package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"plasticity/cmd/internal/request"
	"plasticity/record"
)

// profileReport says where the time of steps went.
type profileReport struct {
	File   string `json:"file"` // the trace
	Steps  int    `json:"steps"`
	Inside bool   `json:"inside"` // the step told its parts
	// Parts by falling time: those of the step when it told them, else those that are seen from outside.
	Parts []profilePart `json:"parts"`
}

// profilePart is one part of the steps, over all threads.
type profilePart struct {
	Part    string       `json:"part"`
	MS      record.Float `json:"ms"`    // thread time of a step
	Share   record.Float `json:"share"` // of the thread time of all parts
	Spans   int          `json:"spans"`
	Threads int          `json:"threads"`
}

// profile makes steps and writes where their time went.
func profile(s *served, file string, steps int) (*profileReport, error) {
	var got request.BenchProfile
	if err := s.ask(&got, "profile", steps); err != nil {
		return nil, err
	}
	text, err := json.Marshal(chromeTrace(got.Spans))
	if err != nil {
		return nil, record.Fail(record.Internal, "write the trace: %w", err)
	}
	if err := record.WriteFileAtomic(record.OS(), file, append(text, '\n')); err != nil {
		return nil, err
	}
	return &profileReport{File: file, Steps: steps, Inside: got.Inside, Parts: partsOf(got, steps)}, nil
}

// traceEvent is an event of the Trace Event Format; times are in microseconds.
type traceEvent struct {
	Name     string            `json:"name"`
	Phase    string            `json:"ph"`
	Start    float64           `json:"ts"`
	Duration float64           `json:"dur"`
	Process  int               `json:"pid"`
	Thread   int               `json:"tid"`
	Args     map[string]string `json:"args,omitempty"`
}

// chromeTrace is a trace that chrome://tracing and Perfetto open. Thread 0 there is the caller of the steps.
func chromeTrace(spans []request.Span) map[string]any {
	events := []traceEvent{}
	named := make(map[int]bool)
	for _, s := range spans {
		if !named[s.Thread] {
			named[s.Thread] = true
			name := fmt.Sprintf("thread %d", s.Thread)
			if s.Thread < 0 {
				name = "steps"
			}
			events = append(events, traceEvent{Name: "thread_name", Phase: "M", Process: 1, Thread: s.Thread + 1, Args: map[string]string{"name": name}})
		}
		events = append(events, traceEvent{Name: s.Part, Phase: "X", Start: s.Start * 1e6, Duration: s.Seconds * 1e6, Process: 1, Thread: s.Thread + 1})
	}
	return map[string]any{"displayTimeUnit": "ms", "traceEvents": events}
}

// partsOf adds the spans of each part up.
func partsOf(p request.BenchProfile, steps int) []profilePart {
	type sum struct {
		seconds float64
		spans   int
		threads map[int]bool
	}
	sums, total := make(map[string]*sum), 0.0
	for _, s := range p.Spans {
		if p.Inside && s.Thread < 0 {
			continue // it contains the others
		}
		at := sums[s.Part]
		if at == nil {
			at = &sum{threads: make(map[int]bool)}
			sums[s.Part] = at
		}
		at.seconds += s.Seconds
		at.spans++
		at.threads[s.Thread] = true
		total += s.Seconds
	}
	out := []profilePart{}
	for name, at := range sums {
		out = append(out, profilePart{name, record.Float(at.seconds * 1e3 / float64(steps)), record.Float(at.seconds / total), at.spans, len(at.threads)})
	}
	slices.SortFunc(out, func(a, b profilePart) int {
		return cmp.Or(cmp.Compare(b.MS, a.MS), cmp.Compare(a.Part, b.Part))
	})
	return out
}

// text is the table for people.
func (p profileReport) text() string {
	var out strings.Builder
	if !p.Inside {
		out.WriteString("this step does not tell its parts: what is seen from outside is\n")
	}
	fmt.Fprintf(&out, "%-28s %10s %7s %8s\n", "part", "ms a step", "share", "threads")
	for _, part := range p.Parts {
		fmt.Fprintf(&out, "%-28s %10.3f %6.1f%% %8d\n", part.Part, float64(part.MS), 100*float64(part.Share), part.Threads)
	}
	fmt.Fprintf(&out, "%s has the trace of %d steps: open it in chrome://tracing or ui.perfetto.dev", p.File, p.Steps)
	return out.String()
}
