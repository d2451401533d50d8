package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"plasticity/record"
)

// Recipe is one way to fine-tune: a configuration that lacks the model, the task and, without seeds, the seed.
type Recipe struct {
	Tasks []string
	Axes  []AxisValue
	Seeds []int64 // empty: that of the base model
	Run   Run
}

// maxFinetunings bounds what comes after the base models of a grid, the never-pretrained ones left out.
const maxFinetunings = 100_000

// baseModel stands for the base model while a recipe is checked.
const baseModel = "base model"

// recipes is how many configurations an entry has.
func (e FinetuneEntry) recipes() float64 {
	count := 1.0
	for _, a := range e.Axes {
		count *= float64(len(a.Values))
	}
	return count
}

// Recipes lays out the fine-tunings, the first axis of an entry varying slowest. The error is a record.Failure with Usage
// and every problem inside.
func (g Grid) Recipes() ([]Recipe, error) {
	total := 0.0
	for _, e := range g.Finetune {
		total += float64(g.CellCount()) * e.recipes() * float64(len(e.Tasks)*max(1, len(e.Seeds)))
	}
	if total > maxFinetunings {
		return nil, record.Fail(record.Usage, "%s: %.0f fine-tunings: at most %d", g.File, total, maxFinetunings)
	}
	problems := &problemList{}
	var out []Recipe
	for _, e := range g.Finetune {
		for i := range int(e.recipes()) {
			chosen, values := choose(e.Axes, i)
			// The base model is not known yet; what needs one is not refused for that.
			base := layer{"init": setting{baseModel, origin{source: g.File}}}
			run, err := g.table.build(&problemList{}, append(append([]layer{base}, e.layers...), chosen)...)
			if err != nil {
				mergeProblems(problems, err)
				continue
			}
			run.Init = ""
			out = append(out, Recipe{Tasks: e.Tasks, Axes: values, Seeds: e.Seeds, Run: run})
		}
	}
	return out, problems.err()
}

// choose takes the values with index i of a product of axes, of which the first varies slowest.
func choose(axes []Axis, i int) (layer, []AxisValue) {
	chosen, values := layer{}, make([]AxisValue, len(axes))
	for k, axis := range slices.Backward(axes) {
		at := i % len(axis.Values)
		i /= len(axis.Values)
		values[k] = AxisValue{axis.Key, axis.Values[at]}
		maps.Copy(chosen, axis.sets[at])
	}
	return chosen, values
}

func finetuneKeys() []string { return []string{"task", "config", "axes", "seeds", "set"} }

const finetuneShape = "{task: NAME or [NAMES], config: PATH}"

// finetune reads the list of fine-tunings; a scale's replaces the grid's.
func (g *gridReader) finetune(path string, n *yaml.Node) {
	if n.Kind != yaml.SequenceNode {
		g.reader.report(n, path, "is not a list", "a list of "+finetuneShape)
		return
	}
	g.grid.Finetune, g.recipes = nil, nil
	for i, element := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		if element.Kind != yaml.MappingNode {
			g.reader.report(element, at, "is not an entry", finetuneShape)
			continue
		}
		g.entry(at, element)
	}
}

// entry reads one fine-tuning.
func (g *gridReader) entry(path string, n *yaml.Node) {
	entry, set := FinetuneEntry{}, layer{}
	g.pairs(n, path, func(key, value *yaml.Node) {
		at := path + "." + key.Value
		switch key.Value {
		case "task":
			entry.Tasks = g.tasks(at, value)
		case "config":
			entry.Config = g.text(at, value, func(s string) bool { return s != "" && isPath(s) }, "a path, relative to this file")
		case "axes":
			entry.Axes = g.axes(at, value, nil)
		case "seeds":
			entry.Seeds = g.seeds(at, value)
		case "set":
			g.set(at, value, set)
		default:
			g.reader.unknownIn(key, path, finetuneKeys())
		}
	})
	if len(entry.Tasks) == 0 || entry.Config == "" {
		wrong := func(p Problem) bool { return strings.HasPrefix(p.Path, path+".task") || p.Path == path+".config" }
		if !slices.ContainsFunc(*g.problems, wrong) {
			g.reader.report(n, path, "needs task and config", finetuneShape)
		}
		return
	}
	entry.Config = g.relative(entry.Config)
	g.grid.Finetune = append(g.grid.Finetune, entry)
	g.recipes = append(g.recipes, recipeLayer{path, set})
}

