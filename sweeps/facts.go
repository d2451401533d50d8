package sweeps

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"plasticity/config"
	"plasticity/data"
	"plasticity/data/task"
	"plasticity/record"
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

// Absent are the folders of data that a forecast did without, in the order in which they were asked for.
type Absent struct{ Folders []string }

func (a *Absent) add(folder string) {
	if !slices.Contains(a.Folders, folder) {
		a.Folders = append(a.Folders, folder)
	}
}

// ForecastFacts is ReadFacts for plans that train nothing: where data is not there it goes by what the configuration says (the vocabulary),
// by task.KnownSize, and by responses as long as evaluate allows, and notes the folder. In place of a digest such facts have the folder, which
// tells runs apart and makes no id. Data that is there but damaged is an error all the same.
func ForecastFacts(evaluate config.Evaluate) (Facts, *Absent) {
	absent := &Absent{}
	text, tasks := readText(), readTask()
	return Facts{
		Text: func(run config.Run) (config.DataFacts, error) {
			there := true
			for _, folder := range []string{run.Data.Train, run.Data.Val} {
				if folder != "" && missing(filepath.Join(folder, data.ManifestFile)) {
					absent.add(folder)
					there = false
				}
			}
			if there {
				return text(run)
			}
			return config.DataFacts{Vocab: run.Model.Vocab, TrainDigest: absentPrefix + run.Data.Train, ValDigest: absentPrefix + run.Data.Val}, nil
		},
		Task: func(folder string, base Cell) (TaskFacts, error) {
			gone := missing(filepath.Join(folder, task.ManifestFile))
			if gone {
				absent.add(folder)
			}
			if !gone && !rests(base.Facts) {
				return tasks(folder, base)
			}
			size, err := sizeOf(folder, gone)
			if err != nil {
				return TaskFacts{}, err
			}
			length := base.model.Context
			if evaluate.MaxTokens > 0 {
				length = min(length, evaluate.MaxTokens)
			}
			facts := config.DataFacts{
				Vocab: base.model.Vocab, Examples: int64(size.Train), ValTokens: int64(size.Test) * int64(length), Task: filepath.Base(folder),
				TrainDigest: absentPrefix + folder, ValDigest: absentPrefix + folder,
			}
			return TaskFacts{DataFacts: facts, Problems: size.Test, Scored: size.Kind != task.Text}, nil
		},
	}, absent
}

// absentPrefix stands before the folder in place of a digest.
const absentPrefix = "absent "

// rests tells whether facts rest on data that is not there.
func rests(facts config.DataFacts) bool { return strings.HasPrefix(facts.TrainDigest, absentPrefix) }

// missing tells whether there is no such file.
func missing(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, fs.ErrNotExist)
}

// sizeOf counts the examples of a task without a tokenizer, or, when it is gone, knows it by the name of its folder.
func sizeOf(folder string, gone bool) (task.Size, error) {
	if !gone {
		set, err := task.Open(folder)
		if err != nil {
			return task.Size{}, err
		}
		return task.Size{Train: len(set.Train()), Test: len(set.Test()), Kind: set.Kind()}, nil
	}
	size, ok := task.KnownSize(filepath.Base(folder))
	if !ok {
		return size, record.Fail(record.BadData, "%s: is not there, and no task of this name is known: make it with `plasticity data task`", folder)
	}
	return size, nil
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
