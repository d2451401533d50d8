package torchtest

import (
	"math"
	"testing"

	"plasticity/torch"
)

// NoLeaks fails the test when more native tensors or engines are live at its end than now.
func NoLeaks(t testing.TB) {
	t.Helper()
	before := torch.Live()
	t.Cleanup(func() {
		if after := torch.Live(); after != before {
			t.Errorf("%d native handles live at the end of the test, %d at its start", after, before)
		}
	})
}

// RequireCUDA skips the test, with the reason, where no GPU can be used. The test's process must not have used
// libtorch before torch.OpenCUDA.
func RequireCUDA(t testing.TB) {
	t.Helper()
	devices, err := torch.OpenCUDA()
	if err != nil {
		t.Fatal(err)
	}
	if devices.Count == 0 {
		t.Skipf("needs a GPU: %s", devices.Reason)
	}
}

// Close fails the test when got and want differ by more than tolerance · max(1, |want|) anywhere.
func Close(t testing.TB, what string, got, want []float32, tolerance float64) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d values, want %d", what, len(got), len(want))
	}
	for i := range got {
		g, w := float64(got[i]), float64(want[i])
		if math.Abs(g-w) <= tolerance*math.Max(1, math.Abs(w)) {
			continue
		}
		t.Fatalf("%s: element %d is %v, want %v (tolerance %v)", what, i, g, w, tolerance)
	}
}

// FiniteDiff compares analytic, the gradient of f at x, with central differences of width h at
// every element, within tolerance · max(1, |difference quotient|).
func FiniteDiff(t testing.TB, what string, f func(x []float32) float64, x, analytic []float32, h, tolerance float64) {
	t.Helper()
	numeric := make([]float32, len(x))
	for i := range x {
		at := x[i]
		x[i] = at + float32(h)
		up := f(x)
		step := float64(x[i])
		x[i] = at - float32(h)
		down := f(x)
		step -= float64(x[i])
		x[i] = at
		numeric[i] = float32((up - down) / step)
	}
	Close(t, what, analytic, numeric, tolerance)
}
