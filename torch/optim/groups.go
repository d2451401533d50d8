package optim

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"plasticity/record"
	"plasticity/torch/nn"
)

// Rule gives the parameters whose names match a glob their own weight decay. A * matches any run of
// characters, dots included.
type Rule struct {
	Match       string
	WeightDecay float64
}

// Group is a set of parameters with one weight decay.
type Group struct {
	Name        string // the rule's glob, "no_decay" or "default"
	WeightDecay float64
	Params      []*nn.Param
}

// Assign puts every parameter into exactly one group: the first rule that matches its name, else
// no_decay when one of those globs does, else the default group with weightDecay. Every glob that
// matches nothing is reported, all at once.
func Assign(params []*nn.Param, weightDecay float64, noDecay []string, rules []Rule) ([]Group, error) {
	groups := make([]Group, 0, len(rules)+2)
	for _, rule := range rules {
		groups = append(groups, Group{Name: rule.Match, WeightDecay: rule.WeightDecay})
	}
	exempt, rest := Group{Name: "no_decay"}, Group{Name: "default", WeightDecay: weightDecay}
	for _, p := range params {
		switch i := slices.IndexFunc(rules, func(r Rule) bool { return match(r.Match, p.Name) }); {
		case i >= 0:
			groups[i].Params = append(groups[i].Params, p)
		case slices.ContainsFunc(noDecay, func(glob string) bool { return match(glob, p.Name) }):
			exempt.Params = append(exempt.Params, p)
		default:
			rest.Params = append(rest.Params, p)
		}
	}
	if err := unmatched(params, noDecay, groups); err != nil {
		return nil, err
	}
	groups = append(groups, exempt, rest)
	return slices.DeleteFunc(groups, func(g Group) bool { return len(g.Params) == 0 }), nil
}

// unmatched reports the globs that reach no parameter.
func unmatched(params []*nn.Param, noDecay []string, groups []Group) error {
	var bad []string
	for _, glob := range noDecay {
		if !slices.ContainsFunc(params, func(p *nn.Param) bool { return match(glob, p.Name) }) {
			bad = append(bad, fmt.Sprintf("optimizer.no_decay %q", glob))
		}
	}
	for _, g := range groups {
		if len(g.Params) == 0 {
			bad = append(bad, fmt.Sprintf("optimizer.groups %q", g.Name))
		}
	}
	if len(bad) == 0 {
		return nil
	}
	return record.Fail(record.Usage, "%s: no parameter left to match; the names look like %s and %s",
		strings.Join(bad, ", "), params[0].Name, params[len(params)-1].Name)
}

// match is path.Match over a name without separators.
func match(glob, name string) bool {
	ok, err := path.Match(strings.ReplaceAll(glob, "/", "_"), strings.ReplaceAll(name, "/", "_"))
	return err == nil && ok
}
