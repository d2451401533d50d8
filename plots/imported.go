package plots

import (
	"cmp"
	"fmt"
)

// kindImport are runs made of Hugging Face folders: nothing is known of their training.
const kindImport = "import"

// lookedInto counts the imported models that an analysis has results of.
func (s *Set) lookedInto() int {
	n := 0
	for _, m := range s.imports {
		if len(m.looks()) > 0 {
			n++
		}
	}
	return n
}

// look is a number that an analysis found in a model.
type look struct{ quantity, value, interval, how string }

// looks lists what the analyses of a run found.
func (m *member) looks() []look {
	var out []look
	if r := m.Ranks; r != nil {
		full := float64(r.HeadSize)
		if r.Formula.normalised() {
			full = 1
		}
		for product, name := range products() {
			out = append(out, look{
				"mean pseudo-rank of " + name, short(rounded(r.Last.value(product, meanOfLayers), 4)) + " of " + short(full), "",
				r.Formula.label() + "; layers " + joined(layersOf(r.Last)) + ", " + plural(r.Heads, "query head"),
			})
		}
	}
	for i := range m.Probes {
		p := &m.Probes[i]
		best := p.Layers[p.Best]
		share := accuracy().show
		out = append(out,
			look{"probes of " + clean(p.Settings.Task, 60), share(p.Mean()), "", fmt.Sprintf("mean; %s; majority %s, control task %s", p.label(), share(p.Majority), share(p.MeanControl()))},
			look{
				"probes of " + clean(p.Settings.Task, 60), share(best.Accuracy), share(best.Low) + " to " + share(best.High) + " over " + cmp.Or(p.cutFrom(), "texts"),
				"best layer, " + layerWord(best.Layer) + ", chosen on other texts",
			})
	}
	if g := m.Gap; g != nil {
		for _, c := range g.Comparisons {
			interval := ""
			if finite(c.Low) {
				interval = nats(c.Low) + " to " + nats(c.High) + " over documents"
			}
			out = append(out, look{"train-validation gap", nats(c.Value()), interval, fmt.Sprintf("nats per token; %s; %d windows of %d tokens a side", c.HeldOut, c.Windows, g.Settings.Context)})
		}
	}
	if n := m.Noise; n != nil {
		for at, sigma := range n.Settings.Sigmas {
			out = append(out, look{"rise under noise of σ = " + number(sigma), nats(n.Rises[at]), "", "nats per token; " + plural(n.Settings.Draws, "draw")})
		}
	}
	return out
}

// ImportedTable lists what the analyses found in imported models, a row a number.
func ImportedTable(s *Set) Table {
	t := Table{
		Name: "imported-models", Title: "What was found in imported models",
		Note:    "Models that were not trained here, so that nothing is said of their weight decay or seed. Intervals are 95 %.",
		Columns: []string{"folder", "model", "parameters", "quantity", "value", "interval", "how", "run"},
	}
	for _, m := range s.imports {
		for _, l := range m.looks() {
			t.Rows = append(t.Rows, []string{clean(m.Folder, 200), clean(m.Info.Model, 40), count(m.Info.Parameters), l.quantity, l.value, l.interval, l.how, m.Info.ID})
		}
	}
	return t
}

// importedMeasured says in plain words how many models were imported; empty without any.
func importedMeasured(s *Set) string {
	n := len(s.imports)
	if n == 0 {
		return ""
	}
	return fmt.Sprintf(" %s imported, %d of them with analyses: they have a table and are in no figure.",
		was(n, "model"), s.lookedInto())
}
