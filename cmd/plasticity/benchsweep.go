package main

import (
	"context"
	"fmt"
	"os/signal"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"plasticity/config"
	"plasticity/record"
	"plasticity/sweeps"
)

// placeFlags are those of `bench sweep`.
type placeFlags struct {
	configFlags
	members, cores, rounds int
	turn                   time.Duration
	pin, asJSON            bool
}

func newBenchSweep(a *app) *cobra.Command {
	var flags placeFlags
	cmd := &cobra.Command{
		Use: "sweep", Short: "Time several runs at once, in every way to share the cores out",
		Long: `Time several runs of a configuration at once, in every way to share the cores out: as many members as cores with a thread
each, one with all of them, and what divides the cores in between. The placements take turns; the tokens per second are
those of all members together. plasticity sweep run measures the same before it starts, and chooses by it.`,
		Example: `  plasticity bench sweep --config sweeps/configs/llama2-s.yaml
  plasticity bench sweep --config sweeps/configs/llama2-1m.yaml --cores 8 --members 4 --pin --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.benchSweep(cmd, &flags) },
	}
	flags.add(cmd)
	cmd.Flags().IntVar(&flags.members, "members", 0, "members at once at most; 0: one on each core")
	cmd.Flags().IntVar(&flags.cores, "cores", 0, "cores to share out; 0: those this process may use")
	cmd.Flags().IntVar(&flags.rounds, "rounds", 4, "times that each placement is measured")
	cmd.Flags().DurationVar(&flags.turn, "turn", time.Second, "how long each time, at least a step")
	cmd.Flags().BoolVar(&flags.pin, "pin", false, "measure members that are kept on cores of their own, too")
	cmd.Flags().BoolVar(&flags.asJSON, "json", false, "one line of JSON")
	return cmd
}

func (a *app) benchSweep(cmd *cobra.Command, flags *placeFlags) error {
	if err := required(cmd, "config"); err != nil {
		return err
	}
	if flags.members < 0 || flags.members > 1024 || flags.cores < 0 || flags.cores > 1024 {
		return misuse(cmd, fmt.Errorf("--members %d --cores %d: want 0 to 1024", flags.members, flags.cores))
	}
	if flags.rounds < 2 || flags.rounds > 1000 || flags.turn <= 0 || flags.turn > time.Hour {
		return misuse(cmd, fmt.Errorf("--rounds %d --turn %s: want 2 to 1000, and at most an hour", flags.rounds, flags.turn))
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
	return stopped(ctx, a.timePlacements(ctx, c, vocab, flags))
}

// placed is what `bench sweep --json` prints.
type placed struct {
	Name       string       `json:"name"`
	Precision  string       `json:"precision"`
	Cores      int          `json:"cores"`
	Rounds     int          `json:"rounds"`
	Placements []placedWith `json:"placements"`
}

// placedWith is a placement with its ratio to the first, over paired rounds.
type placedWith struct {
	sweeps.Placement
	Ratio         record.Float    `json:"ratio"`
	RatioInterval [2]record.Float `json:"ratio_interval"` // 95 %, bootstrap over rounds
}

func (a *app) timePlacements(ctx context.Context, c config.Run, vocab int, flags *placeFlags) error {
	cores := flags.cores
	if cores == 0 {
		cores = runtime.GOMAXPROCS(0)
	}
	members := flags.members
	if members == 0 {
		members = cores
	}
	placements := sweeps.Placements(cores, members)
	if flags.pin {
		for _, p := range placements {
			if p.Members > 1 {
				p.Pinned = true
				placements = append(placements, p)
			}
		}
	}
	facts := config.DataFacts{Vocab: vocab}
	resolved, err := c.Resolve(facts)
	if err != nil {
		return err
	}
	full, _ := resolved.Model.FLOPsPerToken(resolved.Window)
	plan := &sweeps.Plan{Name: c.Name}
	for i := range placements[0].Members {
		plan.Cells = append(plan.Cells, sweeps.Cell{
			Kind: sweeps.Pretrain, Needs: -1, Base: -1,
			Index: i, Run: c, Facts: facts, Tokens: resolved.TokensPerStep, FLOPs: record.Float(full * float64(resolved.TokensPerStep)),
		})
	}
	measured, err := plan.Measure(ctx, a.probe, placements, sweeps.MeasureOptions{Rounds: flags.rounds, Turn: flags.turn})
	if err != nil {
		return err
	}
	out := placed{Name: c.Name, Precision: c.Precision, Cores: cores, Rounds: flags.rounds}
	base := floats(measured[0].Rounds)
	for _, p := range measured {
		rounds := floats(p.Rounds)
		low, high := bootstrapRatio(rounds, base)
		out.Placements = append(out.Placements, placedWith{p, record.Float(median(rounds) / median(base)), [2]record.Float{record.Float(low), record.Float(high)}})
	}
	if flags.asJSON {
		return a.printJSON(out)
	}
	return a.print(out.text())
}

// text is the table for people.
func (p placed) text() string {
	var out strings.Builder
	fmt.Fprintf(&out, "%s, %s, on %d core(s), %d rounds\n%-24s %14s %14s   %s", p.Name, p.Precision, p.Cores, p.Rounds, "members × threads", "tokens/s", "GFLOP/s", "× the first (95 %)")
	for _, w := range p.Placements {
		fmt.Fprintf(&out, "\n%-24s %14.0f %14.1f   %.2f (%.2f – %.2f)", w.Label(), float64(w.TokensPerSecond), float64(w.FLOPS)/1e9,
			float64(w.Ratio), float64(w.RatioInterval[0]), float64(w.RatioInterval[1]))
	}
	return out.String()
}
