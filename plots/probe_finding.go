package plots

// ProbeFinding is what the probes of one task show in one setting: whether accuracy rises with weight decay.
type ProbeFinding struct {
	Setting  string        `json:"setting"`
	Settings ProbeSettings `json:"probes"`
	Accuracy string        `json:"accuracy"` // mean, over layers, or best layer
	Text     string        `json:"text"`     // in plain words
	Trend                  // of shares from 0 to 1
	Majority float64       `json:"majority"` // share of the most frequent label
	Rises    Verdict       `json:"rises"`    // is the accuracy at the highest decay above that at the lowest?
}

// Probes says what the probes show, for each group of runs that compare, the mean over layers before the best layer.
func (s *Set) Probes() []ProbeFinding {
	out := []ProbeFinding{}
	for _, g := range s.probeGroups() {
		for _, row := range g.summaryRows() {
			t, words := newTrend(g.levels(row.accuracy)), g.words(row)
			out = append(out, ProbeFinding{
				Setting: g.base.fullTitle(), Settings: g.like.Settings, Accuracy: row.name, Text: t.text(words), Trend: t.Trend, Majority: g.like.Majority,
				Rises: t.verdict(words.direction),
			})
		}
	}
	return out
}

// accuracy is the measure of probes.
func accuracy() measure { return measure{name: "accuracy", higher: true} }

// words names an accuracy.
func (g *probeGroup) words(row probeRow) trendWords {
	over := "averaged over " + layersWord(g.like.Settings.Layers)
	if row.name == bestRow().name {
		over = "in the best layer of each model"
	} else if len(g.like.Layers) == 1 {
		over = "in " + layersWord(g.like.Settings.Layers)
	}
	return trendWords{
		name: g.task() + ", " + row.name, what: "the accuracy of linear probes of " + g.task() + ", " + over + ",", noun: "accuracy", direction: 1,
		show: accuracy().show, change: accuracy().points,
	}
}

// inShort is the finding in a line.
func (g *probeGroup) inShort(row probeRow) string {
	return newTrend(g.levels(row.accuracy)).inShort(g.words(row))
}
