package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"

	"plasticity/cmd/internal/request"
	"plasticity/data"
	"plasticity/eval"
	"plasticity/eval/metric"
	"plasticity/model"
	"plasticity/record"
	"plasticity/trainer"
)

// rewarding is the reward model of an evaluation; the zero value stands for none.
type rewarding struct {
	source    model.RewardSource
	tokenizer *data.Tokenizer
	identity  string
}

// openRewarding looks at all of a reward model, so that a damaged one is refused before anything is written.
func openRewarding(r request.EvalTask) (rewarding, error) {
	if r.Reward == "" {
		return rewarding{}, nil
	}
	source, err := model.LocateReward(r.Reward)
	if err != nil {
		return rewarding{}, err
	}
	tokenizer, err := source.Tokenizer()
	if err != nil {
		return rewarding{}, err
	}
	whole, err := source.Open(1)
	if err != nil {
		return rewarding{}, err
	}
	whole.Close()
	identity, err := trainer.FolderIdentity(r.Reward)
	return rewarding{source, tokenizer, identity}, err
}

// rewards is a line of rewardsFile.
type rewards struct {
	ID      string    `json:"id"`
	Rewards []float64 `json:"rewards"` // one to each of the responses
}

// reward gives the responses that have none a reward, in the order of the test set, and puts all of them into the problems.
func (a *answering) reward(ctx context.Context, problems []metric.Problem) error {
	path := filepath.Join(a.request.Out, rewardsFile)
	journal, err := record.OpenJournalOf(record.OS(), path, metric.MaxLine) // a torn last line is cut off
	if err != nil {
		return err
	}
	defer journal.Close() //nolint:errcheck // what was appended is on the disk
	had, err := readRewards(path, problems)
	if err != nil {
		return err
	}
	longest := a.longest(problems)
	if known := a.rewarding.source.Config.Context; longest > known && !a.request.Quiet {
		fmt.Fprintf(a.streams.errs, "the longest text has %d tokens, and the reward model was made for %d: its rewards beyond are a guess\n", longest, known)
	}
	loaded, err := a.rewarding.source.Open(longest)
	if err != nil {
		return err
	}
	rewarder, err := eval.NewRewarder(loaded, a.rewarding.source.Pad, compute(a.request.Threads))
	if err != nil {
		return err
	}
	defer rewarder.Close()
	fellBack(a.streams, a.request.Quiet, rewarder.Fallback())
	samples := a.request.Samples
	progress := a.streams.counter(a.request.Quiet, "rewarded %d of %d problems", had, len(problems))
	defer progress.end()
	for had < len(problems) {
		scores, err := rewarder.Score(ctx, a.texts(problems, had, min(had+rewardedAtOnce, len(problems))))
		if err != nil {
			return err
		}
		for own := range slices.Chunk(scores, samples) {
			problems[had].Rewards = own
			if err := journal.Append(rewards{problems[had].ID, own}); err != nil {
				return err
			}
			had++
		}
		progress.show(had)
	}
	return nil
}

// rewardedAtOnce is how many problems are rewarded before their rewards are written.
const rewardedAtOnce = 64

// texts are the tokens of the prompts from first to before end with each of their responses, problem by problem.
func (a *answering) texts(problems []metric.Problem, first, end int) [][]int32 {
	var texts [][]int32
	for i := first; i < end; i++ {
		for _, response := range problems[i].Responses {
			texts = append(texts, eval.AnswerTokens(a.rewarding.tokenizer, a.set.Test()[i], response))
		}
	}
	return texts
}

// longest is how many tokens the longest text has. The texts of all problems at once may need more memory than the model.
func (a *answering) longest(problems []metric.Problem) int {
	longest := 0
	for i := range problems {
		for _, ids := range a.texts(problems, i, i+1) {
			longest = max(longest, len(ids))
		}
	}
	return longest
}

// readRewards puts the rewards that are there into the problems, whose order they have, and says how many have theirs.
func readRewards(path string, problems []metric.Problem) (had int, err error) {
	err = readJournal(path, func(i int, r rewards) error {
		if i == len(problems) || r.ID != problems[i].ID || len(r.Rewards) != len(problems[i].Responses) {
			return fmt.Errorf("are not the rewards of the responses in line %d of %s", i+1, responsesFile)
		}
		problems[i].Rewards = r.Rewards
		had++
		return nil
	})
	return had, err
}
