package rank

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"plasticity/config"
	"plasticity/torch/safetensors"
)

// A model of the paper's OLMo-2 shape is measured in minutes and little memory: one layer at a time. The folder, 3 GB, is made
// here, so this runs only when asked for: PLASTICITY_LARGE=1 go test ./analyze/rank -run Large -v.
func TestAnalyze_Large(t *testing.T) {
	if os.Getenv("PLASTICITY_LARGE") == "" {
		t.Skip("writes 3 GB: set PLASTICITY_LARGE=1")
	}
	preset, ok := config.PresetByName("olmo2-1b")
	if !ok {
		t.Fatal("there is no preset olmo2-1b")
	}
	m := preset.Model
	s := shape{m.Family, m.Layers, m.Width, m.Heads, m.KVHeads, m.FFN, m.Vocab}
	tensors := s.tensors(1, safetensors.BF16)
	var parameters int64
	for i := range tensors {
		count := int64(1)
		for _, d := range tensors[i].Shape {
			count *= int64(d)
		}
		parameters += count
		if !strings.Contains(tensors[i].Name, "self_attn") { // never read: only its size counts
			tensors[i].Float32 = func() ([]float32, error) { return make([]float32, count), nil }
		}
	}
	if parameters != m.Parameters() {
		t.Fatalf("the folder has %d parameters and the model %d", parameters, m.Parameters())
	}
	dir := writeFolder(t, s.hf(nil), tensors, 3)
	resetPeak(t)
	start, spent := time.Now(), cpuSeconds(t)
	report, _, err := Analyze(context.Background(), Options{Model: dir, Formula: DefaultFormula()})
	took, peak := time.Since(start), peakMiB(t)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%.2f B parameters, %d layers of %d heads: %.1f s, of processors %.1f s, peak %.0f MiB\n%s",
		float64(parameters)/1e9, m.Layers, m.Heads, took.Seconds(), cpuSeconds(t)-spent, peak, report.Describe())
	if took > 3*time.Minute || peak > 6*1024 {
		t.Errorf("%v and %.0f MiB: want at most 3 minutes and 6 GiB", took, peak)
	}
	if got := report.Layers[15].QK.Entropy.Mean; !(got > 100 && got < 128) || math.IsNaN(report.Layers[0].VP.Mean) {
		t.Errorf("random heads of size 128 have an entropy rank of %v", got)
	}
}

// cpuSeconds is the time that processors spent on this process.
func cpuSeconds(t *testing.T) float64 {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9
}

// resetPeak gives back what the making of the folder took and makes the kernel count the peak of resident memory anew.
func resetPeak(t *testing.T) {
	t.Helper()
	debug.FreeOSMemory()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		t.Logf("the peak includes the making of the folder: %v", err)
	}
}

// peakMiB is the peak of resident memory of this process.
func peakMiB(t *testing.T) float64 {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", "self", "status"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) == 3 && fields[0] == "VmHWM:" {
			kib, err := strconv.ParseFloat(fields[1], 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib / 1024
		}
	}
	t.Fatal("the kernel does not say the peak of memory")
	return 0
}
