package metric

import (
	"slices"
	"strings"
)

// Sample says how the responses to one problem were judged.
type Sample struct {
	ID     string `json:"id"`
	Answer string `json:"answer"` // the gold one
	// Extracted has the answer of each response, nil where it has none; Correct whether it is the gold one.
	Extracted []*string `json:"extracted"`
	Correct   []bool    `json:"correct"`
	// Voted is which response stands for the largest cluster, counted from 0.
	Voted int `json:"voted"`
	// Best is which response has the highest reward; nil without rewards.
	Best    *int      `json:"best"`
	Rewards []float64 `json:"rewards"`
	// GreedyExtracted is nil when the greedy response has no answer, GreedyCorrect when there is no such response.
	GreedyExtracted *string `json:"greedy_extracted"`
	GreedyCorrect   *bool   `json:"greedy_correct"`
	Loss            *Loss   `json:"loss,omitempty"`
}

// judgeProblem judges all responses to a problem, which has been checked.
func judgeProblem(p *Problem, judge Judge) Sample {
	s := Sample{
		ID: p.ID, Answer: p.Answer, Rewards: slices.Clone(p.Rewards), Loss: p.Loss,
		Extracted: make([]*string, len(p.Responses)), Correct: make([]bool, len(p.Responses)),
	}
	for i, response := range p.Responses {
		s.Extracted[i], s.Correct[i] = judgeResponse(response, p.Answer, judge)
	}
	s.Voted = vote(p.Responses, judge)
	if p.Rewards != nil {
		best := highest(p.Rewards)
		s.Best = &best
	}
	if p.Greedy != nil {
		extracted, correct := judgeResponse(*p.Greedy, p.Answer, judge)
		s.GreedyExtracted, s.GreedyCorrect = extracted, &correct
	}
	return s
}

// judgeResponse returns the answer that a response gives, or nil, and whether it is the gold one.
func judgeResponse(response, gold string, judge Judge) (extracted *string, correct bool) {
	answer, ok := judge.Extract(response)
	if !ok {
		return nil, false
	}
	answer = strings.Clone(answer) // a part of the response would keep all of it in memory
	return &answer, judge.Equal(answer, gold)
}

// vote returns which response stands for the largest cluster of equal answers: its first member. Of several the cluster
// that was made first wins. A response without an answer is a cluster of its own.
func vote(responses []string, judge Judge) int {
	type cluster struct {
		first, size int
		answer      string
		answered    bool
	}
	var clusters []cluster
	joined := make(map[string]int) // where answers went: the same text again need not be compared
	for i, response := range responses {
		answer, ok := judge.ExtractTail(response)
		at, again := joined[answer]
		if !ok || !again {
			at = slices.IndexFunc(clusters, func(c cluster) bool { return ok && c.answered && judge.Equal(answer, c.answer) })
		}
		if at < 0 {
			at = len(clusters)
			clusters = append(clusters, cluster{first: i, answer: answer, answered: ok})
		}
		clusters[at].size++
		if ok && judge.Equal(answer, answer) { // not so for what is no answer of the kind
			joined[answer] = at
		}
	}
	largest := clusters[0]
	for _, c := range clusters[1:] {
		if c.size > largest.size {
			largest = c
		}
	}
	return largest.first
}

// highest returns where the first of the highest values is.
func highest(values []float64) int {
	at := 0
	for i, v := range values {
		if v > values[at] {
			at = i
		}
	}
	return at
}
