package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"plasticity/cmd/internal/request"
	"plasticity/config"
	"plasticity/data"
	"plasticity/record"
)

func newBench(a *app) *cobra.Command {
	return group("bench", "Measure speed on this machine", `  plasticity bench train --config sweeps/configs/llama2-1m.yaml
  plasticity bench train --config sweeps/configs/llama2-1m.yaml --profile trace.json
  plasticity bench generate --model runs/mine --against pytorch
  plasticity bench sweep --config sweeps/configs/llama2-s.yaml`, newBenchTrain(a), newBenchGenerate(a), newBenchSweep(a))
}

// benchFlags are those of `bench train`.
type benchFlags struct {
	configFlags
	steps, warmup    int
	profile, against string
	isa              string
	products, asJSON bool
}

func newBenchTrain(a *app) *cobra.Command {
	var flags benchFlags
	cmd := &cobra.Command{
		Use: "train", Short: "Time training steps of a configuration; leaves nothing behind",
		Long: `Time training steps of a configuration on random tokens; nothing is left behind. Between the steps large matrix products
are timed, so that the step's operations a second stand beside what this machine's products reach in the same minute. The
operations of a token are counted in two ways: full, 6·N + 12·L·d·s, and causal, 6·N + 6·L·d·s, N being the parameters
without the input embedding.

--profile FILE writes where a step's time goes as a trace for chrome://tracing or Perfetto, and prints a table of it.
--against pytorch trains the same model in PyTorch, in all of its modes and in turns with ours: this takes minutes and needs
the Python environment that tools/get.sh oracle makes in the source tree.`,
		Example: `  plasticity bench train --config sweeps/configs/llama2-1m.yaml --set threads=2 --steps 50 --json
  plasticity bench train --config sweeps/configs/llama2-7m.yaml --profile trace.json
  plasticity bench train --config sweeps/configs/llama2-s.yaml --against pytorch`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.benchTrain(cmd, &flags) },
	}
	flags.add(cmd)
	cmd.Flags().IntVar(&flags.steps, "steps", 20, "steps to time")
	cmd.Flags().IntVar(&flags.warmup, "warmup", 3, "steps before them")
	cmd.Flags().StringVar(&flags.profile, "profile", "", "file of the trace to write (chrome://tracing)")
	cmd.Flags().StringVar(&flags.against, "against", "", "compare with: pytorch")
	cmd.Flags().StringVar(&flags.isa, "isa", "", "with --against, forbid better instructions to both: avx512_bf16, avx512 or avx2")
	cmd.Flags().BoolVar(&flags.products, "products", true, "time matrix products, too")
	cmd.Flags().BoolVar(&flags.asJSON, "json", false, "one line of JSON")
	return cmd
}

func (a *app) benchTrain(cmd *cobra.Command, flags *benchFlags) error {
	if err := required(cmd, "config"); err != nil {
		return err
	}
	if flags.steps < 1 || flags.warmup < 0 || flags.steps > 1<<20 || flags.warmup > 1<<20 {
		return misuse(cmd, fmt.Errorf("--steps %d --warmup %d: want at least 1 and 0, at most %d", flags.steps, flags.warmup, 1<<20))
	}
	if err := oneOfOr(cmd, "against", againstPyTorch); err != nil {
		return err
	}
	if err := oneOfOr(cmd, "isa", "avx512_bf16", "avx512", "avx2"); err != nil {
		return err
	}
	if flags.isa != "" && flags.against == "" {
		return misuse(cmd, errors.New("--isa restricts both sides of a comparison: give --against pytorch, too"))
	}
	c, err := flags.load(a)
	if err != nil {
		return err
	}
	vocab, err := vocabOf(c)
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	if flags.against != "" {
		if flags.profile != "" {
			return misuse(cmd, errors.New("--profile and --against: want one of them"))
		}
		return stopped(ctx, a.againstPyTorch(ctx, c, vocab, flags.isa, flags.asJSON))
	}
	return stopped(ctx, a.timeTraining(ctx, flags, vocab))
}

