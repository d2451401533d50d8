package main

import (
	"os"
	"path/filepath"
	"strings"

	"plasticity/cmd/internal/request"
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
	// Without an instruction set for it there is no engine: that is an answer, too.
	engine, err := torch.EngineISA("")
	if err != nil && record.CodeOf(err) == record.OutOfMemory {
		return err
	}
	m := request.Machine{
		Libtorch: info.TorchVersion, LibtorchPath: loadedFrom("libtorch_cpu.so"), Shim: torch.LoadedStamp(), ShimBuilt: torch.Stamp,
		CPU: trainer.InstructionSet(info), Engine: engine, Threads: trainer.ThreadsOr(0),
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
