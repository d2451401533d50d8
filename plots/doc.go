// Package plots turns the records of runs into figures, tables and one page that can be read without a network.
//
// A figure is a pure function of records: the same folders give the same bytes. Beside every picture lies the CSV of the
// points that were drawn, each with the id of its run. A run is never dropped in silence: what is missing, failed,
// unfinished, not finite, doubled or not comparable is said on the figure, in the tables and on the page.
//
// # Use
//
//	result, err := plots.Report(ctx, plots.ReportOptions{Runs: "runs", Out: "report"})
//	fmt.Println(result.Headline, result.Page)          // Page is report/index.html; report/report.json is for machines
//
// or piece by piece:
//
//	set, err := plots.Load(ctx, "runs/weight-decay-quickstart")
//	figure, err := plots.Draw("loss-vs-decay", set)    // plots.Names() lists them
//	err = figure.PNG(file)                             // also SVG, CSV
//	err = plots.LossTable(set).Markdown(os.Stdout)     // also CSV, LaTeX
//	for _, finding := range set.Findings() { fmt.Println(finding.Text) }
//
// # What is compared
//
// Runs are sorted into settings: everything in the resolved configuration that reaches the numbers is equal, and so are the
// digests of data and tokenizer; only weight decay and seed differ. Within a setting, λ (weight decay) is the level and the
// seed is the repetition. The interval is the 95 % t interval of the mean over seeds; decays are compared by differences
// paired by seed.
//
// # Fine-tuned runs
//
// A fine-tuned run belongs to the setting of the base run it was made from, and never moves Figure 1. Its results are taken at the weight
// decay and seed of the base run: the response loss, and the scores of the evaluation settings with the most answers. One without a base
// is the never-pretrained model of its size and tokenizer. The fixed recipe is, of those tried, the one with the lowest mean response loss
// over base models and tasks; the best of the recipes is chosen for each base model and task, on the test set. Where several rates were tried with all
// else equal, results are also interpolated at rates in proportion to the norm of each base model's weights. The recommended decay is the
// best downstream of those whose mean validation loss is within one per cent of the lowest. Bootstraps draw seeds, 10,000 times, with a
// fixed random seed.
//
// # Ranks of attention
//
// The pseudo-ranks of W_QK and W_VP come from analyze/rank.json of pretraining runs; those of the last step enter means over seeds, which are
// over query heads already. Within a setting only runs measured by one formula, in the same layers, are put together. The finding compares the
// highest decay with the lowest, paired by seed, averaged over layers. A set without any rank.json leaves these figures out.
//
// # Probes and gaps
//
// Probes come from analyze/probes-*/probes.json of pretraining runs, the train-validation gap from analyze/gap/gap.json; both count as ranks do: those
// of the last step, of runs that count, and within a setting only those of equal settings together. The accuracies are the mean over layers and
// that of the best layer of each model, which was chosen on other texts. A run alone at its weight decay has no interval over seeds: its gap
// is drawn with the one over documents. The findings compare the highest decay with the lowest, as that of the ranks does.
//
// # Noise, forgetting and signals
//
// Noise comes from analyze/noise/noise.json of pretraining runs and counts as gaps do; findings are about the size of noise whose mean rise of the loss
// is nearest to NoiseRise. Forgetting comes from analyze/forgetting/forgetting.json of fine-tuned runs, those of the settings that most runs of the
// set have; it is averaged over the tasks that have it, by the fixed recipe. Signals are numbers of base models set against the average response
// loss by the fixed recipe: Spearman's correlation over base runs, with its range when one weight decay is left out. A third of training
// is what was measured nearest to it, a tenth of training away at most.
//
// # Imports
//
// Pure Go, no cgo. Of this module it imports record only.
package plots