// vocabOf is the vocabulary to bench with: the configuration's, or its data's.
func vocabOf(c config.Run) (int, error) {
	if c.Model.Vocab > 0 {
		return c.Model.Vocab, nil
	}
	if c.Data.Train == "" {
		return 0, record.Fail(record.Usage, "model.vocab is 0, the data's, and data.train is empty: give one of them")
	}
	set, err := data.Open(c.Data.Train)
	if err != nil {
		return 0, fmt.Errorf("model.vocab is 0, the data's: %w", err)
	}
	return set.Vocab(), nil
}

// stopped makes one line of whatever broke because a signal ended the measurement.
func stopped(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return record.Fail(record.Stopped, "stopped: a measurement keeps nothing, so start it again")
	}
	return err
}

// trained is what `bench train --json` prints.
type trained struct {
	request.BenchReady
	Steps           int             `json:"steps"`
	StepMSBest      record.Float    `json:"step_ms_best"`
	StepMSMedian    record.Float    `json:"step_ms_median"`
	StepMSInterval  [2]record.Float `json:"step_ms_interval"` // 95 % of the median, bootstrap over steps
	TokensPerSecond record.Float    `json:"tokens_per_second"`
	GFLOPS          record.Float    `json:"gflops"`      // causal count, at the median
	GFLOPSFull      record.Float    `json:"gflops_full"` // full count
	Products        []benchProduct  `json:"products,omitempty"`
	ShareCausal     record.Float    `json:"share_causal,omitempty"` // of the product with the run's precision and threads
	ShareFull       record.Float    `json:"share_full,omitempty"`
	PeakMiB         record.Float    `json:"peak_mib"`
	StartupSeconds  record.Float    `json:"startup_seconds"` // until the first step could begin
	WarmupSeconds   record.Float    `json:"warmup_seconds"`  // what the first steps took longer than later ones
	Profile         *profileReport  `json:"profile,omitempty"`
}

// benchProduct is a product's median rate over the run.
type benchProduct struct {
	request.Product
	Least record.Float `json:"least"`
	Most  record.Float `json:"most"`
}

// chunks is how many turns the steps are made in, with products before some of them.
const chunks = 5

func (a *app) timeTraining(ctx context.Context, flags *benchFlags, vocab int) error {
	s, err := a.serveBench(ctx, request.Bench{
		What: request.BenchServe, Config: flags.file, Sets: append(slices.Clone(flags.sets), "model.vocab="+strconv.Itoa(vocab)), Env: a.configEnv(),
	})
	if err != nil {
		return err
	}
	defer s.Close()
	var warm request.BenchTurn
	if flags.warmup > 0 {
		if err := s.ask(&warm, "go", flags.warmup); err != nil {
			return err
		}
	}
	ms, products, peak, err := timeSteps(s, flags.steps, flags.products)
	if err != nil {
		return err
	}
	out := summarize(s.ready, ms, products)
	out.PeakMiB, out.StartupSeconds = peak, record.Float(s.startup.Seconds())
	for _, x := range warm.StepMS {
		out.WarmupSeconds += (x - out.StepMSMedian) / 1e3
	}
	out.WarmupSeconds = max(0, out.WarmupSeconds)
	if flags.profile != "" {
		if out.Profile, err = profile(s, flags.profile, min(flags.steps, 20)); err != nil {
			return err
		}
	}
	if flags.asJSON {
		return a.printJSON(out)
	}
	return a.print(out.text())
}

// timeSteps makes the steps in a few turns, with products between them. The peak of memory is without products, which take
// some of their own.
func timeSteps(s *served, steps int, withProducts bool) (ms []float64, products []request.Products, peak record.Float, err error) {
	for i := range chunks {
		n := steps*(i+1)/chunks - steps*i/chunks
		if n == 0 {
			continue
		}
		var turn request.BenchTurn
		if err := s.ask(&turn, "go", n); err != nil {
			return nil, nil, 0, err
		}
		ms = append(ms, floats(turn.StepMS)...)
		if len(products) == 0 {
			peak = turn.PeakMiB
		}
		if withProducts && (i%2 == 0 || len(products) == 0) {
			var rates request.Products
			if err := s.ask(&rates, "products", 3); err != nil {
				return nil, nil, 0, err
			}
			products = append(products, rates)
		}
	}
	return ms, products, peak, nil
}

