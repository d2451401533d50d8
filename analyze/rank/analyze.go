package rank

import (
	"context"
	"path/filepath"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"
	"gonum.org/v1/gonum/mat"

	"plasticity/config"
	"plasticity/model/source"
	"plasticity/record"
)

// Options is what to analyse, and how.
type Options struct {
	Model   string // folder of a run, a checkpoint or a Hugging Face model
	All     bool   // every checkpoint that a run has kept, not its newest alone
	Formula Formula
	Layers  []int // counted from 0; empty: all
	Spectra bool  // put the singular values into the report
	Threads int   // heads that are worked on at once; 0: as many as there are cores

	// Progress, when set, is told the bytes read so far and in all.
	Progress func(done, total int64)
}

// Report is what was measured: the content of rank.json.
type Report struct {
	Schema  int     `json:"schema"`
	Formula Formula `json:"formula"`
	Model   Subject `json:"model"`
	Point
	Training []Point `json:"training,omitempty"`
	LeftOut  []int64 `json:"left_out,omitempty"` // steps of checkpoints that were not whole
}

// Subject says which model was measured.
type Subject struct {
	Run      string `json:"run,omitempty"`    // id
	Folder   string `json:"folder,omitempty"` // name of a Hugging Face folder, without the path to it
	Family   string `json:"family"`
	Layers   int    `json:"layers"` // of the model
	Width    int    `json:"width"`
	Heads    int    `json:"heads"`
	KVHeads  int    `json:"kv_heads"`
	HeadSize int    `json:"head_size"`
}

// Point is a model at one point of its training.
type Point struct {
	Step   int64   `json:"step,omitempty"`
	Tokens int64   `json:"tokens,omitempty"`
	Layers []Layer `json:"layers"`
}

// Layer is the products of one layer.
type Layer struct {
	Layer int     `json:"layer"` // from 0 on
	QK    Product `json:"qk"`
	VP    Product `json:"vp"`
}

// Product is what was measured of a product: its pseudo-rank, then the other measures.
type Product struct {
	Measure
	Tolerance      Measure     `json:"tolerance_rank"`
	Stable         Measure     `json:"stable_rank"`
	Entropy        Measure     `json:"entropy_rank"`
	Participation  Measure     `json:"participation_ratio"`
	Balance        Measure     `json:"balance"`
	SingularValues [][]float64 `json:"singular_values,omitempty"` // of each head
}

// Measure is a number for each query head, and their mean.
type Measure struct {
	Mean  float64   `json:"mean"`
	Heads []float64 `json:"heads"`
}

// Analyze measures a model. Problems are checkpoints that were left out. The error is a record.Failure: Usage for options
// without a meaning or a folder that holds no model, BadData when a tensor is missing, has the wrong shape or is not finite.
func Analyze(ctx context.Context, o Options) (Report, []record.Problem, error) {
	if err := o.Formula.Check(); err != nil {
		return Report{}, nil, err
	}
	models, leftOut, err := o.locate()
	if err != nil {
		return Report{}, nil, err
	}
	newest := models[len(models)-1]
	if o.Layers, err = chooseLayers(o.Layers, newest.Config.Layers); err != nil {
		return Report{}, nil, err
	}
	report := Report{Schema: schema, Formula: o.Formula}
	if report.Model, err = subject(newest); err != nil {
		return Report{}, nil, err
	}
	var done int64
	for i, m := range models {
		point, bytes, err := o.analyze(ctx, m, func(bytes, all int64) {
			if o.Progress != nil {
				o.Progress(done+bytes, done+all*int64(len(models)-i))
			}
		})
		if err != nil {
			return Report{}, nil, err
		}
		done += bytes
		report.Point = point
		if o.All {
			report.Training = append(report.Training, point)
		}
	}
	var problems []record.Problem
	for _, c := range leftOut {
		report.LeftOut = append(report.LeftOut, c.Step)
		problems = append(problems, c.Problem)
	}
	return report, problems, nil
}

// locate finds the models to measure, the oldest first.
func (o *Options) locate() ([]source.Model, []source.LeftOut, error) {
	kind := source.KindOf(o.Model)
	if kind == source.Unknown {
		return nil, nil, record.Fail(record.Usage, "%s: not the folder of a model: name a run (it has %s), a checkpoint (%s) or a Hugging Face folder (%s)",
			o.Model, record.InfoFile, record.ManifestFile, source.HFConfigFile)
	}
	if o.All {
		if kind != source.Run {
			return nil, nil, record.Fail(record.Usage, "%s: not the folder of a run, and only a run has several checkpoints: name one, or ask for this model alone", o.Model)
		}
		return source.Kept(o.Model)
	}
	m, err := source.Locate(o.Model, source.ToInspect)
	return []source.Model{m}, nil, err
}

