package main

import "github.com/spf13/cobra"

func newAnalyze(a *app) *cobra.Command {
	return group("analyze", "Look inside trained models", `  plasticity analyze rank --model runs/mine --all
  plasticity analyze gap --model runs/mine
  plasticity analyze forgetting --model runs/tuned
  plasticity analyze noise --model runs/mine
  plasticity analyze probes --model runs/mine --task synthetic-sentiment`,
		newAnalyzeRank(a), newAnalyzeGap(a), newAnalyzeForgetting(a), newAnalyzeNoise(a), newAnalyzeProbes(a),
	)
}
