package main

import (
	"encoding/json"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plasticity/cmd/internal/request"
)

func TestMedianAndBootstrap(t *testing.T) {
	if got := median([]float64{3, 1, 2}); got != 2 {
		t.Errorf("median of three: %v", got)
	}
	if got := median([]float64{4, 1, 2, 3}); got != 2.5 {
		t.Errorf("median of four: %v", got)
	}
	low, high := bootstrap([]float64{1, 2, 3, 4, 5, 6, 7, 8, 9})
	if !(low > 1 && low < 5 && high > 5 && high < 9) {
		t.Errorf("interval %v – %v of a median of 5", low, high)
	}
	if again, _ := bootstrap([]float64{1, 2, 3, 4, 5, 6, 7, 8, 9}); again != low {
		t.Errorf("drawn differently the second time: %v, %v", low, again)
	}
	// Paired rounds: what slows both down does not widen the ratio's interval.
	below := []float64{10, 100, 20, 50, 70}
	above := make([]float64, len(below))
	for i := range below {
		above[i] = 3 * below[i]
	}
	if low, high := bootstrapRatio(above, below); math.Abs(low-3) > 1e-12 || math.Abs(high-3) > 1e-12 {
		t.Errorf("ratio %v – %v, want 3", low, high)
	}
}

func TestParseCPUs(t *testing.T) {
	for list, want := range map[string][]int{"0": {0}, "0-3": {0, 1, 2, 3}, "1,3-4,9": {1, 3, 4, 9}} {
		if got, err := parseCPUs(list); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v %v, want %v", list, got, err, want)
		}
	}
	for _, list := range []string{"", "a", "3-1", "0-99999999", "1,,2", "-1"} {
		if got, err := parseCPUs(list); err == nil {
			t.Errorf("%q: %v, want an error", list, got)
		}
	}
}

// The trace is what chrome://tracing opens, and the table counts thread time of the inner parts only.
func TestProfile_TraceAndTable(t *testing.T) {
	got := request.BenchProfile{Inside: true, Spans: []request.Span{
		{Part: "step", Thread: -1, Start: 0, Seconds: 0.02},
		{Part: "forward", Thread: 0, Start: 0, Seconds: 0.01},
		{Part: "forward", Thread: 1, Start: 0.001, Seconds: 0.01},
		{Part: "adam", Thread: 0, Start: 0.012, Seconds: 0.005},
	}}
	text, err := json.Marshal(chromeTrace(got.Spans))
	if err != nil {
		t.Fatal(err)
	}
	var trace struct {
		TraceEvents []struct {
			Name, Ph string
			TS, Dur  float64
			Pid, Tid int
			Args     map[string]string
		}
	}
	if err := json.Unmarshal(text, &trace); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range trace.TraceEvents {
		names = append(names, e.Ph+" "+e.Name+" "+e.Args["name"])
	}
	if diff := cmp.Diff([]string{
		"M thread_name steps", "X step ", "M thread_name thread 0", "X forward ", "M thread_name thread 1", "X forward ", "X adam ",
	}, names); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if last := trace.TraceEvents[6]; math.Abs(last.TS-12000) > 1e-6 || math.Abs(last.Dur-5000) > 1e-6 || last.Tid != 1 || last.Pid != 1 {
		t.Errorf("the last event: %+v", last)
	}
	parts := partsOf(got, 2)
	if len(parts) != 2 || parts[0].Part != "forward" || math.Abs(float64(parts[0].MS)-10) > 1e-9 || parts[0].Threads != 2 || math.Abs(float64(parts[0].Share)-0.8) > 1e-9 {
		t.Errorf("parts: %+v", parts)
	}
}