// subject describes a model without saying where on this machine it lies.
func subject(m source.Model) (Subject, error) {
	c := m.Config
	s := Subject{Run: m.RunID, Family: c.Family, Layers: c.Layers, Width: c.Width, Heads: c.Heads, KVHeads: c.KVHeads, HeadSize: c.HeadSize()}
	if m.RunID == "" {
		path, err := filepath.Abs(m.Path)
		if err != nil {
			return Subject{}, record.Fail(record.IO, "%s: %w", m.Path, err)
		}
		s.Folder = filepath.Base(path)
	}
	return s, nil
}

// chooseLayers sorts the layers that were asked for, or lists all.
func chooseLayers(asked []int, layers int) ([]int, error) {
	if len(asked) == 0 {
		for i := range layers {
			asked = append(asked, i)
		}
		return asked, nil
	}
	chosen := slices.Compact(slices.Sorted(slices.Values(asked)))
	for _, l := range chosen {
		if l < 0 || l >= layers {
			return nil, record.Fail(record.Usage, "layer %d: the model has layers 0 to %d", l, layers-1)
		}
	}
	return chosen, nil
}

// analyze measures one model, a layer at a time, and returns how many bytes it read.
func (o *Options) analyze(ctx context.Context, m source.Model, progress func(done, all int64)) (Point, int64, error) {
	if o.Formula.FoldedNorms && m.Config.Family != config.OLMo2 {
		return Point{}, 0, record.Fail(record.Usage, "%s: %s has no norms on queries and keys to fold in: leave the folding out", m.Path, m.Config.Family)
	}
	w, err := open(m, o.Layers, o.Formula.FoldedNorms)
	if err != nil {
		return Point{}, 0, err
	}
	defer w.Close() //nolint:errcheck // only read
	point := Point{Step: m.Step, Tokens: m.Tokens}
	var done int64
	all := w.bytes(o.Layers)
	for _, number := range o.Layers {
		matrices, err := w.read(number)
		if err != nil {
			return Point{}, 0, err
		}
		qk, vp, err := o.heads(ctx, &matrices, m.Config.Heads, m.Config.KVHeads)
		if err != nil {
			return Point{}, 0, err
		}
		point.Layers = append(point.Layers, Layer{Layer: number, QK: o.product(qk), VP: o.product(vp)})
		done += w.bytes([]int{number})
		progress(done, all)
	}
	return point, all, nil
}

// heads measures every head of a layer, in parallel: first the triangles of the shared keys and values, then the products, then how each
// group of heads balances what it shares.
func (o *Options) heads(ctx context.Context, a *attention, heads, kvHeads int) (qk, vp []head, err error) {
	keys, values := make([]*mat.Dense, kvHeads), make([]*mat.Dense, kvHeads)
	err = o.each(ctx, kvHeads, func(g int) error {
		keys[g], values[g] = triangle(a.rows(a.k, a.kGain, g)), triangle(a.rows(a.v, nil, g))
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	group := heads / kvHeads
	qk, vp = make([]head, heads), make([]head, heads)
	queries, outputs := make([]*mat.Dense, heads), make([]*mat.Dense, heads)
	err = o.each(ctx, heads, func(h int) error {
		queries[h], outputs[h] = triangle(a.rows(a.q, a.qGain, h)), triangle(a.output(h))
		var err error
		if qk[h], err = o.pair(queries[h], keys[h/group]); err != nil {
			return err
		}
		vp[h], err = o.pair(values[h/group], outputs[h])
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	for g := range kvHeads {
		first, end := g*group, (g+1)*group
		balanceQK, balanceVP := balance(keys[g], queries[first:end]), balance(values[g], outputs[first:end])
		for h := first; h < end; h++ {
			qk[h].balance, vp[h].balance = balanceQK, balanceVP
		}
	}
	return qk, vp, nil
}

// pair measures the product AᵀB from the triangles of A and B.
func (o *Options) pair(a, b *mat.Dense) (head, error) {
	sigma, err := singularValues(a, b)
	if err != nil {
		return head{}, err
	}
	return o.Formula.measure(sigma), nil
}

// each does the work for 0 to n−1, on a bounded number of threads.
func (o *Options) each(ctx context.Context, n int, work func(i int) error) error {
	threads := o.Threads
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(threads)
	for i := range n {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return work(i)
		})
	}
	return group.Wait()
}

// product gathers the heads of a layer.
func (o *Options) product(heads []head) Product {
	gather := func(of func(*head) float64) Measure {
		m := Measure{Heads: make([]float64, len(heads))}
		for i := range heads {
			m.Heads[i] = of(&heads[i])
			m.Mean += m.Heads[i]
		}
		m.Mean /= float64(len(heads))
		return m
	}
	p := Product{
		Measure:       gather(func(h *head) float64 { return h.pseudo }),
		Tolerance:     gather(func(h *head) float64 { return h.tolerance }),
		Stable:        gather(func(h *head) float64 { return h.stable }),
		Entropy:       gather(func(h *head) float64 { return h.entropy }),
		Participation: gather(func(h *head) float64 { return h.participation }),
		Balance:       gather(func(h *head) float64 { return h.balance }),
	}
	if o.Spectra {
		for i := range heads {
			p.SingularValues = append(p.SingularValues, heads[i].sigma)
		}
	}
	return p
}
