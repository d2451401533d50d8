package plots

import (
	"fmt"
	"slices"
)

// probeGroup is the runs of a setting whose probes of one task compare: the same texts, pool, layers and penalties.
type probeGroup struct{ *group[Probes] }

// probeAnalysis is that of analyze probes.
func probeAnalysis() analysis[Probes] {
	return analysis[Probes]{
		noun: "probes", command: probesCommand, mixed: "with other texts, states or layers",
		of: func(m *member) []*Probes {
			out := make([]*Probes, len(m.Probes))
			for i := range m.Probes {
				out[i] = &m.Probes[i]
			}
			return out
		},
		step:   func(p *Probes) int64 { return p.Step },
		family: func(p *Probes) string { return clean(p.Settings.Task, 60) },
		fields: func(p *Probes) []field {
			s := p.Settings
			return []field{
				{"pool", poolWord(s.Pool)},
				{"layers", layersWord(s.Layers)},
				{"texts", fmt.Sprintf("%d, %d and %d texts (%.8s)", p.Train, p.Val, p.Test, clean(s.TextDigest, 64))},
				{"context", fmt.Sprintf("%d tokens", s.Context)},
				{"grid", fmt.Sprintf("C of %v", s.Grid)},
				{"seed", fmt.Sprintf("seed %d", s.Seed)},
			}
		},
	}
}

// probeGroups sorts the pretraining runs with probes.
func (s *Set) probeGroups() []*probeGroup {
	var out []*probeGroup
	for _, g := range probeAnalysis().groups(s) {
		out = append(out, &probeGroup{g})
	}
	return out
}

// task names the task and, where others of it were measured otherwise, how.
func (g *probeGroup) task() string {
	if g.label == "" {
		return g.family
	}
	return g.family + ", " + g.label
}

// taskNames are those of groups.
func taskNames(groups []*probeGroup) []string {
	var out []string
	for _, g := range groups {
		out = append(out, g.task())
	}
	return out
}

// probeRow is one accuracy of a model: of a layer, or of several.
type probeRow struct {
	name              string
	accuracy, control func(*Probes) float64
}

// meanRow is the average over layers.
func meanRow() probeRow { return probeRow{"mean", (*Probes).Mean, (*Probes).MeanControl} }

// bestRow is the best layer of each model.
func bestRow() probeRow {
	return probeRow{
		"best layer",
		func(p *Probes) float64 { return p.Layers[p.Best].Accuracy },
		func(p *Probes) float64 { return p.Layers[p.Best].Control },
	}
}

// layerRow is the i-th layer.
func (g *probeGroup) layerRow(i int) probeRow {
	name := fmt.Sprint(g.like.Layers[i].Layer)
	if g.like.Layers[i].Layer == EmbeddingLayer {
		name = layerWord(EmbeddingLayer)
	}
	return probeRow{name, func(p *Probes) float64 { return p.Layers[i].Accuracy }, func(p *Probes) float64 { return p.Layers[i].Control }}
}

// layerRows are all layers, ascending.
func (g *probeGroup) layerRows() []probeRow {
	var out []probeRow
	for i := range g.like.Layers {
		out = append(out, g.layerRow(i))
	}
	return out
}

// summaryRows are what is shown against weight decay: one layer has neither a mean nor a best.
func (g *probeGroup) summaryRows() []probeRow {
	if len(g.like.Layers) == 1 {
		return g.layerRows()
	}
	return []probeRow{meanRow(), bestRow()}
}

// rows are those of tables.
func (g *probeGroup) rows() []probeRow {
	if len(g.like.Layers) == 1 {
		return g.layerRows()
	}
	return append(g.summaryRows(), g.layerRows()...)
}

// levels gathers a number for every weight decay of the setting.
func (g *probeGroup) levels(of func(*Probes) float64) []level {
	return g.levelsOf(func(p *Probes) (float64, bool) { return of(p), true })
}

// control is the mean accuracy of the control task over the group's runs.
func (g *probeGroup) control(of func(*Probes) float64) float64 {
	var values []float64
	for _, m := range g.runs {
		values = append(values, of(g.of[m]))
	}
	return mean(values)
}

// probeAverages wraps the first summary of each group as a setting, for what counts seeds.
func probeAverages(groups []*probeGroup) []*setting {
	var out []*setting
	for _, g := range groups {
		out = append(out, &setting{levels: g.levels(g.summaryRows()[0].accuracy)})
	}
	return out
}

// probesDrawn are the groups that a figure has room for, by setting, and how many it has not.
func probesDrawn(groups []*probeGroup) (drawn [][]*probeGroup, hidden int) {
	for i, own := range chunksOf(groups, func(g *probeGroup) *setting { return g.base }) {
		if i >= maxCurveRows {
			hidden += len(own)
			continue
		}
		shown := min(len(own), maxPanels)
		drawn, hidden = append(drawn, own[:shown]), hidden+len(own)-shown
	}
	return drawn, hidden
}

// decaysOf lists the weight decays at which something was measured.
func decaysOf(levels []level) []float64 {
	var out []float64
	for _, l := range levels {
		if l.N > 0 {
			out = append(out, l.decay)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
