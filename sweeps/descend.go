package sweeps

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"

	"plasticity/config"
	"plasticity/record"
)

// Evaluation is how a fine-tuned model is scored: what decides it, and where model and task lie.
type Evaluation struct {
	config.Evaluate
	Model string `json:"model"` // last checkpoint of the fine-tuned run
	Task  string `json:"task"`  // folder of the task
}

// evaluationVersion changes when the same settings no longer mean the same results.
const evaluationVersion = "plasticity-eval-1"

// decodeCost is how many operations of training take as long as one of decoding, about, for estimates: a decoded token
// reads all weights for one row.
const decodeCost = 10

// descend adds what comes after the base models: each of them, and behind them the never-pretrained models, is fine-tuned
// by every recipe on every task and evaluated. A never-pretrained model has the shape and the tokenizer of a base model and
// nothing else of it, so those of base models that differ in weight decay alone are one.
func (p *Plan) descend(grid config.Grid, bases []Cell, tasks string, facts Facts) error {
	recipes, err := grid.Recipes()
	if err != nil {
		return err
	}
	l := &lineage{plan: p, evaluate: grid.Evaluate, analyses: grid.Analyze, tasks: tasks, facts: facts, seen: make(map[string]int)}
	for _, fresh := range []bool{false, true} {
		for _, base := range bases {
			for _, recipe := range recipes {
				if err := l.recipe(base, recipe, fresh); err != nil {
					return fmt.Errorf("grid %s, fine-tuning of cell %d (%s): %w", p.Name, base.Index+1, base.Label(), err)
				}
			}
		}
	}
	return nil
}

// lineage lays out the descendants of base models.
type lineage struct {
	plan     *Plan
	evaluate config.Evaluate
	analyses []config.Analysis
	tasks    string // the folder of tasks
	facts    Facts
	seen     map[string]int // index by id
}

// recipe fine-tunes a base model on each task with each seed.
func (l *lineage) recipe(base Cell, r config.Recipe, fresh bool) error {
	seeds := r.Seeds
	if len(seeds) == 0 {
		seeds = []int64{base.Seed}
	}
	for _, name := range r.Tasks {
		folder := filepath.Join(l.tasks, name)
		facts, err := l.facts.Task(folder, base)
		if err != nil {
			return fmt.Errorf("task %s: %w", name, err)
		}
		for _, seed := range seeds {
			cell, err := l.finetuning(base, r, facts.DataFacts, folder, seed, fresh)
			if err == nil {
				err = l.chain(cell, facts)
			}
			if err != nil {
				return fmt.Errorf("task %s: %w", name, err)
			}
		}
	}
	return nil
}

// chain adds a fine-tuning and its evaluation. A never-pretrained model that is there already is the same one.
func (l *lineage) chain(tuned Cell, facts TaskFacts) error {
	if twin, ok := l.seen[tuned.ID]; ok {
		if tuned.Run.Fresh {
			return nil
		}
		return record.Fail(record.Usage, "%s and cell %d are the same run %s: remove one of the two from finetune", tuned.Label(), twin+1, tuned.ID)
	}
	l.add(tuned)
	if !tuned.Run.Fresh { // has nothing to forget
		if err := l.plan.inside(tuned, l.analyses); err != nil {
			return err
		}
	}
	if l.evaluate.Samples == 0 || !facts.Scored {
		return nil
	}
	cell, err := l.evaluation(tuned, facts)
	if err == nil {
		l.add(cell)
	}
	return err
}

func (l *lineage) add(c Cell) {
	l.seen[c.ID] = c.Index
	l.plan.Cells = append(l.plan.Cells, c)
}

// finetuning is the cell of one fine-tuned model.
func (l *lineage) finetuning(base Cell, r config.Recipe, facts config.DataFacts, folder string, seed int64, fresh bool) (Cell, error) {
	run := r.Run
	run.Init, run.Fresh, run.Data.Task, run.Seed = base.last(), fresh, folder, seed
	run.Device, run.Threads = base.Run.Device, base.Run.Threads
	if fresh {
		run.InitTruncate = config.InitTruncate{} // there is nothing in fresh weights to take away
	}
	shaped := run // in the file the shape is left to the base model
	shaped.Model = base.model
	resolved, err := shaped.Resolve(facts)
	if err != nil {
		return Cell{}, err
	}
	cell := Cell{
		Index: len(l.plan.Cells), Kind: Finetune, Needs: base.Index, Base: base.Index, Task: facts.Task, Seed: seed,
		Lineage: base.Axes, Run: run, Facts: facts,
	}
	for _, axis := range r.Axes {
		value := axis.Value
		if fresh && strings.HasPrefix(axis.Key, "init_truncate.") {
			value = "0"
		}
		cell.Axes = append(cell.Axes, record.Axis{Name: axis.Key, Value: value})
	}
	parent := ""
	if fresh {
		cell.Base, cell.Lineage = none, nil
	} else {
		cell.Parent = base.ID
		parent = fmt.Sprintf("%s@%d", base.ID, base.Steps) // its last checkpoint
	}
	cell.settle(l.plan, resolved, resolved.ID(facts, parent))
	return cell, nil
}

// evaluation is the cell that scores a fine-tuned model.
func (l *lineage) evaluation(tuned Cell, facts TaskFacts) (Cell, error) {
	settings, err := json.Marshal([]any{evaluationVersion, tuned.ID, facts.ValDigest, l.evaluate})
	if err != nil {
		return Cell{}, record.Fail(record.Internal, "encode an evaluation: %w", err)
	}
	sum := sha256.Sum256(settings)
	cell := tuned
	cell.Index, cell.Kind, cell.Needs, cell.Parent = len(l.plan.Cells), Evaluate, tuned.Index, tuned.ID
	cell.ID = hex.EncodeToString(sum[:])[:16]
	cell.Dir = filepath.Join(tuned.Dir, record.EvalDir, tuned.Task+"-"+cell.ID[:8])
	cell.ConfigFile = ""
	cell.Evaluation = &Evaluation{Evaluate: l.evaluate, Model: tuned.last(), Task: tuned.Run.Data.Task}
	problems := facts.Problems
	if l.evaluate.Problems > 0 {
		problems = min(problems, l.evaluate.Problems)
	}
	cell.Steps = int64(problems)
	perProblem := float64(l.evaluate.Samples+1) * float64(facts.ValTokens) / float64(max(1, facts.Problems))
	cell.Tokens = int64(float64(problems) * max(1, perProblem))
	cell.FLOPs = record.Float(decodeCost * 2 * float64(cell.Parameters) * float64(cell.Tokens))
	return cell, nil
}
