package serve

import (
	"bytes"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"sync"
	"time"

	"plasticity/plots"
	"plasticity/record"
)

// curves is the figure that shows runs before their end.
const curves = "training-curves"

// drawer draws the figures of grids. Figures of many runs take seconds of a core, so whoever asks waits for the one who draws, and a
// grid is drawn again only when its pictures would change and some times as long as drawing took is over.
type drawer struct {
	mu   sync.Mutex
	kept map[string]*album // by grid
}

// album is what was drawn of some runs at one moment. It is never changed.
type album struct {
	figures  []figure
	pictures map[string][]byte // SVG by name
	of       string            // fingerprint
	due      time.Time         // when it may be drawn again
}

// grid is the newest album of a grid.
func (d *drawer) grid(g gridRecords) *album {
	d.mu.Lock()
	defer d.mu.Unlock()
	of := fingerprint(g.records)
	if a := d.kept[g.name]; a != nil && (a.of == of || time.Now().Before(a.due)) {
		return a
	}
	began := time.Now()
	a := newAlbum(address("grid", g.name), plots.Names(), of, g.records)
	a.due = time.Now().Add(restTimes * time.Since(began))
	d.kept[g.name] = a
	return a
}

// run draws the curves of one run, which takes moments.
func (d *drawer) run(r plots.Record) *album {
	d.mu.Lock()
	defer d.mu.Unlock()
	records := []plots.Record{r}
	return newAlbum(address("run", r.Info.ID), []string{curves}, fingerprint(records), records)
}

// newAlbum draws the figures that have something to show yet: a line of metrics is enough for curves, all others need a finished run.
func newAlbum(page string, names []string, of string, records []plots.Record) *album {
	a := &album{pictures: make(map[string][]byte), of: of}
	set := plots.NewSet(records, nil)
	for _, name := range names {
		if !slices.ContainsFunc(records, func(r plots.Record) bool {
			return len(r.Metrics) > 0 && (name == curves || r.State == record.StateDone)
		}) {
			continue
		}
		drawn, err := plots.Draw(name, set)
		if err != nil || len(drawn.Points.Rows) == 0 {
			continue
		}
		var b bytes.Buffer
		if drawn.SVG(&b) != nil {
			continue
		}
		a.pictures[name] = b.Bytes()
		a.figures = append(a.figures, figure{Address: page + "/" + name + ".svg?" + of, Alt: drawn.Alt, Title: drawn.Title})
	}
	return a
}

// fingerprint changes when a picture of these records would.
func fingerprint(records []plots.Record) string {
	h := fnv.New64a()
	for _, r := range records {
		_, _ = fmt.Fprintln(h, r.Info.ID, r.State, len(r.Metrics), step(r), r.Evaluations, r.Ranks, r.Probes, r.Gap, r.Noise, r.Forgetting, r.Cause)
	}
	return strconv.FormatUint(h.Sum64(), 36)
}
