package config

import (
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// setting is a value with the place where it was set. While a layer is read, nil stands for a value that was refused.
type setting struct {
	value any
	at    origin
}

// layer is what one source sets, by path.
type layer map[string]setting

// exclusive lists the keys that exclude each other within a layer and replace each other between layers.
func exclusive() [][]string {
	return [][]string{
		{"optimizer.weight_decay", "optimizer.tau"},
		{"budget.tokens", "budget.tpp", "budget.steps", "budget.epochs"},
	}
}

// fromMapping reads the keys below path from a mapping. With dotted, "optimizer.lr: 1" is as good as nesting.
func (r *reader) fromMapping(out layer, n *yaml.Node, path string, dotted bool) {
	r.unique(n, path)
	names := r.table.section(path)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind != yaml.ScalarNode {
			continue
		}
		full := join(path, key.Value)
		if strings.Contains(key.Value, ".") && !dotted {
			r.dotted(key, path, names)
			continue
		}
		if f, ok := r.table.find(full); ok {
			r.set(out, f, value)
			continue
		}
		if key.Value == "" || len(r.table.section(full)) == 0 {
			r.unknown(key, path, names)
			continue
		}
		switch {
		case value.Kind == yaml.MappingNode:
			r.fromMapping(out, value, full, dotted)
		case value.Kind == yaml.ScalarNode && value.Tag == "!!null":
			// A section whose keys are all commented out.
		default:
			r.report(value, full, "is not a section", "keys below it: "+strings.Join(r.table.section(full), ", "))
		}
	}
}

// dotted refuses a dotted key in a file, where sections are nested.
func (r *reader) dotted(key *yaml.Node, path string, names []string) {
	full := join(path, key.Value)
	if _, ok := r.table.find(full); !ok {
		r.unknown(key, path, names)
		return
	}
	nested := strings.ReplaceAll(key.Value, ".", ": {") + ": …" + strings.Repeat("}", strings.Count(key.Value, "."))
	r.problems.add(r.at(key).problem(full, "", "is a dotted key", nested))
}

// set puts one value into a layer, unless it is there already (which unique has reported, or dotted keys say twice).
func (r *reader) set(out layer, f field, n *yaml.Node) {
	v, ok := r.value(f, n)
	if old, there := out[f.path]; there {
		if !r.reportedTwice(f.path) {
			r.report(n, f.path, "is set twice, first at "+old.at.String(), "each key once")
		}
		return
	}
	if !ok {
		v = nil // the key is there all the same: contradictions counts it
	}
	out[f.path] = setting{v, r.at(n)}
}

// reportedTwice tells whether unique has reported the key.
func (r *reader) reportedTwice(path string) bool {
	return slices.ContainsFunc(*r.problems, func(p Problem) bool {
		return p.Path == path && strings.HasPrefix(p.What, twice)
	})
}

// fromSets reads the k=v of --set flags; a later one wins over an earlier one of the same key.
func (r *reader) fromSets(sets []string) layer {
	out := layer{}
	for _, set := range sets {
		key, value, ok := strings.Cut(set, "=")
		key = strings.TrimSpace(key)
		if !ok {
			r.problems.add(origin{source: r.source}.problem("", quoted(set), "has no value", r.source+" key=value, such as --set optimizer.lr=1e-3"))
			continue
		}
		f, known := r.table.find(key)
		if !known {
			r.unknownPath(key)
			continue
		}
		v, ok := r.fromText(f, value)
		if !ok {
			v = nil
		}
		out[key] = setting{v, origin{source: r.source}}
	}
	return out
}

// unknownPath reports a dotted path that is no key.
func (r *reader) unknownPath(path string) {
	problem := origin{source: r.source}.problem(plain(path), "", "unknown key", "")
	if below := r.table.section(path); path != "" && len(below) > 0 {
		problem.What, problem.Allowed = "is a section", "one of its keys: "+strings.Join(below, ", ")
	} else if problem.Near = nearestPath(path, r.table.paths()); problem.Near == "" {
		problem.Allowed = "the keys that `plasticity config show` lists"
	}
	r.problems.add(problem)
}

// contradictions reports keys of a layer that exclude each other, and then drops the refused values.
func (r *reader) contradictions(l layer) {
	for _, keys := range exclusive() {
		var there []string
		for _, key := range keys {
			if _, ok := l[key]; ok {
				there = append(there, key)
			}
		}
		if len(there) > 1 {
			last := l[there[len(there)-1]]
			r.problems.add(last.at.problem(strings.Join(there, " and "), "", "exclude each other", "one of "+strings.Join(keys, ", ")))
		}
	}
	maps.DeleteFunc(l, func(_ string, s setting) bool { return s.value == nil })
}

// stack merges layers, the lowest first: a key of a higher layer replaces the same key and those it excludes.
func stack(layers ...layer) []layer {
	out := make([]layer, len(layers))
	for i, l := range layers {
		out[i] = layer{}
		for key, s := range l {
			out[i][key] = s
		}
		for _, keys := range exclusive() {
			if !slices.ContainsFunc(keys, func(k string) bool { _, ok := l[k]; return ok }) {
				continue
			}
			for _, below := range out[:i] {
				for _, key := range keys {
					delete(below, key)
				}
			}
		}
	}
	return out
}

// top returns the setting of a key in the highest layer that has it.
func top(layers []layer, path string) (setting, bool) {
	for _, l := range slices.Backward(layers) {
		if s, ok := l[path]; ok {
			return s, true
		}
	}
	return setting{}, false
}

// nested turns a layer into the maps that viper takes.
func (t table) nested(l layer) map[string]any {
	out := make(map[string]any)
	for _, f := range t {
		s, ok := l[f.path]
		if !ok {
			continue
		}
		at := out
		names := strings.Split(f.path, ".")
		for _, name := range names[:len(names)-1] {
			below, ok := at[name].(map[string]any)
			if !ok {
				below = make(map[string]any)
				at[name] = below
			}
			at = below
		}
		at[names[len(names)-1]] = s.value
	}
	return out
}
