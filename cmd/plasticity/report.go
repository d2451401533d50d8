package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"plasticity/config"
	"plasticity/plots"
)

func newReport(a *app) *cobra.Command {
	var o plots.ReportOptions
	var grid string
	var asJSON bool
	cmd := &cobra.Command{
		Use: "report", Short: "Draw every figure and table of finished runs, with one page that says what they show",
		Long: `Draw every figure (PNG, SVG, CSV) and table of finished runs, with one HTML page that needs no network and says which
run, seed and commit stands behind each number. It reads records only: no checkpoint is needed. An older report in the
same folder is replaced.`,
		Example: `  plasticity report --runs runs/weight-decay-quickstart --out report
  plasticity report --runs runs --out report --grid sweeps/grids/loss-vs-decay.yaml --figure loss-vs-decay`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := required(cmd, "runs", "out"); err != nil {
				return err
			}
			if err := a.fromGrid(&o, grid); err != nil {
				return err
			}
			ctx, stop := interruptible(cmd.Context())
			defer stop()
			result, err := plots.Report(ctx, o)
			if err != nil {
				return interrupted(err)
			}
			for _, p := range result.Problems {
				a.say("warning: %s", p)
			}
			if asJSON {
				return a.printJSON(result)
			}
			a.say("%d of %d runs counted", result.Counted, result.Runs)
			if result.Tuned > 0 {
				a.say("%d of %d fine-tuned runs counted", result.TunedCounted, result.Tuned)
			}
			return a.print(result.Headline + "\n" + result.Page)
		},
	}
	cmd.Flags().StringVar(&o.Runs, "runs", "", "folder of runs: one run, a grid or several grids")
	cmd.Flags().StringVarP(&o.Out, "out", "o", "", "folder of the report")
	cmd.Flags().StringVarP(&grid, "grid", "g", "", "grid file that the claim and the figures are taken from")
	cmd.Flags().StringVar(&o.Title, "title", "", "of the page (default made from the grids)")
	cmd.Flags().StringArrayVar(&o.Figures, "figure", nil, "figure to draw, may be repeated: "+strings.Join(plots.Names(), ", ")+" (default all)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "one line of JSON")
	return cmd
}

// fromGrid takes the claim and, unless figures were named, the choice of figures from a grid file. Figures that a grid asks for and this program does not draw yet
// are said and left out.
func (a *app) fromGrid(o *plots.ReportOptions, file string) error {
	if file == "" {
		return nil
	}
	g, err := config.LoadGrid(file, "", nil, nil)
	if err != nil {
		return err
	}
	o.Claim = g.Claim
	if len(o.Figures) > 0 {
		return nil
	}
	for _, name := range g.Figures {
		if slices.Contains(plots.Names(), name) {
			o.Choice = append(o.Choice, name)
			continue
		}
		a.say("warning: %s asks for the figure %s, which this version does not draw; it draws %s", file, name, strings.Join(plots.Names(), ", "))
	}
	return nil
}
