package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"plasticity/analyze/label"
	"plasticity/analyze/probe"
	"plasticity/cmd/internal/request"
)

func newAnalyzeProbes(a *app) *cobra.Command {
	r := defaultProbes()
	cmd := &cobra.Command{
		Use: "probes", Short: "Read labels of texts from a model's hidden states by linear classifiers",
		Long: `Read labels of texts from a model's hidden states: for the embedding and for each layer a logistic regression on standardised states,
whose strength of penalty is chosen on texts of their own, is tested on others. Beside each stands a control task, the same with
shuffled labels. A text's state is that of its last token or the mean over its tokens.

The tasks: sst2, imdb (sentiment), agnews, dbpedia (topic) from public files in the folder --data; ` + label.Decade + ` and ` + label.Party + `,
the decade or the party (Democratic or Republican) of passages of State of the Union addresses, from the folder that
"plasticity data fetch sotu" prints; ` + label.Genre + `, the genre of passages of the Brown corpus, from "plasticity data fetch brown";
reviews, whether a review of food is great, from "plasticity data fetch reviews", in its own split (sentiment); ` + label.Kind + `, addresses or
Go source, from the parent folder of both data sets; and ` + label.Synthetic + `, which needs no data: made-up sentences, good or bad, some by a negation.

OUT/probes.json and OUT/probes.csv have accuracies with intervals of 95 % per layer, the best layer (chosen on the texts to choose by) and the mean
over layers. Intervals are over documents, of which passages are cut out. Another result is not replaced. With --json the result is one line {"out","unchanged","results"}.`,
		Example: `  plasticity analyze probes --model runs/mine --task ` + label.Synthetic + `
  plasticity analyze probes --model runs/mine --task ` + label.Decade + ` --data "$(plasticity data fetch sotu)" --pool mean
  plasticity analyze probes --model runs/mine --task reviews --data "$(plasticity data fetch reviews)" --pool mean
  plasticity analyze probes --model hf-folder --task agnews --data ag_news --layers embedding,0,5 --out analyses/agnews --json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := required(cmd, "model", "task"); err != nil {
				return err
			}
			if err := oneOf(cmd, "task", label.Tasks()...); err != nil {
				return err
			}
			if err := oneOf(cmd, "pool", probe.Last, probe.Mean); err != nil {
				return err
			}
			if err := checkProbes(r); err != nil {
				return misuse(cmd, err)
			}
			r.Quiet = a.quiet
			return a.work(cmd.Context(), request.CommandAnalyzeProbes, r)
		},
	}
	cmd.Flags().StringVarP(&r.Model, "model", "m", "", "run, checkpoint or Hugging Face folder")
	cmd.Flags().StringVar(&r.Task, "task", "", strings.Join(label.Tasks(), ", "))
	cmd.Flags().StringVar(&r.Data, "data", "", "folder of the task's data")
	cmd.Flags().StringVarP(&r.Out, "out", "o", "", "folder for the result (default: analyze/probes-TASK in the run's folder)")
	cmd.Flags().StringVar(&r.Pool, "pool", r.Pool, "state of a text: that of its last token, or the mean over tokens: last or mean")
	cmd.Flags().StringSliceVar(&r.Layers, "layers", nil, "layers, from 0, and embedding (default: all)")
	cmd.Flags().IntVar(&r.Train, "train", r.Train, "texts to learn from, at most")
	cmd.Flags().IntVar(&r.Val, "val", r.Val, "texts to choose the penalty by, at most")
	cmd.Flags().IntVar(&r.Test, "test", r.Test, "texts to test on, at most")
	cmd.Flags().StringVar(&r.Features, "features", "", "file for the features and labels, as safetensors (default: none)")
	cmd.Flags().Int64Var(&r.Seed, "seed", r.Seed, "seed of texts drawn, labels shuffled and bootstrap")
	cmd.Flags().IntVar(&r.Threads, "threads", 0, "threads; 0: all cores")
	cmd.Flags().BoolVar(&r.JSON, "json", false, "one line of JSON")
	return cmd
}

// checkProbes refuses numbers without a meaning.
func checkProbes(r request.AnalyzeProbes) error {
	const most = 1 << 24
	for _, n := range []struct {
		flag  string
		value int
	}{{"train", r.Train}, {"val", r.Val}, {"test", r.Test}} {
		if n.value < 2 || n.value > most {
			return fmt.Errorf("--%s %d: want 2 to %d", n.flag, n.value, most)
		}
	}
	return checkThreads(r.Threads)
}
