package config

import (
	"slices"
	"strings"
)

// EnvPrefix begins the names of all environment variables of this program.
const EnvPrefix = "PLASTICITY_"

// OtherVariables lists the environment variables with EnvPrefix that are no configuration keys.
func OtherVariables() []string {
	return []string{
		EnvPrefix + "WORKER",   // path of plasticity-worker
		EnvPrefix + "CACHE",    // folder of fetched data and native libraries
		EnvPrefix + "ORACLE",   // Python of the comparison tests
		EnvPrefix + "LEARNING", // shards for the long test of make learning
	}
}

// EnvName returns the variable that sets a key: optimizer.lr → PLASTICITY_OPTIMIZER_LR.
func EnvName(path string) string {
	return EnvPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// fromEnv reads the environment (as of os.Environ). Empty variables count as not set. Variables with the prefix that
// are nobody's but look like a key are refused, since a slip there would otherwise pass in silence.
func fromEnv(t table, env []string, problems *problemList) layer {
	out := layer{}
	names := make([]string, len(t))
	for i, f := range t {
		names[i] = EnvName(f.path)
	}
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, EnvPrefix) || value == "" || slices.Contains(OtherVariables(), name) {
			continue
		}
		r := &reader{table: t, problems: problems, source: name}
		if i := slices.Index(names, name); i >= 0 {
			v, ok := r.fromText(t[i], value)
			if !ok {
				v = nil
			}
			out[t[i].path] = setting{v, origin{source: name}}
			continue
		}
		near := nearest(name, slices.Concat(names, OtherVariables()))
		if near != "" || inSection(t, name) {
			problems.add(Problem{Source: "environment", Path: plain(name), What: "unknown variable", Near: near})
		}
	}
	return out
}

// inSection tells whether a variable has the prefix of a section, like PLASTICITY_OPTIMIZER_X.
func inSection(t table, name string) bool {
	for _, s := range t.section("") {
		if len(t.section(s)) > 0 && strings.HasPrefix(name, EnvName(s)+"_") {
			return true
		}
	}
	return false
}
