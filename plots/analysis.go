package plots

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"slices"
	"strconv"
	"strings"

	"plasticity/record"
)

// analysis is a kind of measurement inside models: where a run has its results, and which of them compare.
type analysis[A any] struct {
	noun    string // for people: ranks
	command string // that measures
	mixed   string // in what results of a setting may differ, for a note
	of      func(*member) []*A
	step    func(*A) int64   // of the checkpoint that was measured
	family  func(*A) string  // results of different families are about different things; empty where there is one only
	fields  func(*A) []field // what must be equal for results to compare, in words
}

// counts tells whether a result enters means: that of the last step, of a run that counts.
func (a analysis[A]) counts(m *member, r *A) bool { return m.counts() && a.step(r) == m.Info.Steps }

// measured tells whether some pretraining run has a result; without any a report leaves the figures out unless they are asked for.
func (a analysis[A]) measured(s *Set) bool {
	settings, _ := ofPretraining(s)
	return slices.ContainsFunc(settings, func(g *setting) bool {
		return slices.ContainsFunc(g.runs, func(m *member) bool { return len(a.of(m)) > 0 })
	})
}

// group is the runs of a setting whose results compare.
type group[A any] struct {
	base   *setting
	like   *A // the result of the first run
	family string
	fields []field
	label  string    // what tells it from others of its setting and family; empty where there are none
	runs   []*member // in the order of the setting
	of     map[*member]*A
}

// grouped is a group of any analysis.
type grouped interface {
	setting() *setting
	apart() bool
}

func (g *group[A]) setting() *setting { return g.base }

// apart tells whether results of its setting and family do not compare with these.
func (g *group[A]) apart() bool { return g.label != "" }

// title names the group: its setting, and what it was measured with where others of it differ in that.
func (g *group[A]) title() string {
	if g.label == "" {
		return g.base.fullTitle()
	}
	return g.base.fullTitle() + ", " + g.label
}

// groups sorts the pretraining runs with results: in the order of settings and of families, the groups with the most runs first.
func (a analysis[A]) groups(s *Set) []*group[A] {
	settings, _ := ofPretraining(s)
	var out []*group[A]
	for _, g := range settings {
		out = append(out, a.groupsOf(g)...)
	}
	return out
}

// groupsOf are the groups of a setting. A run that has two results of one group is in it with the first.
func (a analysis[A]) groupsOf(base *setting) []*group[A] {
	var own []*group[A]
	for _, m := range base.runs {
		for _, r := range a.of(m) {
			if !a.counts(m, r) {
				continue
			}
			family, fields := a.family(r), a.fields(r)
			at := slices.IndexFunc(own, func(o *group[A]) bool { return o.family == family && slices.Equal(o.fields, fields) })
			if at < 0 {
				at = len(own)
				own = append(own, &group[A]{base: base, like: r, family: family, fields: fields, of: map[*member]*A{}})
			}
			if o := own[at]; o.of[m] == nil {
				o.runs, o.of[m] = append(o.runs, m), r
			}
		}
	}
	slices.SortFunc(own, func(x, y *group[A]) int {
		return cmp.Or(strings.Compare(x.family, y.family), cmp.Compare(len(y.runs), len(x.runs)), strings.Compare(fmt.Sprint(x.fields), fmt.Sprint(y.fields)))
	})
	for _, family := range chunksOf(own, func(o *group[A]) string { return o.family }) {
		labelGroups(family)
	}
	return own
}

// labelGroups labels the groups of a family by what differs between them.
func labelGroups[A any](family []*group[A]) {
	if len(family) < 2 {
		return
	}
	var all [][]field
	for _, g := range family {
		all = append(all, g.fields)
	}
	differs := differing(all)
	for _, g := range family {
		var parts []string
		for _, f := range g.fields {
			if differs[f.name] {
				parts = append(parts, f.value)
			}
		}
		g.label = strings.Join(parts, ", ")
	}
}

// chunksOf cuts a slice where the key changes.
func chunksOf[T any, K comparable](all []T, key func(T) K) [][]T {
	var out [][]T
	for i, v := range all {
		if i == 0 || key(v) != key(all[i-1]) {
			out = append(out, nil)
		}
		out[len(out)-1] = append(out[len(out)-1], v)
	}
	return out
}

// levelsOf gathers a number of each run's result, for every weight decay of the setting; runs that share decay and seed are averaged.
func (g *group[A]) levelsOf(of func(*A) (float64, bool)) []level {
	var out []level
	for i := range g.base.levels {
		base := &g.base.levels[i]
		l := level{decay: base.decay, tau: base.tau, faulty: base.faulty}
		for _, s := range base.seeds {
			var values []float64
			var runs []*member
			for _, m := range s.runs {
				r := g.of[m]
				if r == nil {
					continue
				}
				if v, ok := of(r); ok {
					values, runs = append(values, v), append(runs, m)
				}
			}
			if len(values) > 0 {
				l.seeds = append(l.seeds, seedLoss{seed: s.seed, loss: mean(values), runs: runs})
			}
		}
		l.estimate = estimateSeeds(l.seeds)
		out = append(out, l)
	}
	return out
}

// settingsOf lists the settings of groups.
func settingsOf[G grouped](groups []G) []*setting {
	var out []*setting
	for _, g := range groups {
		out = append(out, g.setting())
	}
	return slices.Compact(out)
}

