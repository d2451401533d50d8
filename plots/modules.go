package plots

import (
	"slices"
	"strings"
)

// module names the kind of a parameter tensor for people, by its name in a checkpoint.
func module(parameter string) string {
	for _, of := range []struct{ part, name string }{
		{"norm", "norm gains"},
		{"embed", "embedding"},
		{"lm_head", "head"},
		{".q_proj", "queries"},
		{".k_proj", "keys"},
		{".v_proj", "values"},
		{".o_proj", "attention output"},
		{".mlp.", "feed-forward"},
	} {
		if strings.Contains(parameter, of.part) {
			return of.name
		}
	}
	return ""
}

// modules lists the kinds of tensors in order of appearance; nil when one is of none.
func modules(parameters []string) []string {
	var out []string
	for _, p := range parameters {
		name := module(p)
		if name == "" {
			return nil
		}
		if !slices.Contains(out, name) {
			out = append(out, name)
		}
	}
	return out
}

// onlyDecayed says which kinds of tensors alone are decayed: "only queries and keys decayed"; empty when a kind is decayed in part, or when most are.
func onlyDecayed(exempt, decayed []string) string {
	left, out := modules(exempt), modules(decayed)
	partly := slices.ContainsFunc(out, func(name string) bool { return slices.Contains(left, name) })
	if len(out) == 0 || len(out) > 3 || len(left) < len(out) || partly {
		return ""
	}
	slices.Sort(out)
	last := len(out) - 1
	if last == 0 {
		return "only " + out[0] + " decayed"
	}
	return "only " + strings.Join(out[:last], ", ") + " and " + out[last] + " decayed"
}
