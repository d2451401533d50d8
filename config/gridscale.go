package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"plasticity/record"
)

func scaleKeys() []string {
	return []string{"base", "axes", "seeds", "set", "finetune", "evaluate", "analyze", "figures"}
}

// Companions are the chosen scale and those named SCALE-…, which one experiment runs together; none without a scale.
func (g Grid) Companions() []string {
	var out []string
	if g.Scale == "" {
		return out
	}
	for _, name := range g.Scales {
		if name == g.Scale {
			out = slices.Insert(out, 0, name)
		} else if strings.HasPrefix(name, g.Scale+"-") {
			out = append(out, name)
		}
	}
	return out
}

// scales notes the names of the scales and checks those that were not chosen, too: a grid is right or wrong as a whole.
func (g *gridReader) scales(n *yaml.Node) {
	g.pairs(n, "scales", func(key, value *yaml.Node) {
		if !isName(key.Value) {
			g.reader.report(key, "scales", "is no name of a scale", "smoke, laptop, paper")
			return
		}
		g.grid.Scales = append(g.grid.Scales, key.Value)
		if key.Value == g.grid.Scale {
			return // choose reads it, above everything else
		}
		other := &gridReader{grid: Grid{File: g.grid.File, table: g.grid.table}, reader: g.reader, problems: g.problems}
		other.scale(join("scales", key.Value), value, layer{})
	})
}

func (g *gridReader) scale(path string, n *yaml.Node, set layer) {
	g.pairs(n, path, func(key, value *yaml.Node) {
		if !slices.Contains(scaleKeys(), key.Value) {
			problem := g.reader.at(key).problem(join(path, plain(key.Value)), "", "unknown key", choices(scaleKeys()))
			if _, ok := g.grid.table.find(key.Value); ok || len(g.grid.table.section(key.Value)) > 0 {
				problem.Allowed = fmt.Sprintf("keys of the configuration go below set: {%s: …}", key.Value)
			}
			g.problems.add(problem)
			return
		}
		g.shared(path, key.Value, value, set)
	})
}

// choose applies the chosen scale over what the grid says.
func (g *gridReader) choose(top *yaml.Node) {
	if g.grid.Scale == "" {
		return
	}
	for i := 0; i+1 < len(top.Content); i += 2 {
		if top.Content[i].Value != "scales" || top.Content[i+1].Kind != yaml.MappingNode {
			continue
		}
		scales := top.Content[i+1].Content
		for k := 0; k+1 < len(scales); k += 2 {
			if scales[k].Value == g.grid.Scale {
				g.scale(join("scales", g.grid.Scale), scales[k+1], g.scaleSet)
				g.grid.Name += "-" + g.grid.Scale
				return
			}
		}
	}
	allowed := "no scale: the grid has none"
	if len(g.grid.Scales) > 0 {
		allowed = strings.Join(g.grid.Scales, ", ")
	}
	g.problems.add(Problem{Source: "--scale", Value: quoted(g.grid.Scale), What: "is no scale of " + g.grid.File, Allowed: allowed, Near: nearest(g.grid.Scale, g.grid.Scales)})
}

// compose reads the base configuration and puts the layers together; the error is that of a broken disk.
func (g *gridReader) compose(sets, env []string) error {
	t := g.grid.table
	g.missing()
	base := layer{}
	if g.grid.Base != "" {
		var err error
		if base, err = g.baseLayer(g.grid.Base, "base"); err != nil {
			return err
		}
	}
	if err := g.composeFinetune(); err != nil {
		return err
	}
	flags, vars := t.setLayer(sets, g.problems), t.envLayer(env, g.problems)
	for _, l := range []layer{g.sets, g.scaleSet, vars, flags} {
		g.clash(l)
	}
	g.excluded(g.grid.Axes)
	g.grid.layers = []layer{base, g.sets, g.scaleSet, vars, flags}
	return nil
}

// baseLayer reads a configuration that the grid names at path; the error is that of a broken disk.
func (g *gridReader) baseLayer(file, path string) (layer, error) {
	data, err := readFile(file)
	switch {
	case record.CodeOf(err) == record.Usage:
		g.problems.add(Problem{Source: g.grid.File, Path: path, What: err.Error(), Allowed: "a path relative to the grid file"})
		return layer{}, nil
	case err != nil:
		return nil, err
	}
	return g.grid.table.fileLayer(file, data, g.problems), nil
}

// excluded reports axes that exclude each other, and those that decide the same key.
func (g *gridReader) excluded(axes []Axis) {
	for i, a := range axes {
		for _, b := range axes[:i] {
			for _, key := range slices.Sorted(maps.Keys(a.decides())) {
				if _, both := b.decides()[key]; both {
					g.problems.add(a.at.problem("axes: "+b.Key+" and "+a.Key, "", "both decide "+key, "one of the two"))
				}
			}
		}
	}
	for _, keys := range exclusive() {
		var names []string
		var second origin
		for _, a := range axes {
			decided := a.decides()
			if slices.ContainsFunc(keys, func(key string) bool { _, ok := decided[key]; return ok }) {
				names = append(names, a.Key)
				second = a.at
			}
		}
		if len(names) > 1 {
			g.problems.add(second.problem("axes: "+strings.Join(names, " and "), "", "exclude each other", "one of "+strings.Join(keys, ", ")))
		}
	}
}

func (g *gridReader) missing() {
	for _, need := range []struct {
		there bool
		path  string
		what  string
	}{
		{g.grid.Base != "", "base", "the base configuration, relative to this file"},
		{len(g.grid.Axes) > 0, "axes", "keys of the configuration with lists of values"},
		{len(g.grid.Seeds) > 0, "seeds", "a list such as [1, 2, 3]"},
	} {
		begun := slices.ContainsFunc(*g.problems, func(p Problem) bool { return strings.Contains(p.Path, need.path) })
		if !need.there && !begun {
			g.problems.add(Problem{Source: g.grid.File, Path: need.path, What: "is missing", Allowed: need.what})
		}
	}
}

// clash reports keys of a layer that the axes or the seeds decide.
func (g *gridReader) clash(l layer) {
	if s, ok := l["seed"]; ok {
		g.problems.add(s.at.problem("seed", canonical(s.value), "is decided by the seeds of the grid", "seeds: […] in "+g.grid.File))
	}
	g.contested(l, g.grid.Axes, "other values in the axes of "+g.grid.File)
}

// contested reports keys of a layer that axes decide.
func (g *gridReader) contested(l layer, axes []Axis, remedy string) {
	for _, f := range g.grid.table {
		s, ok := l[f.path]
		if !ok {
			continue
		}
		for _, axis := range axes {
			same := func(key string) bool { return key == f.path || rivals(key, f.path) }
			if slices.ContainsFunc(slices.Collect(maps.Keys(axis.decides())), same) {
				g.problems.add(s.at.problem(f.path, canonical(s.value), "is decided by the axis "+axis.Key, remedy))
			}
		}
	}
}

// rivals tells whether two keys exclude each other.
func rivals(a, b string) bool {
	return a != b && slices.ContainsFunc(exclusive(), func(keys []string) bool {
		return slices.Contains(keys, a) && slices.Contains(keys, b)
	})
}
