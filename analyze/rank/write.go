package rank

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"plasticity/record"
)

// The files of a report in its folder.
const (
	File      = "rank.json"
	TableFile = "rank.csv"
)

// schema is the version of rank.json.
const schema = 1

// Write writes rank.csv and rank.json into dir, which it makes. The same model and options give the same bytes; unchanged is
// true when they are there already. Another report in the folder is not replaced: the error is NotPermitted.
func (r *Report) Write(fsys record.FS, dir string) (unchanged bool, err error) {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(r); err != nil {
		return false, record.Fail(record.Internal, "write %s: %w", File, err)
	}
	return record.WriteResult(fsys, dir, record.ResultFile{Name: TableFile, Data: r.csv()}, record.ResultFile{Name: File, Data: text.Bytes()})
}

// points lists all checkpoints that were measured, or the only one.
func (r *Report) points() []Point {
	if len(r.Training) > 0 {
		return r.Training
	}
	return []Point{r.Point}
}

// csv is the report as a table: a line for each step, layer, product and head.
func (r *Report) csv() []byte {
	var b bytes.Buffer
	b.WriteString("step,tokens,layer,product,head,pseudo_rank,tolerance_rank,stable_rank,entropy_rank,participation_ratio,balance\n")
	for _, point := range r.points() {
		for _, layer := range point.Layers {
			for _, named := range []struct {
				name    string
				product *Product
			}{{"qk", &layer.QK}, {"vp", &layer.VP}} {
				for h := range named.product.Heads {
					fmt.Fprintf(&b, "%d,%d,%d,%s,%d", point.Step, point.Tokens, layer.Layer, named.name, h)
					for _, m := range named.product.measures() {
						b.WriteString("," + strconv.FormatFloat(m.Heads[h], 'g', -1, 64))
					}
					b.WriteByte('\n')
				}
			}
		}
	}
	return b.Bytes()
}

// measures lists the measures of a product in the order of the table.
func (p *Product) measures() []*Measure {
	return []*Measure{&p.Measure, &p.Tolerance, &p.Stable, &p.Entropy, &p.Participation, &p.Balance}
}

// Describe is a short table for people: a line for each layer or, over training, for each checkpoint with the mean over its layers.
func (r *Report) Describe() string {
	var b strings.Builder
	of := "singular values"
	if r.Formula.Power == 2 {
		of = "squared singular values"
	}
	normalised := ""
	if r.Formula.Normalisation == ByHeadSize {
		normalised = ", over the head size"
	}
	fmt.Fprintf(&b, "pseudo-rank: largest %s that sum to %v of their total%s; head size %d; means over %d heads",
		of, r.Formula.Threshold, normalised, r.Model.HeadSize, r.Model.Heads)
	column, points := "layer", r.points()
	if len(points) > 1 {
		fmt.Fprintf(&b, " and %d layers", len(points[0].Layers))
		column = "step"
	}
	fmt.Fprintf(&b, "\n%8s %10s %8s %8s %8s %10s %8s %8s %8s\n", column, "W_QK rank", "stable", "entropy", "balance", "W_VP rank", "stable", "entropy", "balance")
	for _, point := range points {
		if len(points) > 1 {
			describeRow(&b, point.Step, point.Layers)
			continue
		}
		for i, layer := range point.Layers {
			describeRow(&b, int64(layer.Layer), point.Layers[i:i+1])
		}
	}
	return b.String()
}

// describeRow writes the means over some layers.
func describeRow(b *strings.Builder, label int64, layers []Layer) {
	fmt.Fprintf(b, "%8d", label)
	for _, of := range []func(*Layer) *Product{func(l *Layer) *Product { return &l.QK }, func(l *Layer) *Product { return &l.VP }} {
		var sums [4]float64
		for i := range layers {
			p := of(&layers[i])
			for k, m := range []*Measure{&p.Measure, &p.Stable, &p.Entropy, &p.Balance} {
				sums[k] += m.Mean / float64(len(layers))
			}
		}
		fmt.Fprintf(b, " %10.2f %8.2f %8.2f %8.3f", sums[0], sums[1], sums[2], sums[3])
	}
	b.WriteByte('\n')
}
