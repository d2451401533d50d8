package config

import (
	"path/filepath"
	"slices"

	"go.yaml.in/yaml/v3"
)

// LoadGrid reads a grid. scale names one of its scales, "" none. Sets and env are layers above the base configuration and
// the grid's own set, for every cell; a key that is an axis, or the seed, cannot be set there. The error is as of Load.
func LoadGrid(file, scale string, sets, env []string) (Grid, error) {
	data, err := readFile(file)
	if err != nil {
		return Grid{}, err
	}
	g := &gridReader{grid: Grid{File: file, Scale: scale, table: newTable()}, problems: &problemList{}}
	g.reader = &reader{table: g.grid.table, problems: g.problems, source: file, inFile: true}
	g.sets, g.scaleSet = layer{}, layer{}
	top := g.reader.document(data)
	if top == nil {
		if len(*g.problems) == 0 {
			g.problems.add(Problem{Source: file, What: "is empty", Allowed: "name, base, axes, seeds, …"})
		}
		return Grid{}, g.problems.err()
	}
	g.top(top)
	g.choose(top)
	if err := g.compose(sets, env); err != nil {
		return Grid{}, err
	}
	if err := g.problems.err(); err != nil {
		return Grid{}, err
	}
	return g.grid, nil
}

// gridReader collects a grid from its file.
type gridReader struct {
	grid     Grid
	reader   *reader
	problems *problemList
	sets     layer         // of the grid
	scaleSet layer         // of the chosen scale
	recipes  []recipeLayer // of each fine-tuning
}

func gridKeys() []string {
	return []string{"name", "claim", "base", "axes", "seeds", "set", "finetune", "evaluate", "analyze", "figures", "scales"}
}

// pairs calls visit for each key of a mapping and reports the other shapes.
func (g *gridReader) pairs(n *yaml.Node, path string, visit func(key, value *yaml.Node)) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return
	}
	if n.Kind != yaml.MappingNode {
		g.reader.report(n, path, "is not a section", "key: value lines")
		return
	}
	g.reader.unique(n, path)
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Kind == yaml.ScalarNode {
			visit(n.Content[i], n.Content[i+1])
		}
	}
}

func (g *gridReader) top(top *yaml.Node) {
	g.pairs(top, "", func(key, value *yaml.Node) {
		switch key.Value {
		case "name":
			g.grid.Name = g.text("name", value, isName, "1 to 64 letters, digits and . _ = -, the first a letter or digit")
		case "claim":
			g.grid.Claim = g.text("claim", value, isPath, "a sentence")
		case "base", "axes", "seeds", "set", "finetune", "evaluate", "analyze", "figures":
			g.shared("", key.Value, value, g.sets)
		case "scales":
			g.scales(value)
		default:
			g.reader.unknownIn(key, "", gridKeys())
		}
	})
	if g.grid.Name == "" && !g.mentioned("name") {
		g.problems.add(Problem{Source: g.grid.File, Path: "name", What: "is missing", Allowed: "the name of the grid"})
	}
}

// mentioned tells whether a problem is about path already.
func (g *gridReader) mentioned(path string) bool {
	return slices.ContainsFunc(*g.problems, func(p Problem) bool { return p.Path == path })
}

// shared reads the keys that a grid and a scale have in common.
func (g *gridReader) shared(prefix, name string, value *yaml.Node, set layer) {
	path := join(prefix, name)
	switch name {
	case "base":
		if base := g.text(path, value, func(s string) bool { return s != "" && isPath(s) }, "a path, relative to this file"); base != "" {
			g.grid.Base = g.relative(base)
		}
	case "axes":
		g.grid.Axes = g.axes(path, value, g.grid.Axes)
	case "seeds":
		g.grid.Seeds = g.seeds(path, value)
	case "set":
		g.set(path, value, set)
	case "finetune":
		g.finetune(path, value)
	case "evaluate":
		g.evaluate(path, value)
	case "analyze":
		g.analyze(path, value)
	case "figures":
		g.grid.Figures = g.words(path, value, isName, "names of figures")
	}
}

// set reads keys of the configuration.
func (g *gridReader) set(path string, n *yaml.Node, into layer) {
	if n.Kind != yaml.MappingNode {
		g.reader.report(n, path, "is not a section", "keys of the configuration with their values")
		return
	}
	g.reader.fromMapping(into, n, "", true)
	g.reader.contradictions(into)
}

// relative resolves a path that stands in the grid file.
func (g *gridReader) relative(path string) string {
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(filepath.Dir(g.grid.File), path)
}

// text reads a text and gives "" after a problem.
func (g *gridReader) text(path string, n *yaml.Node, valid func(string) bool, allowed string) string {
	v, ok := g.reader.text(field{path: path, kind: text, valid: valid, allowed: allowed}, path, n)
	if !ok {
		return ""
	}
	return v
}

func (g *gridReader) words(path string, n *yaml.Node, valid func(string) bool, allowed string) []string {
	v, ok := g.reader.texts(field{path: path, kind: texts, valid: valid, allowed: allowed}, n)
	if !ok {
		return nil
	}
	return v
}

// unknownIn is unknown for names that are not keys of a configuration.
func (r *reader) unknownIn(key *yaml.Node, path string, names []string) {
	problem := r.at(key).problem(join(path, plain(key.Value)), "", "unknown key", "")
	if near := nearest(key.Value, names); near != "" {
		problem.Near = join(path, near)
	} else {
		problem.Allowed = choices(names)
	}
	r.problems.add(problem)
}
