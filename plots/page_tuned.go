package plots

import (
	"fmt"
	"math"
	"strings"
)

// pageDownstream is what the page says and shows of a setting after fine-tuning.
type pageDownstream struct {
	Setting  string
	Averages []string // a paragraph a measure
	Tasks    []string
	Tradeoff string
	Tables   []pageResults
}

// pageResults is a table of one measure: a row for the average and each task, a column for each weight decay.
type pageResults struct {
	Title  string
	Decays []string
	Rows   []pageTask
}

// pageTask is one row: means with the half-widths of their intervals.
type pageTask struct {
	Task  string
	Cells []pageCell
	Fresh string // never pretrained
}

// pageCell is a mean.
type pageCell struct {
	Text string
	Best bool
}

// tunedMeasured says in plain words how many runs were fine-tuned; empty without any.
func tunedMeasured(s *Set) string {
	all, counted := s.Tuned()
	if all == 0 {
		return ""
	}
	fresh := 0
	for _, r := range s.tuned {
		if r.fresh {
			fresh++
		}
	}
	text := fmt.Sprintf(" Then came %s on %s by %s", plural(all, "fine-tuned run"), plural(len(s.tasks()), "task"), plural(len(s.recipes()), "recipe"))
	if fresh > 0 {
		text += fmt.Sprintf(", %d of them of models that were never pretrained", fresh)
	}
	return text + fmt.Sprintf("; %d finished. Measured is the response loss: the loss on the reference responses of the test set.", counted)
}

// addTuned fills in what is about fine-tuned runs.
func (p *page) addTuned(s *Set) {
	p.Downstream, p.Tradeoffs = []TunedFinding{}, s.Tradeoffs()
	if all, _ := s.Tuned(); all == 0 {
		return
	}
	p.TunedRuns = TunedRunTable(s)
	if extra := len(p.TunedRuns.Rows) - maxTableRows; extra > 0 {
		p.TunedRuns.Rows, p.MoreTuned = p.TunedRuns.Rows[:maxTableRows], extra
	}
	measures := s.drawnMeasures()
	for i, d := range s.down {
		part := pageDownstream{Setting: d.base.fullTitle(), Tradeoff: p.Tradeoffs[i].Text}
		findings := d.findings(measures)
		p.Downstream = append(p.Downstream, findings...)
		for _, f := range findings {
			switch {
			case f.Task == "":
				part.Averages = append(part.Averages, f.Text)
			case len(d.tasks) > 1:
				part.Tasks = append(part.Tasks, f.Text)
			}
		}
		for _, m := range measures {
			if len(d.tasksWith(m)) > 0 {
				part.Tables = append(part.Tables, d.pageResults(m))
			}
		}
		p.After = append(p.After, part)
	}
}

// pageResults makes the table of a measure by the fixed recipe.
func (d *downstream) pageResults(m measure) pageResults {
	t := pageResults{Title: d.base.fullTitle() + ", " + m.inWords() + ", recipe " + d.recipes[d.fixed].label}
	for _, l := range d.base.levels {
		t.Decays = append(t.Decays, lambda(l.decay))
	}
	for task := -1; task < len(d.tasks); task++ {
		r := d.results(task, m, d.fixed)
		if r.measured() == 0 || task < 0 && r.tasks == 1 {
			continue
		}
		row := pageTask{Task: r.title(), Fresh: shownMean(&r, &r.fresh)}
		best := r.best()
		for i := range r.levels {
			row.Cells = append(row.Cells, pageCell{Text: shownMean(&r, &r.levels[i]), Best: i == best && r.measured() > 1})
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// shownMean is "0.9652 ± 0.0351".
func shownMean(r *results, l *level) string {
	if l.N == 0 || math.IsNaN(l.Mean) {
		return "–"
	}
	text := r.show(l.Mean)
	if l.hasInterval() {
		text = strings.TrimSuffix(text, " %") + " ± " + r.show(l.Half)
	}
	return text
}
