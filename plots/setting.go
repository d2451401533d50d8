package plots

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"plasticity/record"
)

// setting is a group of runs that differ in weight decay and seed only.
type setting struct {
	key    string // everything that must be equal
	panel  string // what must be equal for losses to be comparable
	fields []field
	title  string // of the model
	label  string // what tells it from the others of its panel; may be empty
	runs   []*member
	levels []level // ascending in λ
}

// field is one line of a flattened configuration.
type field struct{ name, value string }

// level is one weight decay of a setting.
type level struct {
	decay  float64
	tau    float64
	seeds  []seedLoss // that count, ascending
	faulty []*member  // that do not
	estimate
}

// seedLoss is the final validation loss of a seed: the mean, should several runs have it.
type seedLoss struct {
	seed int64
	loss float64
	runs []*member
}

// ignored are the keys that do not reach the numbers, or are level, seed or named by the record itself.
func ignored(name string) bool {
	for _, prefix := range []string{
		"name", "seed", "device", "threads", "step", "init", "data.train", "data.val", "model.preset", "budget.", "batch.micro_sequences",
		"optimizer.weight_decay", "optimizer.tau", "eval.every_steps", "checkpoint.", "metrics.",
	} {
		if name == prefix || strings.HasSuffix(prefix, ".") && strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// flatten lists what distinguishes a setting: the resolved configuration, then what only the record knows.
func flatten(m *member) []field {
	fields := configFields(m)
	i := m.Info
	if len(fields) == 0 { // no configuration: what the grid says about the run is all there is
		for _, a := range i.Axes {
			fields = append(fields, field{"axis " + a.Name, a.Value})
		}
	}
	fields = slices.DeleteFunc(fields, func(f field) bool { return ignored(strings.TrimPrefix(f.name, "axis ")) })
	return append(
		fields, field{"kind", i.Kind}, field{"model", i.Model}, field{"parameters", fmt.Sprint(i.Parameters)},
		field{"tokens", fmt.Sprint(i.Tokens)}, field{"steps", fmt.Sprint(i.Steps)},
		field{"tokens per step", fmt.Sprint(i.TokensPerStep)},
		field{"lr", number(float64(i.LearningRate))}, field{"precision", i.Precision},
		field{"data", i.DataDigest}, field{"validation data", i.ValDigest}, field{"tokenizer", i.TokenizerDigest},
		field{"parents", strings.Join(i.Parents, " ")},
	)
}

// configFields flattens the resolved configuration; empty when there is none that can be read.
func configFields(m *member) []field {
	var top yaml.Node
	if yaml.Unmarshal(m.Config, &top) != nil || len(top.Content) != 1 {
		return nil
	}
	return walk(nil, "", top.Content[0])
}

// walk adds the leaves below node. Aliases are not followed.
func walk(fields []field, name string, node *yaml.Node) []field {
	const most = 1000
	switch {
	case len(fields) >= most:
	case node.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			path := node.Content[i].Value
			if name != "" {
				path = name + "." + path
			}
			fields = walk(fields, path, node.Content[i+1])
		}
	case node.Kind == yaml.SequenceNode:
		var values []string
		for i, item := range node.Content {
			if item.Kind == yaml.ScalarNode {
				values = append(values, item.Value)
				continue
			}
			fields = walk(fields, fmt.Sprintf("%s.%d", name, i), item)
		}
		fields = append(fields, field{name, strings.Join(values, " ")})
	default:
		fields = append(fields, field{name, node.Value})
	}
	return fields
}

// panelKey names what losses must share to be compared on one axis.
func panelKey(m *member) string {
	i := m.Info
	return fmt.Sprintf("%q %q %d %q %q", i.Kind, i.Model, i.Parameters, i.ValDigest, i.TokenizerDigest)
}

// sortIntoSettings groups the runs, in a fixed order: by size of the model, tokens, then key.
func sortIntoSettings(members []*member) []*setting {
	byKey := map[string]*setting{}
	var out []*setting
	for _, m := range members {
		fields := flatten(m)
		key := fmt.Sprintf("%q", fields)
		s := byKey[key]
		if s == nil {
			s = &setting{key: key, panel: panelKey(m), fields: fields, title: modelTitle(m.Info)}
			byKey[key] = s
			out = append(out, s)
		}
		s.runs = append(s.runs, m)
	}
	slices.SortFunc(out, func(a, b *setting) int {
		x, y := a.runs[0].Info, b.runs[0].Info
		return cmp.Or(cmp.Compare(x.Parameters, y.Parameters), strings.Compare(a.panel, b.panel),
			cmp.Compare(x.Tokens, y.Tokens), strings.Compare(a.key, b.key))
	})
	for _, s := range out {
		s.sortIntoLevels()
	}
	for _, p := range panels(out) {
		nameSettings(p)
	}
	return out
}

// panels groups settings whose losses can share an axis, in order.
func panels(settings []*setting) [][]*setting {
	var out [][]*setting
	for _, s := range settings {
		if n := len(out); n > 0 && out[n-1][0].panel == s.panel {
			out[n-1] = append(out[n-1], s)
			continue
		}
		out = append(out, []*setting{s})
	}
	return out
}

// sortIntoLevels groups the runs by weight decay and the runs of a level by seed.
func (s *setting) sortIntoLevels() {
	byDecay := map[float64]int{}
	for _, m := range s.runs {
		decay := m.decay() + 0 // −0 is 0
		if !finite(decay) || decay < 0 {
			continue // said as a fault of the run
		}
		at, known := byDecay[decay]
		if !known {
			at = len(s.levels)
			byDecay[decay] = at
			s.levels = append(s.levels, level{decay: decay, tau: m.tau()})
		}
		s.levels[at].add(m)
	}
	slices.SortFunc(s.levels, func(a, b level) int { return cmp.Compare(a.decay, b.decay) })
	for i := range s.levels {
		l := &s.levels[i]
		slices.SortFunc(l.seeds, func(a, b seedLoss) int { return cmp.Compare(a.seed, b.seed) })
		l.estimate = estimateSeeds(l.seeds)
	}
}

// lossesOf lists the losses of seeds.
func lossesOf(seeds []seedLoss) []float64 {
	out := make([]float64, len(seeds))
	for i, v := range seeds {
		out[i] = v.loss
	}
	return out
}

func estimateSeeds(seeds []seedLoss) estimate { return estimateMean(lossesOf(seeds)) }

// add puts a run into the level.
func (l *level) add(m *member) {
	if !m.counts() {
		l.faulty = append(l.faulty, m)
		return
	}
	for i := range l.seeds {
		if v := &l.seeds[i]; v.seed == m.Info.Seed {
			n := float64(len(v.runs))
			v.loss = (v.loss*n + m.final) / (n + 1)
			v.runs = append(v.runs, m)
			return
		}
	}
	l.seeds = append(l.seeds, seedLoss{seed: m.Info.Seed, loss: m.final, runs: []*member{m}})
}

// loss returns the loss of a seed.
func (l *level) loss(seed int64) (float64, bool) {
	for _, v := range l.seeds {
		if v.seed == seed {
			return v.loss, true
		}
	}
	return math.NaN(), false
}

// modelTitle names a model for people.
func modelTitle(i record.Info) string {
	name := clean(i.Model, 40)
	if name == "" {
		name = "model"
	}
	return fmt.Sprintf("%s (%s parameters)", name, count(i.Parameters))
}

// tokensPerParameter writes the budget, "20 TPP".
func tokensPerParameter(i record.Info) string {
	if i.Parameters <= 0 {
		return count(i.Tokens) + " tokens"
	}
	return short(rounded(float64(i.Tokens)/float64(i.Parameters), 2)) + " TPP"
}

// nameSettings labels the settings of a panel by what differs between them.
func nameSettings(panel []*setting) {
	if len(panel) < 2 {
		return
	}
	var all [][]field
	for _, s := range panel {
		all = append(all, s.fields)
	}
	differs := differing(all)
	seen := map[string]int{}
	for _, s := range panel {
		s.label = s.labelBy(differs)
		if s.label == "" {
			s.label = tokensPerParameter(s.runs[0].Info)
		}
		seen[s.label]++
		if n := seen[s.label]; n > 1 { // they differ in something that only one of them records
			s.label += fmt.Sprintf(" (%d)", n)
		}
	}
}

// differing finds the fields that are not equal in all. A field that one lacks is not compared.
func differing(all [][]field) map[string]bool {
	differs, values := map[string]bool{}, map[string]string{}
	for _, fields := range all {
		for _, f := range fields {
			if old, known := values[f.name]; known && old != f.value {
				differs[f.name] = true
			}
			values[f.name] = f.value
		}
	}
	return differs
}

// labelBy puts the differing fields into words.
func (s *setting) labelBy(differs map[string]bool) string {
	var parts []string
	if differs["tokens"] || differs["steps"] {
		parts = append(parts, tokensPerParameter(s.runs[0].Info))
	}
	if differs["lr"] {
		parts = append(parts, "lr "+number(float64(s.runs[0].Info.LearningRate)))
	}
	if differs["optimizer.no_decay"] || differs["axis optimizer.no_decay"] {
		parts = append(parts, strings.TrimSuffix(strings.Replace(s.decayed(), "all parameters decayed", "all decayed", 1), " from decay"))
	}
	for _, f := range s.fields {
		if differs[f.name] && !namedOtherwise(f.name) {
			parts = append(parts, clean(f.name[strings.LastIndexByte(f.name, '.')+1:]+" "+f.value, 28))
		}
	}
	return strings.Join(parts, ", ")
}

// namedOtherwise are fields that a label has in better words, or that follow from others.
func namedOtherwise(name string) bool {
	switch name {
	case "tokens", "steps", "tokens per step", "lr", "optimizer.lr", "optimizer.no_decay":
		return true
	}
	return strings.HasPrefix(name, "axis ")
}

// decayed says in words which parameters weight decay acts on. Runs with λ = 0 cannot tell; the first other one does.
func (s *setting) decayed() string {
	nothing := true
	for _, m := range s.runs {
		nothing = nothing && m.decay() == 0
		if m.decay() > 0 && len(m.Info.DecayGroups) > 0 {
			return describeDecay(m.Info.DecayGroups)
		}
	}
	if nothing {
		return "nothing decayed"
	}
	return "decayed parameters not recorded"
}

// describeDecay puts decay groups into words.
func describeDecay(groups []record.DecayGroup) string {
	var exempt, decayed []string
	rates := map[record.Float]bool{}
	for _, g := range groups {
		if len(g.Parameters) == 0 {
			continue
		}
		if g.WeightDecay == 0 {
			exempt = append(exempt, g.Parameters...)
			continue
		}
		rates[g.WeightDecay] = true
		decayed = append(decayed, g.Parameters...)
	}
	var text string
	norms, embeddings := kind(exempt, "norm"), kind(exempt, "embed")
	only := onlyDecayed(exempt, decayed)
	switch {
	case len(exempt) == 0:
		text = "all parameters decayed"
	case only != "":
		text = only
	case norms+embeddings < len(exempt) || norms > 0 && kind(decayed, "norm") > 0 || embeddings > 0 && kind(decayed, "embed") > 0:
		text = fmt.Sprintf("%d of %d parameter tensors exempt from decay", len(exempt), len(exempt)+len(decayed))
	case embeddings == 0:
		text = "norm gains exempt from decay"
	case norms == 0:
		text = "embeddings exempt from decay"
	default:
		text = "norm gains and embeddings exempt from decay"
	}
	if len(rates) > 1 {
		text += fmt.Sprintf(", %d different decays by group", len(rates))
	}
	return text
}

// kind counts the names that contain word.
func kind(names []string, word string) int {
	n := 0
	for _, name := range names {
		if strings.Contains(name, word) {
			n++
		}
	}
	return n
}
