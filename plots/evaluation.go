package plots

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"plasticity/record"
)

const (
	resultsFile     = "results.json"
	maxResultsBytes = 4 << 20
	maxEvaluations  = 32 // of a run
)

// Evaluation is what one results.json says of a fine-tuned model's answers to the test set of its task.
type Evaluation struct {
	Folder   string             // its name below the run's eval/
	Problems int                // answered
	Samples  int                // sampled responses to each problem
	Settings string             // how the answers were made, but for model and seed: equal settings compare
	Scores   map[string]float64 // greedy, pass@16, …: shares from 0 to 1; orm is a raw reward
}

// answers is how many responses stand behind the scores.
func (e Evaluation) answers() int { return e.Problems * max(e.Samples, 1) }

// readEvaluations reads the results in eval/ of a fine-tuned run that are about its task. Folders without results.json, or with results of
// other tasks, are none of this package's business; what is damaged is a problem.
func readEvaluations(run *record.Run) ([]Evaluation, []record.Problem) {
	var out []Evaluation
	var problems []record.Problem
	for found, problem := range resultsBelow(run, record.EvalDir, "", resultsFile, maxResultsBytes) {
		switch {
		case problem != nil:
			problems = append(problems, *problem)
			continue
		case len(out) == maxEvaluations:
			problems = append(problems, record.Problem{Path: found.path, What: fmt.Sprintf("more than %d evaluations: left out", maxEvaluations)})
			return out, problems
		}
		evaluation, about, err := parseEvaluation(found.text, taskName(run.Info))
		if err != nil {
			problems = append(problems, record.Problem{Path: found.path, What: err.Error()})
			continue
		}
		if about {
			evaluation.Folder = found.folder
			out = append(out, evaluation)
		}
	}
	return out, problems
}

// parseEvaluation decodes results.json in the shape of the lm-evaluation-harness; about tells whether it has the task.
func parseEvaluation(text []byte, task string) (out Evaluation, about bool, err error) {
	var document struct {
		Results map[string]map[string]json.RawMessage `json:"results"`
		Configs map[string]map[string]any             `json:"configs"`
	}
	if json.Unmarshal(text, &document) != nil || document.Results == nil {
		return out, false, errors.New("is not the results of an evaluation: remove it, or evaluate again")
	}
	entry, about := document.Results[task]
	if !about {
		return out, false, nil
	}
	var problems, samples *int // null is not a number, though it decodes
	if json.Unmarshal(entry["n"], &problems) != nil || json.Unmarshal(entry["samples"], &samples) != nil ||
		problems == nil || samples == nil || *problems < 1 || *samples < 0 {
		return out, true, fmt.Errorf("%s: n and samples are not counts of problems and responses", clean(task, 64))
	}
	out.Problems, out.Samples = *problems, *samples
	out.Scores = map[string]float64{}
	for name, raw := range entry {
		if scoreRank(name) < 0 {
			continue
		}
		var v *float64
		if json.Unmarshal(raw, &v) != nil || v == nil || name != orm && (*v < 0 || *v > 1) {
			return out, true, fmt.Errorf("%s: %s is %.20s: want a share from 0 to 1", clean(task, 64), clean(name, 20), raw)
		}
		out.Scores[name] = *v
	}
	out.Settings = settingsKey(document.Configs[task], out)
	return out, true, nil
}

// settingsKey names what decides how good answers are, less the model, and less the seed, which is a repetition.
func settingsKey(config map[string]any, e Evaluation) string {
	parts := []string{fmt.Sprintf("%d problems", e.Problems), fmt.Sprintf("%d samples", e.Samples)}
	var rest []string
	for name, value := range config {
		switch name {
		case "model", "seed", "task", "problems", "samples":
		default:
			rest = append(rest, clean(strings.ReplaceAll(name, "_", " ")+" "+fmt.Sprint(value), 100))
		}
	}
	slices.Sort(rest)
	return strings.Join(append(parts, rest...), ", ")
}

// orm is the mean reward, the one score that is not a share.
const orm = "orm"

// scoreRank orders the scores as they are shown; −1 is none. maj@16 and maj@8 have the same rank.
func scoreRank(name string) int {
	kind, samples, many := strings.Cut(name, "@")
	if many {
		if n, err := strconv.Atoi(samples); err != nil || n < 1 {
			return -1
		}
		return slices.Index([]string{"", "pass", "", "maj", "rm"}, kind)
	}
	if name == "" {
		return -1
	}
	return slices.Index([]string{"greedy", "", "correct_ratio", "", "", orm}, name)
}
