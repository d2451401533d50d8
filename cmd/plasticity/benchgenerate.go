package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"plasticity/cmd/internal/request"
	"plasticity/record"
)

// generateFlags are those of `bench generate`.
type generateFlags struct {
	configFlags
	model                         string
	prompt, tokens, rounds, cores int
	against                       string
	asJSON                        bool
}

func newBenchGenerate(a *app) *cobra.Command {
	var flags generateFlags
	cmd := &cobra.Command{
		Use: "generate", Short: "Time generation: reading a prompt, and making tokens one by one",
		Long: `Time greedy generation from a random prompt: prefill is reading the prompt up to the first new token, decode the making of
the others, one by one. The model is a trained one, or random weights of a configuration; it runs in float32, as
plasticity generate does.

--against pytorch lets transformers' generate continue the same model in turns with ours, in float32 and in bfloat16. It
needs the Python environment that tools/get.sh oracle makes in the source tree.`,
		Example: `  plasticity bench generate --model runs/mine --prompt-tokens 64 --max-tokens 64
  plasticity bench generate --config sweeps/configs/llama2-1m.yaml --against pytorch --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.benchGenerate(cmd, &flags) },
	}
	flags.add(cmd)
	cmd.Flags().StringVarP(&flags.model, "model", "m", "", "run, checkpoint or Hugging Face folder, instead of --config")
	cmd.Flags().IntVar(&flags.prompt, "prompt-tokens", 32, "tokens of the prompt")
	cmd.Flags().IntVarP(&flags.tokens, "max-tokens", "n", 64, "tokens to make")
	cmd.Flags().IntVar(&flags.rounds, "rounds", 5, "times that each continues the prompt")
	cmd.Flags().IntVar(&flags.cores, "threads", 0, "threads; 0: all cores")
	cmd.Flags().StringVar(&flags.against, "against", "", "compare with: pytorch")
	cmd.Flags().BoolVar(&flags.asJSON, "json", false, "one line of JSON")
	return cmd
}

func (a *app) benchGenerate(cmd *cobra.Command, flags *generateFlags) error {
	if (flags.model == "") == (flags.file == "") {
		return misuse(cmd, errors.New("--model or --config: want one of them"))
	}
	switch {
	case flags.prompt < 1 || flags.prompt > 1<<20 || flags.tokens < 2 || flags.tokens > 1<<20:
		return misuse(cmd, fmt.Errorf("--prompt-tokens %d --max-tokens %d: want at least 1 and 2", flags.prompt, flags.tokens))
	case flags.rounds < 2 || flags.rounds > 1000:
		return misuse(cmd, fmt.Errorf("--rounds %d: want 2 to 1000", flags.rounds))
	}
	if err := checkThreads(flags.cores); err != nil {
		return misuse(cmd, err)
	}
	if err := oneOfOr(cmd, "against", againstPyTorch); err != nil {
		return err
	}
	r := request.Bench{
		What: request.BenchGenerate, Model: flags.model, PromptTokens: flags.prompt, NewTokens: flags.tokens, Threads: flags.cores,
	}
	if flags.file != "" {
		c, err := flags.load(a)
		if err != nil {
			return err
		}
		vocab, err := vocabOf(c)
		if err != nil {
			return err
		}
		r.Config, r.Sets, r.Env = flags.file, append(flags.sets[:len(flags.sets):len(flags.sets)], "model.vocab="+strconv.Itoa(vocab)), a.configEnv()
	}
	ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	return stopped(ctx, a.timeGeneration(ctx, r, flags))
}

// generator is one that continues the prompt, with its milliseconds of every round.
type generator struct {
	name            string
	process         *served
	prefill, decode []float64
	peak            record.Float
}

// timeGeneration lets all generators take turns.
func (a *app) timeGeneration(ctx context.Context, r request.Bench, flags *generateFlags) error {
	dir, err := os.MkdirTemp("", "plasticity-bench-")
	if err != nil {
		return record.Fail(record.IO, "%w", err)
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a leftover in the temporary folder harms nobody
	generators, err := a.startGenerators(ctx, r, flags, dir)
	defer func() {
		for _, g := range generators {
			g.process.Close()
		}
	}()
	if err != nil {
		return err
	}
	for round := -1; round < flags.rounds; round++ { // the first is not counted
		for i := range generators {
			if round%2 == 1 {
				i = len(generators) - 1 - i
			}
			if err := generators[i].turn(round >= 0); err != nil {
				return fmt.Errorf("%s: %w", generators[i].name, err)
			}
		}
	}
	out := generationResult(generators, flags)
	if flags.asJSON {
		return a.printJSON(out)
	}
	return a.print(out.text())
}

// startGenerators starts ours and, when asked, PyTorch's with the same weights.
func (a *app) startGenerators(ctx context.Context, r request.Bench, flags *generateFlags, dir string) ([]*generator, error) {
	python, scripts := "", ""
	if flags.against != "" {
		var err error
		if python, scripts, err = a.oracle(); err != nil {
			return nil, err
		}
		r.HF = filepath.Join(dir, "model")
	}
	ours, err := a.serveBench(ctx, r)
	if err != nil {
		return nil, err
	}
	out := []*generator{{name: "plasticity f32", process: ours}}
	if flags.against == "" {
		return out, nil
	}
	for _, precision := range []string{"f32", "bf16"} {
		cmd := exec.Command(python, filepath.Join(scripts, "peer_generate.py"), "--model", r.HF, "--precision", precision,
			"--threads", strconv.Itoa(ours.ready.Threads), "--prompt-tokens", strconv.Itoa(flags.prompt), "--max-tokens", strconv.Itoa(flags.tokens))
		cmd.Env = append(a.env[:len(a.env):len(a.env)], "HF_HUB_OFFLINE=1")
		peer, err := start(ctx, cmd)
		if err != nil {
			return out, fmt.Errorf("transformers %s: %w", precision, err)
		}
		out = append(out, &generator{name: "transformers " + precision, process: peer})
	}
	return out, nil
}

func (g *generator) turn(counts bool) error {
	var turn request.GenerateTurn
	if err := g.process.ask(&turn, "go", 1); err != nil {
		return err
	}
	if counts {
		g.prefill, g.decode = append(g.prefill, floats(turn.PrefillMS)...), append(g.decode, floats(turn.DecodeMS)...)
		g.peak = turn.PeakMiB
	}
	return nil
}

// generation is what `bench generate --json` prints.
type generation struct {
	PromptTokens int             `json:"prompt_tokens"`
	NewTokens    int             `json:"new_tokens"`
	Rounds       int             `json:"rounds"`
	Threads      int             `json:"threads"`
	Parameters   int64           `json:"parameters"`
	Rows         []generationRow `json:"rows"`
}

type generationRow struct {
	Name                   string          `json:"name"`
	PrefillMS              record.Float    `json:"prefill_ms"`
	PrefillTokensPerSecond record.Float    `json:"prefill_tokens_per_second"`
	DecodeMS               record.Float    `json:"decode_ms"` // of one token
	DecodeTokensPerSecond  record.Float    `json:"decode_tokens_per_second"`
	Ratio                  record.Float    `json:"ratio"`          // time of decoding, ours being 1
	RatioInterval          [2]record.Float `json:"ratio_interval"` // 95 %, bootstrap over rounds
	PeakMiB                record.Float    `json:"peak_mib"`
	StartupSeconds         record.Float    `json:"startup_seconds"`
}

func generationResult(generators []*generator, flags *generateFlags) generation {
	ours := generators[0]
	out := generation{
		PromptTokens: flags.prompt, NewTokens: flags.tokens, Rounds: flags.rounds, Threads: ours.process.ready.Threads, Parameters: ours.process.ready.Parameters,
	}
	for _, g := range generators {
		prefill, decode := median(g.prefill), median(g.decode)/float64(flags.tokens-1)
		low, high := bootstrapRatio(g.decode, ours.decode)
		out.Rows = append(out.Rows, generationRow{
			Name: g.name, PrefillMS: record.Float(prefill), PrefillTokensPerSecond: record.Float(float64(flags.prompt) / prefill * 1e3),
			DecodeMS: record.Float(decode), DecodeTokensPerSecond: record.Float(1e3 / decode),
			Ratio:         record.Float(median(g.decode) / median(ours.decode)),
			RatioInterval: [2]record.Float{record.Float(low), record.Float(high)},
			PeakMiB:       g.peak, StartupSeconds: record.Float(g.process.startup.Seconds()),
		})
	}
	return out
}

// text is the table for people.
func (g generation) text() string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s parameters, a prompt of %d tokens and %d new ones, %d thread(s), median of %d\n",
		number(float64(g.Parameters)), g.PromptTokens, g.NewTokens, g.Threads, g.Rounds)
	fmt.Fprintf(&out, "%-18s %16s %16s %24s %10s %10s", "", "prefill tokens/s", "decode tokens/s", "time of decoding", "peak MiB", "start-up s")
	for _, r := range g.Rows {
		ratio := fmt.Sprintf("%.2f (%.2f – %.2f)", float64(r.Ratio), float64(r.RatioInterval[0]), float64(r.RatioInterval[1]))
		fmt.Fprintf(&out, "\n%-18s %16.0f %16.1f %24s %10.0f %10.2f", r.Name, float64(r.PrefillTokensPerSecond), float64(r.DecodeTokensPerSecond), ratio,
			float64(r.PeakMiB), float64(r.StartupSeconds))
	}
	return out.String()
}
