package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"plasticity/cmd/internal/request"
	"plasticity/config"
	"plasticity/record"
	"plasticity/torch"
	"plasticity/trainer"
)

// Sizes of the products that doctor times.
const (
	productSize    = 1024
	productRepeats = 5
)

// doctor says what the native side finds on this machine.
func doctor(r request.Doctor, s streams) error {
	info, err := torch.Describe()
	if err != nil {
		return err
	}
	if err := torch.SetThreads(trainer.ThreadsOr(0)); err != nil {
		return err
	}
	m := request.Machine{
		Libtorch: info.TorchVersion, LibtorchPath: loadedFrom("libtorch_cpu.so"), Shim: torch.LoadedStamp(), ShimBuilt: torch.Stamp,
		CPU: info.CPUCapability, Threads: trainer.ThreadsOr(0),
	}
	if r.Products {
		m.ProductSize = productSize
		for _, p := range []struct {
			dtype torch.DType
			rate  *record.Float
		}{{torch.Float32, &m.F32GFLOPS}, {torch.BFloat16, &m.BF16GFLOPS}} {
			rate, err := torch.ProductGFLOPS(p.dtype, productSize, productRepeats)
			if err != nil {
				return err
			}
			*p.rate = record.Float(rate)
		}
	}
	return reply(s, m)
}

// loadedFrom is the folder of a library that this process has mapped.
func loadedFrom(library string) string {
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(maps)) {
		fields := strings.Fields(line)
		if path := fields[len(fields)-1]; filepath.Base(path) == library {
			return filepath.Dir(path)
		}
	}
	return ""
}

// bench times training steps.
func bench(r request.Bench, s streams) error {
	if err := trainer.CheckSteps(r.Steps, r.Warmup); err != nil {
		return err
	}
	c, err := config.Load(config.LoadOptions{File: r.Config, Sets: r.Sets, Env: r.Env})
	if err != nil {
		return err
	}
	b, err := trainer.NewBench(c)
	if err != nil {
		return err
	}
	defer b.Close()
	if _, _, err := b.Run(r.Warmup, nil); err != nil {
		return err
	}
	seconds, _, err := b.Run(r.Steps, nil)
	if err != nil {
		return err
	}
	got := b.Result(seconds)
	out := request.BenchResult{
		Name: c.Name, Step: b.StepName(), Precision: c.Precision, Device: "cpu", Threads: trainer.Threads(c),
		Parameters: b.Config.Model.Parameters(), TokensPerStep: b.Config.TokensPerStep, Steps: r.Steps,
		StepMSBest: record.Float(got.Best * 1e3), StepMSMedian: record.Float(got.Median * 1e3),
		TokensPerSecond: record.Float(got.TokensPerSecond), GFLOPS: record.Float(got.GFLOPS),
	}
	if r.JSON {
		return reply(s, out)
	}
	fmt.Fprintf(s.out, "%s, %s %s, %d threads: %.2f ms a step (median of %d, best %.2f), %.0f tokens/s, %.1f GFLOP/s\n",
		out.Name, out.Step, out.Precision, out.Threads, float64(out.StepMSMedian), out.Steps, float64(out.StepMSBest), float64(out.TokensPerSecond), float64(out.GFLOPS))
	return nil
}
