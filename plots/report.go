package plots

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"plasticity/record"
)

// reportFile marks a folder as a report: only such a folder is replaced by a new one.
const reportFile = "report.json"

// ReportOptions says what to report on, and where.
type ReportOptions struct {
	Runs    string   // folder of runs: one run, a grid, or several grids
	Out     string   // folder of the report; replaced when it is an older report, refused when it is anything else
	Title   string   // of the page; empty: made from the grids
	Claim   string   // what the grid set out to test; may be empty
	Samples []Sample // text of the best model; what lies in its folder samples/ is added
	Figures []string // names of figures, which are drawn whatever was measured; empty: those of Choice about what some run has
	Choice  []string // names of figures; empty: all of them
	FS      record.FS

	dpi int // of the pictures; 0: pngDPI. Tests that are about something else draw small ones
}

// Result is what Report wrote.
type Result struct {
	Page     string    `json:"page"`     // index.html
	Headline string    `json:"headline"` // the main finding, in a sentence or two
	Runs     int       `json:"runs"`     // of base models
	Counted  int       `json:"counted"`  // finished, with a finite validation loss
	Findings []Finding `json:"findings"`
	Claims   []Claim   `json:"claims"` // what the findings amount to

	Tuned        int            `json:"tuned"` // fine-tuned runs
	TunedCounted int            `json:"tuned_counted"`
	Downstream   []TunedFinding `json:"downstream"`
	Tradeoffs    []Tradeoff     `json:"tradeoffs"`

	Probes []ProbeFinding `json:"probes"`
	Ranks  []RankFinding  `json:"ranks"`
	Laws   []Law          `json:"laws"` // of the best weight decay over tokens per parameter
	Gaps   []GapFinding   `json:"gaps"`

	Noise      []NoiseFinding      `json:"noise"`
	Forgetting []ForgettingFinding `json:"forgetting"`
	Signals    []SignalFinding     `json:"signals"`

	Files    []string         `json:"files"` // below Out
	Problems []record.Problem `json:"problems"`
}

// Report reads the runs and writes one page with every figure and table, and beside it each figure as PNG, SVG and CSV and
// each table as Markdown, CSV and LaTeX. The folder appears as a whole or not at all. Damaged runs are reported on the page;
// the error is a Failure: Usage for folders that cannot serve, IO when writing fails, Stopped when ctx ends.
func Report(ctx context.Context, o ReportOptions) (Result, error) {
	if o.FS == nil {
		o.FS = record.OS()
	}
	if o.dpi == 0 {
		o.dpi = pngDPI
	}
	if err := o.check(); err != nil {
		return Result{}, err
	}
	set, err := Load(ctx, o.Runs)
	if err != nil {
		return Result{}, err
	}
	b := builder{options: o, set: set, files: map[string][]byte{}}
	if err := b.build(ctx); err != nil {
		return Result{}, err
	}
	err = record.WriteDirAtomic(o.FS, o.Out, func(temp string) error { return b.write(ctx, temp) })
	if err != nil {
		return Result{}, err
	}
	b.result.Page = filepath.Join(o.Out, "index.html")
	return b.result, nil
}

// check refuses folders whose replacement would destroy something.
func (o ReportOptions) check() error {
	if o.Runs == "" || o.Out == "" {
		return record.Fail(record.Usage, "a report needs the folder of the runs and a folder to write to")
	}
	for _, name := range slices.Concat(o.Figures, o.Choice) {
		if !slices.Contains(Names(), name) {
			return record.Fail(record.Usage, "figure %.60q: there are %s", name, strings.Join(Names(), ", "))
		}
	}
	runs, err := resolved(o.Runs)
	if err != nil {
		return err
	}
	out, err := resolved(o.Out)
	if err != nil {
		return err
	}
	if inside, err := filepath.Rel(out, runs); err == nil && inside != ".." && !strings.HasPrefix(inside, ".."+string(filepath.Separator)) {
		return record.Fail(record.Usage, "%s: a report cannot replace the folder that holds the runs (%s): choose another folder", o.Out, o.Runs)
	}
	entries, err := o.FS.ReadDir(o.Out)
	switch {
	case errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0:
		return nil
	case err != nil:
		return record.Fail(record.CodeOf(err), "write report: %w", err)
	case !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == reportFile }):
		return record.Fail(record.Usage, "%s: not empty and not an older report: choose a new folder or empty it", o.Out)
	}
	return nil
}

// resolved makes a path absolute and follows links as far as it exists.
func resolved(path string) (string, error) {
	full, err := filepath.Abs(path)
	if err != nil {
		return "", record.Fail(record.IO, "%s: %w", path, err)
	}
	rest := ""
	for at := full; ; at = filepath.Dir(at) {
		if real, err := filepath.EvalSymlinks(at); err == nil {
			return filepath.Join(real, rest), nil
		}
		if at == filepath.Dir(at) {
			return full, nil
		}
		rest = filepath.Join(filepath.Base(at), rest)
	}
}

