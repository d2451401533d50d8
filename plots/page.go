package plots

import (
	"bytes"
	"cmp"
	_ "embed" // the template and the style sheet of the page
	"encoding/base64"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"

	"plasticity/record"
)

//go:embed page.html.tmpl
var pageTemplate string

//go:embed page.css
var pageStyle string

// maxTableRows bounds the tables on the page; their CSV is whole.
const maxTableRows = 400

// page is what the template shows.
type page struct {
	Style     template.CSS
	Title     string
	Claim     string
	Headline  string
	Measured  string
	Findings  []Finding
	Figures   []pageFigure
	Loss      []pageSetting
	LossTable Table // for its note and files
	Samples   []Sample
	SampleRun string
	Runs      Table
	MoreRuns  int

	Downstream []TunedFinding
	Tradeoffs  []Tradeoff
	After      []pageDownstream // the two of them, a setting each, as they are read
	TunedRuns  Table
	MoreTuned  int

	Claims   [][]Claim      // a setting each
	Inside   []pageFindings // what was found inside the models
	Analyses []pageAnalysis // the tables of it

	Problems []string
	Faults   []string
}

// pageFigure is a figure with its picture inside the page.
type pageFigure struct {
	Figure
	Image  template.URL
	Width  int // in pixels of an ordinary screen
	Height int
	Wide   bool // to be scrolled on a small screen rather than shrunk
}

// pageSetting is the table of one setting.
type pageSetting struct {
	Title string
	Rows  []pageLevel
}

// pageLevel is one row of it.
type pageLevel struct {
	Decay, Tau, Loss, Interval, N, Wins, Difference, LeftOut string
	Best                                                     bool
	Runs                                                     []string
}

// newPage fills in everything but the figures.
func newPage(o ReportOptions, s *Set) *page {
	p := &page{
		Style: template.CSS(pageStyle), //nolint:gosec // our own file
		Title: clean(o.Title, 120), Claim: clean(o.Claim, 400), Findings: s.Findings(), Runs: RunTable(s),
	}
	if p.Title == "" {
		p.Title = title(s)
	}
	p.Measured = measured(s)
	p.Headline = s.headline()
	p.Loss, p.LossTable = lossRows(s), LossTable(s)
	if extra := len(p.Runs.Rows) - maxTableRows; extra > 0 {
		p.Runs.Rows, p.MoreRuns = p.Runs.Rows[:maxTableRows], extra
	}
	p.Claims = chunksOf(s.Claims(), func(c Claim) string { return c.Setting })
	p.addTuned(s)
	p.addInside(s)
	p.addSamples(o, s)
	for _, problem := range s.problems {
		p.Problems = append(p.Problems, clean(problem.String(), 400))
	}
	for _, m := range s.members {
		if !m.counts() {
			p.Faults = append(p.Faults, m.name()+" "+m.fault)
		}
	}
	p.Faults = append(p.Faults, s.tunedFaults()...)
	return p
}

// title is made from the names of the grids.
func title(s *Set) string {
	var grids []string
	for _, m := range s.members {
		grids = append(grids, clean(m.Info.Grid, 64))
	}
	if grids = slices.DeleteFunc(grids, func(g string) bool { return g == "" }); len(grids) == 0 {
		return "Weight decay in pretraining"
	}
	return "Weight decay in pretraining: " + listed(grids)
}

// measured says in plain words what was done.
func measured(s *Set) string {
	all, counted := s.Runs()
	settings, _ := ofPretraining(s)
	tuned, _ := s.Tuned()
	if found := all + tuned + len(s.imports); found == 0 {
		return "There are no runs in this folder yet."
	} else if len(settings) == 0 {
		return plural(found, "run") + " found, but none of them is a pretraining run." + importedMeasured(s)
	}
	seeds := map[string]bool{}
	decays := map[float64]bool{}
	var models []string
	for _, g := range settings {
		models = append(models, g.title+" at "+tokensPerParameter(g.runs[0].Info))
		for _, m := range g.runs {
			seeds[m.seed], decays[m.decay()] = true, true
		}
	}
	data := distinct(settings, func(i record.Info) string { return clean(i.DataSource, 120) })
	return fmt.Sprintf("%s pretrained from scratch on %s, with %s and %s. Measured is the loss on held-out text at the end of training, "+
		"in nats per token (lower is better). %d of %s finished with such a number. TPP is tokens per parameter.",
		listed(models), data, plural(len(decays), "weight decay"), plural(len(seeds), "seed"), counted, plural(all, "run")) + tunedMeasured(s) + importedMeasured(s)
}

