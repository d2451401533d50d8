package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"strconv"
	"strings"

	"plasticity/cmd/internal/request"
	"plasticity/config"
	"plasticity/record"
	"plasticity/torch"
	"plasticity/trainer"
)

// benchSize is the size of the products that a bench times.
const benchSize = 2048

// bench makes a process whose speed somebody else measures.
func bench(r request.Bench, s streams) error {
	switch r.What {
	case request.BenchServe:
		return benchTraining(r, s)
	case request.BenchGenerate:
		return benchGeneration(r, s)
	case request.BenchSample:
		return benchSampling(r, s)
	default:
		return record.Fail(record.Usage, "bench %q: %s, %s or %s", r.What, request.BenchServe, request.BenchGenerate, request.BenchSample)
	}
}

// benchTraining serves training steps.
func benchTraining(r request.Bench, s streams) error {
	c, err := config.Load(config.LoadOptions{File: r.Config, Sets: r.Sets, Env: r.Env})
	if err != nil {
		return err
	}
	b, err := trainer.NewBench(c)
	if err != nil {
		return err
	}
	defer b.Close()
	if err := prepareServing(b, r); err != nil {
		return err
	}
	info, err := torch.Describe()
	if err != nil {
		return err
	}
	use, err := b.Device()
	if err != nil {
		return err
	}
	full, causal := b.Config.Model.FLOPsPerToken(b.Config.Window)
	ready := request.BenchReady{
		Name: c.Name, Step: b.StepName(), Precision: c.Precision, Device: use.Name, Hardware: use.Hardware, CPU: trainer.InstructionSet(info), Threads: trainer.Threads(c),
		Parameters: b.Config.Model.Parameters(), TokensPerStep: b.Config.TokensPerStep, FLOPsFull: record.Float(full), FLOPsCausal: record.Float(causal),
	}
	return serve(s, ready, map[string]answerer{
		"go":       func(n int) (any, error) { return trainTurn(b, n) },
		"profile":  func(n int) (any, error) { return profileTurn(b, n) },
		"products": func(n int) (any, error) { return timeProducts(ready.Threads, n) },
	})
}

// prepareServing gives the contenders of a comparison the same tokens and the same start.
func prepareServing(b *trainer.Bench, r request.Bench) error {
	if r.Tokens != "" {
		if err := b.UseTokens(r.Tokens); err != nil {
			return err
		}
	}
	if r.Weights == "" {
		return nil
	}
	var file bytes.Buffer
	file.Grow(int(4*b.Config.Model.Parameters()) + 1<<20)
	if err := b.SaveWeights(&file); err != nil {
		return err
	}
	return record.WriteFileAtomic(record.OS(), r.Weights, file.Bytes())
}

func trainTurn(b *trainer.Bench, n int) (request.BenchTurn, error) {
	steps, err := b.Run(n)
	if err != nil {
		return request.BenchTurn{}, err
	}
	var out request.BenchTurn
	for _, s := range steps {
		out.StepMS, out.Losses = append(out.StepMS, record.Float(s.Seconds*1e3)), append(out.Losses, record.Float(s.Loss))
		out.GradNorms = append(out.GradNorms, record.Float(s.GradNorm))
	}
	out.PeakMiB = peakMiB()
	use, err := b.Device()
	out.Launch, out.DevicePeakBytes, out.DeviceReservedBytes, out.DevicePlannedBytes = use.Launch, use.PeakBytes, use.ReservedBytes, use.PlannedBytes
	return out, err
}

func profileTurn(b *trainer.Bench, n int) (request.BenchProfile, error) {
	_, spans, inside, err := b.Profile(n)
	out := request.BenchProfile{Inside: inside, Spans: make([]request.Span, len(spans))}
	for i, s := range spans {
		out.Spans[i] = request.Span(s)
	}
	return out, err
}

// timeProducts measures what libtorch's products reach with one thread and with all.
func timeProducts(threads, repeats int) (request.Products, error) {
	out := request.Products{Size: benchSize}
	for n := 1; ; n = threads {
		if err := torch.SetThreads(n); err != nil {
			return out, err
		}
		for _, p := range []struct {
			name  string
			dtype torch.DType
		}{{"f32", torch.Float32}, {"bf16", torch.BFloat16}} {
			rate, err := torch.ProductGFLOPS(p.dtype, benchSize, repeats)
			if err != nil {
				return out, err
			}
			out.Rates = append(out.Rates, request.Product{Precision: p.name, Threads: n, GFLOPS: record.Float(rate)})
		}
		if n == threads {
			return out, nil
		}
	}
}

// peakMiB is the most resident memory that this process had, where the kernel says it.
func peakMiB() record.Float {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 64) // 0 for what is no number
			return record.Float(kib / 1024)
		}
	}
	return 0
}

// maxTurn bounds the steps of one turn.
const maxTurn = 1 << 20

// answerer makes the reply to a word with a number.
type answerer func(n int) (any, error)

// serve says that it is ready with a line of facts, then answers each line "WORD N" with a line, until "quit" or the end
// of the input.
func serve(s streams, ready request.BenchReady, answers map[string]answerer) error {
	if err := reply(s, ready); err != nil {
		return err
	}
	in := bufio.NewReader(io.LimitReader(s.in, 1<<20))
	for {
		line, err := in.ReadString('\n')
		switch {
		case errors.Is(err, io.EOF) && strings.TrimSpace(line) == "":
			return nil
		case err != nil && !errors.Is(err, io.EOF):
			return record.Fail(record.IO, "read what to do: %w", err)
		}
		word, number, _ := strings.Cut(strings.TrimSpace(line), " ")
		if word == "quit" {
			return nil
		}
		n, err := strconv.Atoi(number)
		if answers[word] == nil || err != nil || n < 1 || n > maxTurn {
			return record.Fail(record.Usage, "%.80q: \"go N\" with 1 to %d steps, or \"quit\"", line, maxTurn)
		}
		out, err := answers[word](n)
		if err != nil {
			return err
		}
		if err := reply(s, out); err != nil {
			return err
		}
	}
}
