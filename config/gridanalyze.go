package config

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"
)

// The analyses that a grid can ask for, by the names of their commands.
const (
	Probes     = "probes"
	Rank       = "rank"
	Gap        = "gap"
	Noise      = "noise"
	Forgetting = "forgetting"
)

// Analysis is a look inside every base model of a grid, or, of forgetting, inside what each became. What is zero has the default of the
// command analyze.
type Analysis struct {
	Name   string `json:"name"`             // probes | rank | gap | noise | forgetting
	Task   string `json:"task,omitempty"`   // of probes; the synthetic one when none is named
	Data   string `json:"-"`                // folder of the task's texts; "": none. Where it lies decides nothing
	Pool   string `json:"pool,omitempty"`   // of probes: last | mean
	All    bool   `json:"all,omitempty"`    // rank: of every checkpoint that is kept, not of the last alone
	Tokens int64  `json:"tokens,omitempty"` // gap: of each side; noise, forgetting: of the text
}

// Tuned says that fine-tuned models are looked into, not base models.
func (a Analysis) Tuned() bool { return a.Name == Forgetting }

// Folder is the name of the folder that an analysis has among those of a run.
func (a Analysis) Folder() string {
	if a.Task != "" {
		return a.Name + "-" + a.Task
	}
	return a.Name
}

// analysisKeys are the keys of an entry of analyze.
func analysisKeys(name string) []string {
	switch name {
	case Probes:
		return []string{"name", "task", "data", "pool"}
	case Rank:
		return []string{"name", "all"}
	case Gap, Noise, Forgetting:
		return []string{"name", "tokens"}
	}
	return nil
}

const (
	analysisNames = "probes | rank | gap | noise | forgetting"
	analysisShape = analysisNames + ", or {name: probes, task: NAME, …}"
)

// analyze reads the list of analyses; a scale's replaces the grid's.
func (g *gridReader) analyze(path string, n *yaml.Node) {
	if n.Kind != yaml.SequenceNode {
		g.reader.report(n, path, "is not a list", "a list of "+analysisShape)
		return
	}
	g.grid.Analyze = nil
	for i, element := range n.Content {
		at := fmt.Sprintf("%s[%d]", path, i)
		for _, a := range g.analysis(at, element) {
			if slices.ContainsFunc(g.grid.Analyze, func(b Analysis) bool { return a.Folder() == b.Folder() }) {
				g.reader.report(element, at, "is the analysis "+a.Folder()+" a second time", "each once")
				continue
			}
			g.grid.Analyze = append(g.grid.Analyze, a)
		}
	}
}

// analysis reads an entry, which is a name alone or has settings; several tasks are as many analyses.
func (g *gridReader) analysis(path string, n *yaml.Node) []Analysis {
	known := func(name string) bool { return analysisKeys(name) != nil }
	if n.Kind != yaml.MappingNode {
		if name := g.text(path, n, known, analysisShape); name != "" {
			return perTask(Analysis{Name: name}, nil)
		}
		return nil
	}
	var a Analysis
	g.pairs(n, path, func(key, value *yaml.Node) {
		if key.Value == "name" {
			a.Name = g.text(join(path, "name"), value, known, analysisNames)
		}
	})
	if a.Name == "" {
		if !g.mentioned(join(path, "name")) {
			g.reader.report(n, path, "has no name", analysisShape)
		}
		return nil
	}
	var tasks []string
	g.pairs(n, path, func(key, value *yaml.Node) {
		at := join(path, key.Value)
		switch {
		case !slices.Contains(analysisKeys(a.Name), key.Value):
			g.reader.unknownIn(key, path, analysisKeys(a.Name))
		case key.Value == "task":
			tasks = g.tasks(at, value)
		case key.Value == "data":
			a.Data = g.text(at, value, isPath, "a folder")
		case key.Value == "pool":
			a.Pool = g.text(at, value, func(s string) bool { return s == "last" || s == "mean" }, "last | mean")
		case key.Value == "all":
			a.All, _ = g.reader.boolean(field{path: at, kind: boolean}, value)
		case key.Value == "tokens":
			a.Tokens, _ = g.reader.integer(field{path: at, kind: integer, min: 1, max: 1 << 40}, value)
		}
	})
	return perTask(a, tasks)
}

// anyTask is what probes are of when nothing is said: it needs no data.
const anyTask = "synthetic-sentiment"

// perTask gives an analysis for each task, where it has some.
func perTask(a Analysis, tasks []string) []Analysis {
	if a.Name != Probes {
		return []Analysis{a}
	}
	if len(tasks) == 0 {
		tasks = []string{anyTask}
	}
	var out []Analysis
	for _, task := range tasks {
		a.Task = task
		out = append(out, a)
	}
	return out
}