// summarize makes the result of steps and products.
func summarize(ready request.BenchReady, ms []float64, products []request.Products) trained {
	out := trained{BenchReady: ready, Steps: len(ms), StepMSBest: record.Float(slices.Min(ms))}
	m := median(ms)
	low, high := bootstrap(ms)
	out.StepMSMedian, out.StepMSInterval = record.Float(m), [2]record.Float{record.Float(low), record.Float(high)}
	rate := float64(ready.TokensPerStep) / m * 1e3
	out.TokensPerSecond = record.Float(rate)
	out.GFLOPS, out.GFLOPSFull = record.Float(rate*float64(ready.FLOPsCausal)/1e9), record.Float(rate*float64(ready.FLOPsFull)/1e9)
	out.Products = productRates(products)
	for _, p := range out.Products {
		if p.Precision == ready.Precision && p.Threads == ready.Threads && p.GFLOPS > 0 {
			out.ShareCausal, out.ShareFull = out.GFLOPS/p.GFLOPS, out.GFLOPSFull/p.GFLOPS
		}
	}
	return out
}

// productRates sums the measurements of each product up.
func productRates(products []request.Products) []benchProduct {
	var out []benchProduct
	if len(products) == 0 {
		return nil
	}
	for i, kind := range products[0].Rates {
		var rates []float64
		for _, p := range products {
			if i < len(p.Rates) {
				rates = append(rates, float64(p.Rates[i].GFLOPS))
			}
		}
		kind.GFLOPS = record.Float(median(rates))
		out = append(out, benchProduct{kind, record.Float(slices.Min(rates)), record.Float(slices.Max(rates))})
	}
	return out
}

// text is the result for people.
func (t trained) text() string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s: %s parameters, %s step, %s, %d thread(s), %s, %d tokens a step\n",
		t.Name, number(float64(t.Parameters)), t.Step, t.Precision, t.Threads, t.CPU, t.TokensPerStep)
	fmt.Fprintf(&out, "step        %.2f ms median (95 %%: %.2f – %.2f), best %.2f, of %d\n",
		float64(t.StepMSMedian), float64(t.StepMSInterval[0]), float64(t.StepMSInterval[1]), float64(t.StepMSBest), t.Steps)
	fmt.Fprintf(&out, "speed       %s tokens/s\n", number(float64(t.TokensPerSecond)))
	fmt.Fprintf(&out, "operations  %.1f GFLOP/s counted full, %.1f causal", float64(t.GFLOPSFull), float64(t.GFLOPS))
	if t.ShareFull > 0 {
		fmt.Fprintf(&out, ": %.0f %% and %.0f %% of this machine's %s products", 100*float64(t.ShareFull), 100*float64(t.ShareCausal), t.Precision)
	}
	out.WriteString("\n")
	for _, p := range t.Products {
		fmt.Fprintf(&out, "product     %-4s %d thread(s): %.0f GFLOP/s (%.0f – %.0f)\n", p.Precision, p.Threads, float64(p.GFLOPS), float64(p.Least), float64(p.Most))
	}
	fmt.Fprintf(&out, "memory      %.0f MiB at most\n", float64(t.PeakMiB))
	fmt.Fprintf(&out, "start-up    %.2f s, and %.2f s more in the first steps", float64(t.StartupSeconds), float64(t.WarmupSeconds))
	if t.Profile != nil {
		out.WriteString("\n\n" + t.Profile.text())
	}
	return out.String()
}

func floats(x []record.Float) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = float64(v)
	}
	return out
}

// number prints three digits with a unit: 950, 12.3k, 4.57M.
func number(v float64) string {
	for _, unit := range []string{"", "k", "M", "G"} {
		if math.Abs(v) < 999.5 || unit == "G" {
			return strconv.FormatFloat(v, 'g', 3, 64) + unit
		}
		v /= 1000
	}
	return ""
}