// builder makes the files of a report in memory; they are small.
type builder struct {
	options ReportOptions
	set     *Set
	files   map[string][]byte
	result  Result
}

// build draws everything.
func (b *builder) build(ctx context.Context) error {
	names := b.options.Figures
	if len(names) == 0 {
		choice := b.options.Choice
		if len(choice) == 0 {
			choice = Names()
		}
		names = slices.DeleteFunc(slices.Clone(choice), func(name string) bool { return !b.set.has(subjectOf(name)) })
	}
	page := newPage(b.options, b.set)
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return record.Fail(record.Stopped, "report: %w", err)
		}
		figure, err := Draw(name, b.set)
		if err != nil {
			return err
		}
		if err := b.addFigure(figure); err != nil {
			return err
		}
		page.addFigure(figure, b.files["figures/"+name+".png"])
	}
	for _, table := range b.set.tables() {
		if err := b.addTable(table); err != nil {
			return err
		}
	}
	text, err := page.render()
	if err != nil {
		return record.Fail(record.Internal, "write the page: %w", err)
	}
	b.files["index.html"] = text
	return b.summarize(page)
}

// tables are those of what the set has.
func (s *Set) tables() []Table {
	out := []Table{ClaimTable(s), LossTable(s), RunTable(s)}
	for _, k := range []struct {
		about subject
		of    func(*Set) Table
	}{
		{aboutTuned, TunedTable},
		{aboutTuned, TunedRunTable},
		{aboutProbes, ProbeTable},
		{aboutRanks, RankTable},
		{aboutGaps, GapTable},
		{aboutNoise, NoiseTable},
		{aboutForgetting, ForgettingTable},
		{aboutSignals, SignalTable},
		{aboutImports, ImportedTable},
	} {
		if s.has(k.about) {
			out = append(out, k.of(s))
		}
	}
	return out
}

// addFigure keeps a figure in its three forms.
func (b *builder) addFigure(f Figure) error {
	png := func(w io.Writer) error { return f.png(w, b.options.dpi) }
	return b.addForms("figures/"+f.Name, []form{{".png", png}, {".svg", f.SVG}, {".csv", f.CSV}})
}

// addTable keeps a table in its three forms.
func (b *builder) addTable(t Table) error {
	return b.addForms("tables/"+t.Name, []form{{".md", t.Markdown}, {".csv", t.CSV}, {".tex", t.LaTeX}})
}

// form is one way to write a thing.
type form struct {
	extension string
	write     func(io.Writer) error
}

func (b *builder) addForms(name string, forms []form) error {
	for _, f := range forms {
		var out bytes.Buffer
		if err := f.write(&out); err != nil {
			return record.Fail(record.Internal, "draw %s%s: %w", name, f.extension, err)
		}
		b.files[name+f.extension] = out.Bytes()
	}
	return nil
}

// summarize makes report.json, the page's content for machines.
func (b *builder) summarize(page *page) error {
	all, counted := b.set.Runs()
	b.result = Result{
		Page: "index.html", Headline: page.Headline, Runs: all, Counted: counted,
		Findings: b.set.Findings(), Problems: b.set.Problems(), Downstream: page.Downstream, Tradeoffs: page.Tradeoffs,
		Claims: b.set.Claims(), Probes: b.set.Probes(), Ranks: b.set.Ranks(), Gaps: b.set.Gaps(), Laws: b.set.Laws(),
		Noise: b.set.Noises(), Forgetting: b.set.Forgettings(), Signals: b.set.Signals(),
	}
	b.result.Tuned, b.result.TunedCounted = b.set.Tuned()
	for name := range b.files {
		b.result.Files = append(b.result.Files, name)
	}
	b.result.Files = append(b.result.Files, reportFile)
	slices.Sort(b.result.Files)
	text, err := json.MarshalIndent(b.result, "", "  ")
	if err != nil {
		return record.Fail(record.Internal, "encode %s: %w", reportFile, err)
	}
	b.files[reportFile] = append(text, '\n')
	return nil
}

// write writes all files below dir.
func (b *builder) write(ctx context.Context, dir string) error {
	for _, sub := range []string{"figures", "tables"} {
		if err := b.options.FS.Mkdir(filepath.Join(dir, sub), record.DirMode); err != nil {
			return err
		}
	}
	for _, name := range b.result.Files {
		if err := ctx.Err(); err != nil {
			return record.Fail(record.Stopped, "write report: %w", err)
		}
		if err := b.writeFile(filepath.Join(dir, filepath.FromSlash(name)), b.files[name]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// writeFile writes a new file; WriteDirAtomic makes it durable.
func (b *builder) writeFile(path string, data []byte) error {
	f, err := b.options.FS.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, record.FileMode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}
