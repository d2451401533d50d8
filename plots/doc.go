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
// # Imports
//
// Pure Go, no cgo. Of this module it imports record only.
package plots
