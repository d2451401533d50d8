package eval

import (
	"plasticity/data"
	"plasticity/record"
)

// Judged is an answer to a problem as a verifier learns from it.
type Judged struct {
	Problem int     // its number, from 0; answers to a problem are judged together
	IDs     []int32 // of prompt and response
	Right   bool
}

// Side counts the problems and answers of a part of the data.
type Side struct {
	Problems int `json:"problems"`
	Answers  int `json:"answers"`
	Right    int `json:"right"`
}

// Measured is how well scores tell right answers from wrong ones, on problems that were not learned from.
type Measured struct {
	// AUC is how often a right answer has a higher score than a wrong one, of all pairs.
	AUC Estimate `json:"auc"`
	// AUCWithin is the mean over problems of the same for pairs of answers to one problem, which is what choosing the best of N needs;
	// nil where no problem has both right and wrong answers, of which there are WithBoth.
	AUCWithin *Estimate `json:"auc_within_problem,omitempty"`
	WithBoth  int       `json:"held_out_problems_with_both"`
}

// holding keeps the draw of problems to hold out apart from the orders that the same seed gives training.
const holding = -1

// Split divides judged answers: those to one of four problems are held out, drawn by a seed, since a task's problems may come in a rhythm
// of difficulty. The error is BadData unless both parts have right and wrong answers.
func Split(answers []Judged, seed int64) (train, held []Judged, err error) {
	problems := 0
	for _, a := range answers {
		problems = max(problems, a.Problem+1)
	}
	order := data.NewPermutation(int64(problems), seed, holding)
	for _, a := range answers {
		if order.At(int64(a.Problem)) < int64(problems/4) {
			held = append(held, a)
		} else {
			train = append(train, a)
		}
	}
	if err := SideOf(train).both("to learn from"); err != nil {
		return nil, nil, err
	}
	return train, held, SideOf(held).both("held out")
}

// SideOf counts.
func SideOf(answers []Judged) Side {
	s := Side{Answers: len(answers)}
	problems := map[int]bool{}
	for _, a := range answers {
		problems[a.Problem] = true
		if a.Right {
			s.Right++
		}
	}
	s.Problems = len(problems)
	return s
}

// both refuses answers that are all right or all wrong.
func (s Side) both(which string) error {
	remedy := "fine-tune the model further, or give more --problems or --samples"
	switch {
	case s.Right > 0 && s.Right < s.Answers:
		return nil
	case s.Right > 0:
		remedy = "give more --problems or --samples, a higher --temperature, or a task that the model has not learned by heart"
	}
	return record.Fail(record.BadData, "%d of the %d answers %s (%d problems) are right, and a verifier learns to tell right from wrong ones: %s",
		s.Right, s.Answers, which, s.Problems, remedy)
}