// headline is the main finding: that of the setting with the most measured runs, among those that were fine-tuned if some were, and what
// fine-tuning its models showed.
func (s *Set) headline() string {
	settings, _ := ofPretraining(s)
	runs := func(g *setting) int {
		n := 0
		for _, l := range g.levels {
			n += l.N
		}
		return n
	}
	if n := s.lookedInto(); len(settings) == 0 && n > 0 {
		return fmt.Sprintf("No model was pretrained here; %s looked into.", was(n, "imported model"))
	}
	if len(settings) == 0 {
		return "Nothing has been measured yet."
	}
	tuned := slices.DeleteFunc(slices.Clone(settings), func(g *setting) bool { return s.downOf(g) == nil })
	if len(tuned) > 0 {
		settings = tuned // so that the two sentences are about the same models
	}
	main := slices.MaxFunc(settings, func(a, b *setting) int { return cmp.Compare(runs(a), runs(b)) })
	text := strings.TrimSpace(main.headline() + " " + s.downstreamHeadline(main))
	if len(settings) > 1 {
		return main.fullTitle() + ". " + text
	}
	return text
}

// headline is the finding of one setting.
func (s *setting) headline() string {
	f := s.finding()
	if math.IsNaN(float64(f.Best)) {
		return f.Text
	}
	text := fmt.Sprintf("Best weight decay: λ = %s, at %s", lambda(float64(f.Best)), nats(float64(f.Loss)))
	if finite(float64(f.Low)) {
		text += fmt.Sprintf(" (95 %% interval %s to %s, %s)", nats(float64(f.Low)), nats(float64(f.High)), plural(f.Seeds, "seed"))
	} else {
		text += " (one seed, no interval)"
	}
	text += " nats per token."
	switch f.Larger {
	case Yes:
		text += " A decay larger than the common default of 0.1 is better."
	case No:
		text += " No decay larger than the common default of 0.1 is better."
	case Undecidable:
		text += " Whether a decay larger than the common default of 0.1 is better is not decidable from these runs."
	}
	return text
}

// lossRows makes the tables of loss per decay.
func lossRows(s *Set) []pageSetting {
	var out []pageSetting
	rows := 0
	for _, g := range s.settings {
		if rows += len(g.levels); rows > maxTableRows {
			break // the CSV has the rest; the page says so
		}
		best := g.best()
		wins, seeds := g.wins()
		t := pageSetting{Title: g.fullTitle() + ", " + g.decayed()}
		for i := range g.levels {
			l := &g.levels[i]
			row := pageLevel{
				Decay: lambda(l.decay), Tau: short(rounded(l.tau, 2)), Loss: "–", Interval: "–", N: fmt.Sprint(l.N), Wins: "–", Difference: "–",
				LeftOut: leftOut(l), Best: i == best && g.measured() > 1, Runs: strings.Fields(l.ids()),
			}
			if l.N > 0 {
				row.Loss = nats(l.Mean)
			}
			if l.hasInterval() {
				row.Interval = nats(l.low()) + " to " + nats(l.high())
			}
			if seeds > 1 && l.N > 0 {
				row.Wins = fmt.Sprintf("%d of %d", wins[i], seeds)
			}
			if l.N > 0 && i != best {
				row.Difference = differenceInWords(difference(l, &g.levels[best]), nats)
			}
			t.Rows = append(t.Rows, row)
		}
		out = append(out, t)
	}
	return out
}

// addSamples gathers text of the best model: what was passed in, then what lies in the folder of its runs.
func (p *page) addSamples(o ReportOptions, s *Set) {
	p.Samples = slices.Clone(o.Samples)
	settings, _ := ofPretraining(s)
	for _, g := range slices.Backward(settings) { // the largest model first
		at := g.best()
		if at < 0 {
			continue
		}
		for _, v := range g.levels[at].seeds {
			for _, m := range v.runs {
				found, problems := readSamples(o.Runs, m)
				p.Samples = append(p.Samples, found...)
				s.problems = append(s.problems, problems...)
			}
		}
	}
	p.Samples = p.Samples[:min(len(p.Samples), maxSamples)]
	for i := range p.Samples {
		t := &p.Samples[i]
		t.Prompt, t.Text = cleanText(t.Prompt, maxSampleText), cleanText(t.Text, maxSampleText)
		t.Run, t.File = clean(t.Run, 64), clean(t.File, 200)
		t.Text = strings.TrimPrefix(t.Text, t.Prompt) // some tools repeat the prompt
	}
}

// addFigure puts a figure with its picture onto the page.
func (p *page) addFigure(f Figure, png []byte) {
	const screen = 1.35 * 96.0 / 72 // larger than in print, and still two pixels of the picture for each of the screen
	p.Figures = append(p.Figures, pageFigure{
		Figure: f, Image: template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(png)), //nolint:gosec // base64
		Width: int(f.sheet.width.Points() * screen), Height: int(f.sheet.height.Points() * screen),
		Wide: f.sheet.width > singleWidth,
	})
}

// render writes the page.
func (p *page) render() ([]byte, error) {
	t, err := template.New("page").Parse(pageTemplate)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := t.Execute(&out, p); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
