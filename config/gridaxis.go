package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// decides gives every key that the axis sets, with the first value that sets it.
func (a Axis) decides() layer {
	out := layer{}
	for _, set := range slices.Backward(a.sets) {
		maps.Copy(out, set)
	}
	return out
}

// axes adds axes in their order; one that is there already gets the new values.
func (g *gridReader) axes(path string, n *yaml.Node, axes []Axis) []Axis {
	g.pairs(n, path, func(key, value *yaml.Node) {
		full := join(path, plain(key.Value))
		f, ok := g.grid.table.find(key.Value)
		section := !ok && key.Value != "" && len(g.grid.table.section(key.Value)) > 0
		switch {
		case section && value.Kind != yaml.MappingNode:
			g.reader.report(key, full, "is a section, whose values need names", "{NAME: {"+g.grid.table.section(key.Value)[0]+": …}, …}")
			return
		case !ok && !section:
			g.unknownKey(key, full)
			return
		case key.Value == "seed":
			g.reader.report(key, full, "is no axis", "seeds: [1, 2, 3]")
			return
		case key.Value == "name":
			g.reader.report(key, full, "is no axis: the name is not part of what a run is", "another key")
			return
		}
		var axis Axis
		if value.Kind == yaml.MappingNode {
			axis, ok = g.namedAxis(key.Value, full, value)
		} else {
			axis, ok = g.axis(f, full, value)
		}
		if !ok {
			return
		}
		axis.at = g.reader.at(key)
		if i := slices.IndexFunc(axes, func(a Axis) bool { return a.Key == axis.Key }); i >= 0 {
			axes[i] = axis
			return
		}
		axes = append(axes, axis)
	})
	return axes
}

func (g *gridReader) unknownKey(key *yaml.Node, path string) {
	problem := g.reader.at(key).problem(path, "", "unknown key of a configuration", "")
	if problem.Near = nearestPath(key.Value, g.grid.table.paths()); problem.Near == "" {
		problem.Allowed = "the keys that `plasticity config show` lists"
	}
	g.problems.add(problem)
}

// axis reads a list of values of one key.
func (g *gridReader) axis(f field, path string, n *yaml.Node) (Axis, bool) {
	axis := Axis{Key: f.path}
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 || len(n.Content) > maxList {
		g.reader.report(n, path, "is not what an axis needs", "a list of 1 to "+strconv.Itoa(maxList)+" values, each "+f.wanted())
		return axis, false
	}
	good := true
	for i, element := range n.Content {
		named := f
		named.path = fmt.Sprintf("%s[%d]", path, i)
		v, ok := g.reader.value(named, element)
		if !ok {
			good = false
			continue
		}
		word := canonical(v)
		if at := slices.Index(axis.Values, word); at >= 0 {
			g.reader.report(element, named.path, fmt.Sprintf("is the same value as %s[%d]", path, at), "each value once")
			good = false
			continue
		}
		axis.Values = append(axis.Values, word)
		axis.sets = append(axis.sets, layer{f.path: {v, g.reader.at(element)}})
	}
	return axis, good
}

// namedAxis reads values with names: of one key, or of a section, where each sets some of the keys below it.
func (g *gridReader) namedAxis(key, path string, n *yaml.Node) (Axis, bool) {
	axis, before := Axis{Key: key}, len(*g.problems)
	if len(n.Content) == 0 || len(n.Content) > 2*maxList {
		g.reader.report(n, path, "is not what an axis needs", "1 to "+strconv.Itoa(maxList)+" names, each with a value")
	}
	var known []string // the values in one line each
	g.pairs(n, path, func(name, value *yaml.Node) {
		at := join(path, plain(name.Value))
		if !isName(name.Value) {
			g.reader.report(name, at, "is no name of a value", "1 to 64 letters, digits and . _ = -, the first a letter or digit")
			return
		}
		count := len(*g.problems)
		set := g.named(key, at, value)
		if len(*g.problems) > count {
			return
		}
		line := set.line()
		if i := slices.Index(known, line); i >= 0 {
			g.reader.report(value, at, "is the same value as "+join(path, axis.Values[i]), "each value once")
			return
		}
		known = append(known, line)
		axis.Values = append(axis.Values, name.Value)
		axis.sets = append(axis.sets, set)
	})
	return axis, len(*g.problems) == before
}

// named reads one value that has a name; what was refused is left out.
func (g *gridReader) named(key, path string, value *yaml.Node) layer {
	set := layer{}
	if f, ok := g.grid.table.find(key); ok {
		f.path = path
		if v, ok := g.reader.value(f, value); ok {
			set[key] = setting{v, g.reader.at(value)}
		}
		return set
	}
	what := ""
	switch {
	case value.Kind != yaml.MappingNode:
		what = "is not a section"
	case len(value.Content) == 0:
		what = "sets nothing"
	}
	if what != "" {
		g.reader.report(value, path, what, "keys below "+key+": "+strings.Join(g.grid.table.section(key), ", "))
		return set
	}
	g.reader.fromMapping(set, value, key, false)
	g.reader.contradictions(set)
	return set
}

// line writes a layer so that equal ones are equal text.
func (l layer) line() string {
	var words []string
	for _, key := range slices.Sorted(maps.Keys(l)) {
		words = append(words, key+"="+canonical(l[key].value))
	}
	return strings.Join(words, " ")
}

// seeds reads a list of seeds; nil after a problem.
func (g *gridReader) seeds(path string, n *yaml.Node) []int64 {
	f, _ := g.grid.table.find("seed")
	axis, ok := g.axis(f, path, n)
	if !ok {
		return nil
	}
	var seeds []int64
	for _, set := range axis.sets {
		if seed, ok := set[f.path].value.(int64); ok {
			seeds = append(seeds, seed)
		}
	}
	return seeds
}
