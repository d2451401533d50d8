package trainer

import (
	"math"
	"strings"
	"testing"
	"time"

	"plasticity/config"
)

func TestConsole_Terminal(t *testing.T) {
	var out strings.Builder
	c := newConsole(&out, true, config.Resolved{Steps: 100})
	c.columns = func() int { return 40 }
	c.start("runs/x", 10, 640, "engine (amx, bf16, 2 threads)")
	c.started = time.Now().Add(-10 * time.Second)
	event := StepEvent{Step: 20, Tokens: 7045, Loss: 3.5, GradNorm: 0.25, LearningRate: 1e-3, Evaluation: &Evaluation{Loss: 3.25}}
	if err := c.step(event); err != nil {
		t.Fatal(err)
	}
	c.message("warning: something")
	c.columns = func() int { return 0 }
	c.shown = time.Time{}
	if err := c.step(event); err != nil {
		t.Fatal(err)
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	got := out.String()
	for _, line := range strings.FieldsFunc(got, func(r rune) bool { return r == '\n' || r == '\r' }) {
		if strings.HasPrefix(line, "step 20") && len(line) > 39 && !strings.Contains(line, "left") {
			t.Errorf("a line of %d characters on a terminal of 40: %q", len(line), line)
		}
	}
	for _, want := range []string{"engine (amx, bf16, 2 threads), in runs/x", "going on from step 10", "step 20/100  20%", "val 3.2500", "left 1m20s", "\nwarning: something\n", "  640 tok/s"} {
		if !strings.Contains(strings.ReplaceAll(got, "\r", "\n"), want) {
			t.Errorf("%q lacks %q", got, want)
		}
	}
	if strings.Contains(got, "\x1b") {
		t.Errorf("there are escape sequences: %q", got)
	}
}

func TestConsole_Plain(t *testing.T) {
	var out strings.Builder
	c := newConsole(&out, false, config.Resolved{Steps: 3})
	c.start("runs/x", 0, 0, "reference (f32, 1 thread)")
	for n := range 3 {
		if err := c.step(StepEvent{Step: int64(n + 1), Loss: 1}); err != nil {
			t.Fatal(err)
		}
	}
	c.done(StepEvent{Step: 3, Loss: 1}, time.Second, "runs/x")
	if got := out.String(); strings.Contains(got, "\r") || strings.Count(got, "step ") != 2 || !strings.Contains(got, "done: 3 steps in 1s") {
		t.Errorf("got %q, want plain lines for the first and the last step", got)
	}
	var silent *console
	silent.start("", 0, 0, "")
	silent.message("nothing")
	if err := silent.step(StepEvent{}); err != nil {
		t.Error(err)
	}
}

func TestDurationText(t *testing.T) {
	for seconds, want := range map[float64]string{
		0: "0s", 0.3404: "340ms", 4.12: "4.1s", 130: "2m10s", 12000: "3h20m", 1051200: "12d4h", math.Inf(1): "11574d2h", -1: "?",
	} {
		if got := durationText(seconds); got != want {
			t.Errorf("durationText(%v) = %q, want %q", seconds, got, want)
		}
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 171008: "171 k", 3320000: "3.32 M", 999999: "1 M", 5e12: "5 T"} {
		if got := count(n); got != want {
			t.Errorf("count(%d) = %q, want %q", n, got, want)
		}
	}
}