// recipeLayer is what a fine-tuning sets, and where in the file it stands.
type recipeLayer struct {
	path string
	set  layer
}

// tasks reads a name or a list of names.
func (g *gridReader) tasks(path string, n *yaml.Node) []string {
	const allowed = "the name of a task, or a list of names"
	if n.Kind != yaml.SequenceNode {
		if name := g.text(path, n, isName, allowed); name != "" {
			return []string{name}
		}
		return nil
	}
	return g.words(path, n, isName, allowed)
}

// composeFinetune reads the configurations of the fine-tunings. What the grid itself decides may not stand in them.
func (g *gridReader) composeFinetune() error {
	for i := range g.grid.Finetune {
		e := &g.grid.Finetune[i]
		path, set := g.recipes[i].path, g.recipes[i].set
		base, err := g.baseLayer(e.Config, path+".config")
		if err != nil {
			return err
		}
		e.layers = []layer{base, set}
		chosen := layer{}
		for _, a := range e.Axes {
			maps.Copy(chosen, a.decides())
		}
		for _, l := range append(slices.Clone(e.layers), chosen) {
			g.decided(l)
		}
		g.excluded(e.Axes)
		g.contested(set, e.Axes, "one of the two in "+path)
	}
	return nil
}

// decided reports keys of a fine-tuning that follow from the base model and the task.
func (g *gridReader) decided(l layer) {
	for _, f := range g.grid.table {
		s, ok := l[f.path]
		if !ok {
			continue
		}
		switch {
		case f.path == "seed":
			g.problems.add(s.at.problem(f.path, canonical(s.value), "is that of the base model", "seeds: […] in the entry of finetune"))
		case f.path == "init", f.path == "fresh", strings.HasPrefix(f.path, "model."), strings.HasPrefix(f.path, "data.") && f.path != "data.order":
			g.problems.add(s.at.problem(f.path, canonical(s.value), "is decided by the base model and the task", "leave it out"))
		}
	}
}

func evaluateKeys() []string {
	return []string{"samples", "problems", "max_tokens", "temperature", "repetition_penalty", "precision", "seed"}
}

// evaluate reads how fine-tuned models are scored; what is not there has the defaults of the command eval.
func (g *gridReader) evaluate(path string, n *yaml.Node) {
	e := Evaluate{Samples: 16, Temperature: 1, RepetitionPenalty: 1, Precision: "f32", Seed: 1}
	whole := func(name string, low, high float64, to *int, n *yaml.Node) {
		if v, ok := g.reader.integer(field{path: join(path, name), kind: integer, min: low, max: high}, n); ok {
			*to = int(v)
		}
	}
	factor := func(name string, to *float64, n *yaml.Node) {
		if v, ok := g.reader.number(field{path: join(path, name), kind: number, max: 100, above: true}, join(path, name), n); ok {
			*to = v
		}
	}
	g.pairs(n, path, func(key, value *yaml.Node) {
		switch key.Value {
		case "samples":
			whole("samples", 1, 1024, &e.Samples, value)
		case "problems":
			whole("problems", 0, 1e9, &e.Problems, value)
		case "max_tokens":
			whole("max_tokens", 0, 1<<20, &e.MaxTokens, value)
		case "temperature":
			factor("temperature", &e.Temperature, value)
		case "repetition_penalty":
			factor("repetition_penalty", &e.RepetitionPenalty, value)
		case "precision":
			e.Precision = g.text(join(path, "precision"), value, func(s string) bool { return s == "f32" || s == "bf16" }, "f32 | bf16")
		case "seed":
			if v, ok := g.reader.integer(field{path: join(path, "seed"), kind: integer, max: 1 << 53}, value); ok {
				e.Seed = v
			}
		default:
			g.reader.unknownIn(key, path, evaluateKeys())
		}
	})
	g.grid.Evaluate = e
}
