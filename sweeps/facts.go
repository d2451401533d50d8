package sweeps

import (
	"fmt"

	"plasticity/config"
	"plasticity/data"
	"plasticity/data/task"
)

// Facts say what the data of cells are.
type Facts struct {
	// Text describes the prepared text that a run reads.
	Text func(run config.Run) (config.DataFacts, error)
	// Task describes the task in a folder for the models that come from a base cell.
	Task func(folder string, base Cell) (TaskFacts, error)
}

// TaskFacts is what a plan needs to know of a task.
type TaskFacts struct {
	config.DataFacts
	// Problems is the size of the test set, Scored whether its responses have answers that can be right or wrong.
	Problems int
	Scored   bool
}

// ReadFacts opens the data of cells and describes them; each is opened once for a whole grid.
func ReadFacts() Facts { return Facts{Text: readText(), Task: readTask()} }

func readText() func(config.Run) (config.DataFacts, error) {
	type pair struct{ train, val string }
	known := make(map[pair]config.DataFacts)
	return func(run config.Run) (config.DataFacts, error) {
		key := pair{run.Data.Train, run.Data.Val}
		if facts, ok := known[key]; ok {
			return facts, nil
		}
		train, err := data.Open(run.Data.Train)
		if err != nil {
			return config.DataFacts{}, fmt.Errorf("data.train: %w", err)
		}
		facts := config.DataFacts{
			Vocab: train.Vocab(), TrainTokens: train.Tokens(), TrainDigest: train.Digest(),
			TokenizerDigest: train.TokenizerDigest(), Source: train.Source(),
		}
		if run.Data.Val != "" {
			val, err := data.Open(run.Data.Val)
			if err != nil {
				return config.DataFacts{}, fmt.Errorf("data.val: %w", err)
			}
			facts.ValTokens, facts.ValDigest = val.Tokens(), val.Digest()
		}
		known[key] = facts
		return facts, nil
	}
}

func readTask() func(string, Cell) (TaskFacts, error) {
	type reading struct {
		folder, tokenizer string
		context           int
	}
	known := make(map[reading]TaskFacts)
	sets := make(map[string]*task.Set)
	tokenizers := make(map[string]*data.Tokenizer)
	return func(folder string, base Cell) (TaskFacts, error) {
		key := reading{folder, base.Facts.TokenizerDigest, base.model.Context}
		if facts, ok := known[key]; ok {
			return facts, nil
		}
		set, err := cached(sets, folder, task.Open)
		if err != nil {
			return TaskFacts{}, err
		}
		tokenizer, err := cached(tokenizers, base.Run.Data.Train, tokenizerOf)
		if err != nil {
			return TaskFacts{}, err
		}
		corpus, err := set.Encode(tokenizer, base.model.Context)
		if err != nil {
			return TaskFacts{}, err
		}
		facts := TaskFacts{DataFacts: corpus.Facts(), Problems: len(set.Test()), Scored: set.Kind() != task.Text}
		known[key] = facts
		return facts, nil
	}
}

func tokenizerOf(train string) (*data.Tokenizer, error) {
	set, err := data.Open(train)
	if err != nil {
		return nil, err
	}
	return data.LoadTokenizer(set.TokenizerPath())
}

// cached loads a value once for a key.
func cached[V any](known map[string]V, key string, load func(string) (V, error)) (V, error) {
	if v, ok := known[key]; ok {
		return v, nil
	}
	v, err := load(key)
	if err == nil {
		known[key] = v
	}
	return v, err
}
