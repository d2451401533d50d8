package plots

import "strings"

// pageFindings is what an analysis of models showed in one setting.
type pageFindings struct {
	Heading string
	Texts   []string
}

// pageAnalysis is the table of an analysis.
type pageAnalysis struct {
	ID      string
	Heading string
	Table   Table
	More    int // rows that are left out
}

// addInside fills in the laws of the best decay and what was found inside the models: probes, ranks, gaps, noise, and after fine-tuning forgetting and
// the signals of it.
func (p *page) addInside(s *Set) {
	for _, l := range s.Laws() {
		p.addFinding("Best weight decay over tokens per parameter: "+l.Setting, l.Text)
	}
	for _, f := range s.Probes() {
		p.addFinding("Linear probes: "+f.Setting, f.Text)
	}
	var formulas []string
	for _, f := range s.Ranks() {
		p.addFinding("Rank of attention: "+f.Setting, f.Text)
		formulas = append(formulas, f.Formula.label())
	}
	for _, f := range s.Gaps() {
		p.addFinding("Train-validation gap: "+f.Setting, f.Text)
	}
	for _, f := range s.Noises() {
		p.addFinding("Noise on the weights: "+f.Setting, f.Text)
	}
	for _, f := range s.Forgettings() {
		p.addFinding("Forgetting in fine-tuning: "+f.Setting, f.Text)
	}
	for _, f := range s.Signals() {
		p.addFinding("Signals of results after fine-tuning: "+f.Setting, f.Text)
	}
	p.addAnalysis("probes", "Accuracy of linear probes per weight decay and layer", ProbeTable(s))
	ranks := RankTable(s)
	ranks.Title += "; " + listed(formulas)
	p.addAnalysis("ranks", "Pseudo-rank of attention per weight decay and layer", ranks)
	p.addAnalysis("gaps", "Train-validation gap per weight decay", GapTable(s))
	p.addAnalysis("noise", "Rise of the loss under noise on the weights", NoiseTable(s))
	p.addAnalysis("forgetting", "Response loss and forgetting per weight decay", ForgettingTable(s))
	p.addAnalysis("signals", "Signals of results after fine-tuning", SignalTable(s))
	p.addAnalysis("imported", "Imported models", ImportedTable(s))
}

// addFinding adds a paragraph below the heading.
func (p *page) addFinding(heading, text string) {
	if n := len(p.Inside); n == 0 || p.Inside[n-1].Heading != heading {
		p.Inside = append(p.Inside, pageFindings{Heading: heading})
	}
	last := &p.Inside[len(p.Inside)-1]
	last.Texts = append(last.Texts, strings.ReplaceAll(text, "λ = ", "λ\u00a0=\u00a0"))
}

// addAnalysis adds a table, if it has rows, as far as the page has room.
func (p *page) addAnalysis(id, heading string, t Table) {
	if len(t.Rows) == 0 {
		return
	}
	a := pageAnalysis{ID: id, Heading: heading, Table: t}
	if extra := len(t.Rows) - maxTableRows; extra > 0 {
		a.Table.Rows, a.More = t.Rows[:maxTableRows], extra
	}
	p.Analyses = append(p.Analyses, a)
}