// notes says which runs have no result, which results do not count, and what is drawn apart or not at all. hidden counts groups.
func (a analysis[A]) notes(s *Set, settings []*setting, apart bool, hidden int) []string {
	every, others := ofPretraining(s)
	var notes, older []string
	for _, family := range a.families(every) {
		all, without := 0, 0
		for _, m := range runsOf(every) {
			fault, has := a.fault(m, family)
			switch {
			case !m.counts():
				continue // said of the run
			case !has:
				without++
			case fault != "":
				older = append(older, fault)
			}
			all++
		}
		if without > 0 {
			noun := strings.TrimSuffix(a.noun+" of "+family, " of ")
			notes = append(notes, fmt.Sprintf("%d of %s without %s (%s): not drawn.", without, plural(all, "finished run"), noun, a.command))
		}
	}
	undrawn := slices.DeleteFunc(every, func(g *setting) bool { return slices.Contains(settings, g) })
	for _, m := range runsOf(undrawn) { // of those that are drawn it is said already
		if !m.counts() && len(a.of(m)) > 0 {
			older = append(older, m.name()+" "+m.fault)
		}
	}
	if len(older) > 0 {
		notes = append(notes, a.noun+" left out: "+listed(older)+".")
	}
	if apart {
		notes = append(notes, "runs of one setting were measured "+a.mixed+": they are drawn apart.")
	}
	if hidden > 0 {
		notes = append(notes, plural(hidden, "further group")+" of runs not drawn here; the table has them.")
	}
	if others > 0 {
		notes = append(notes, plural(others, "run")+" of another kind than pretraining not drawn here.")
	}
	return notes
}

// runsOf lists the runs of settings.
func runsOf(settings []*setting) []*member {
	var out []*member
	for _, g := range settings {
		out = append(out, g.runs...)
	}
	return out
}

// fault tells whether a run has results of a family and, when none of them is of its last step, that.
func (a analysis[A]) fault(m *member, family string) (fault string, has bool) {
	for _, r := range a.of(m) {
		switch {
		case a.family(r) != family:
		case a.step(r) == m.Info.Steps:
			return "", true
		default:
			fault, has = fmt.Sprintf("%s was measured at step %d of %d", m.name(), a.step(r), m.Info.Steps), true
		}
	}
	return fault, has
}

// families lists what the results are about; one without a name where there is none.
func (a analysis[A]) families(settings []*setting) []string {
	var out []string
	for _, g := range settings {
		for _, m := range g.runs {
			for _, r := range a.of(m) {
				out = append(out, a.family(r))
			}
		}
	}
	if len(out) == 0 {
		return []string{""}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// onlyFamily is that of an analysis with one.
func onlyFamily[A any](*A) string { return "" }

// apart tells whether some setting has groups that do not compare.
func apart[G grouped](groups []G) bool {
	return slices.ContainsFunc(groups, func(g G) bool { return g.apart() })
}

// readResult reads the file that an analysis left in a run's folder; nil when there is none. What is damaged is a problem; tooLarge says
// what to do about a file of more bytes than most.
func readResult[A any](path string, most int64, tooLarge string, parse func(text []byte) (*A, error)) (*A, []record.Problem) {
	text, err := record.ReadFile(record.OS(), path, most)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, []record.Problem{{Path: path, What: "cannot be read, or is too large: " + tooLarge}}
	}
	out, err := parse(text)
	if err != nil {
		return nil, []record.Problem{{Path: path, What: err.Error()}}
	}
	return out, nil
}

// resultText is a file in one of several folders.
type resultText struct {
	folder string // its name
	path   string
	text   []byte
}

// resultsBelow yields a file of at most so many bytes from each folder below a run's dir whose name begins with prefix, in order, or what is wrong
// with it. Folders without it are passed over.
func resultsBelow(run *record.Run, dir, prefix, file string, most int64) iter.Seq2[resultText, *record.Problem] {
	return func(yield func(resultText, *record.Problem) bool) {
		entries, err := record.OS().ReadDir(run.Path(dir))
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		if err != nil {
			yield(resultText{}, &record.Problem{Path: run.Path(dir), What: "cannot be read"})
			return
		}
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), prefix) {
				continue
			}
			r := resultText{folder: e.Name(), path: run.Path(dir, e.Name(), file)}
			var problem *record.Problem
			r.text, err = record.ReadFile(record.OS(), r.path, most)
			switch {
			case errors.Is(err, fs.ErrNotExist) || err != nil && !e.IsDir():
				continue
			case err != nil:
				problem = &record.Problem{Path: r.path, What: "cannot be read, or is too large for results"}
			}
			if !yield(r, problem) {
				return
			}
		}
	}
}

// resultSchema is that of the results of gap, probes, noise and forgetting, as far as this version reads them.
const resultSchema = 1

// resultHeader is what every one of those begins with.
type resultHeader struct {
	Schema   int `json:"schema"`
	Settings struct {
		Model string `json:"model"`
	} `json:"settings"`
}

// openResult decodes what an analysis wrote of the run with the id, and returns the step of the checkpoint that it measured. what names the
// result in errors, command is the one that writes it.
func openResult(text []byte, document any, id, what, command string) (step int64, err error) {
	var header resultHeader
	if json.Unmarshal(text, &header) != nil || json.Unmarshal(text, document) != nil {
		return 0, fmt.Errorf("is not the %s of a model: remove it and measure again (%s)", what, command)
	}
	if header.Schema != resultSchema {
		return 0, fmt.Errorf("has schema %d, this version reads %d", header.Schema, resultSchema)
	}
	return measuredStep(header.Settings.Model, id, command)
}

// measuredStep is the step of the checkpoint that a result names as its model, "id@step", which is of the run with the id.
func measuredStep(model, id, command string) (int64, error) {
	run, at, _ := strings.Cut(model, "@")
	step, err := strconv.ParseInt(at, 10, 64)
	if run != id || err != nil || step < 0 {
		return 0, fmt.Errorf("is of %s: measure this run (%s)", clean(model, 60), command)
	}
	return step, nil
}
