package metric

import (
	"fmt"
	"math"
	"strings"
)

// A Judge reads answers out of responses and compares them.
type Judge interface {
	// Extract returns the answer that a response gives, and whether it gives one.
	Extract(response string) (string, bool)
	// ExtractTail is Extract on the end of the response, for votes.
	ExtractTail(response string) (string, bool)
	// Equal reports whether two answers are the same.
	Equal(a, b string) bool
}

// MaxResponses is how many responses to a problem there can be. A vote compares each with every cluster, so its time grows with their square.
const MaxResponses = 1024

// Problem is a problem with the responses to it. What is optional must be there for all problems or for none.
type Problem struct {
	ID      string
	Problem string // the text that was asked
	Answer  string // the gold answer
	// Greedy is the response at temperature 0; nil: none was made.
	Greedy *string
	// Responses are the sampled ones, at least one and at most MaxResponses, as many as to every other problem.
	Responses []string
	// Rewards has a finite number for each of Responses; nil: there are none.
	Rewards []float64
	// Loss is that of the reference response; nil: it was not measured.
	Loss *Loss
}

// Loss is the cross-entropy of a text.
type Loss struct {
	Nats   float64 `json:"nats"` // summed over its tokens
	Tokens int64   `json:"tokens"`
}

// fieldError says what is wrong with a field of a problem and what to do.
type fieldError struct{ field, reason, remedy string }

func (e *fieldError) Error() string {
	return fmt.Sprintf("field %q %s: %s", e.field, e.reason, e.remedy)
}

// maxReward bounds rewards so that sums of them stay finite.
const maxReward = 1e100

// checker looks at problems one after the other.
type checker struct {
	unit  string         // in which places are counted: line or problem
	seen  map[string]int // place by id
	first shape
	place int // of the first problem
}

// shape is what problems have in common.
type shape struct {
	responses             int
	greedy, rewards, loss bool
}

func shapeOf(p *Problem) shape {
	return shape{len(p.Responses), p.Greedy != nil, p.Rewards != nil, p.Loss != nil}
}

func newChecker(unit string) *checker {
	return &checker{unit: unit, seen: make(map[string]int)}
}

// check returns a *fieldError unless the problem at a place is sound in itself and fits those before it.
func (c *checker) check(p *Problem, place int) error {
	if strings.TrimSpace(p.ID) == "" {
		return &fieldError{"id", "is blank", "give every problem an id of its own"}
	}
	if before, twice := c.seen[p.ID]; twice {
		return &fieldError{
			"id", fmt.Sprintf("%.80q comes twice, first in %s %d", p.ID, c.unit, before),
			"put all responses to a problem into one line and give every problem an id of its own",
		}
	}
	if strings.TrimSpace(p.Answer) == "" {
		return &fieldError{"answer", "is blank, and no response could be right", "give the gold answer, or leave the problem out"}
	}
	if len(p.Responses) == 0 {
		return &fieldError{"responses", "is empty", "give at least one response"}
	}
	if n := len(p.Responses); n > MaxResponses {
		return &fieldError{"responses", fmt.Sprintf("has %d entries", n), fmt.Sprintf("give at most %d responses to a problem", MaxResponses)}
	}
	if err := checkRewards(p); err != nil {
		return err
	}
	if l := p.Loss; l != nil && (!(l.Nats >= 0 && l.Nats <= maxReward) || l.Tokens < 1) { // NaN fails every comparison
		return &fieldError{"loss", fmt.Sprintf("is %v nats over %d tokens", l.Nats, l.Tokens), "give a finite loss, 0 or more, over at least one token"}
	}
	if len(c.seen) == 0 {
		c.first, c.place = shapeOf(p), place
	} else if err := c.compare(shapeOf(p)); err != nil {
		return err
	}
	c.seen[p.ID] = place
	return nil
}

func checkRewards(p *Problem) error {
	if p.Rewards == nil {
		return nil
	}
	if len(p.Rewards) != len(p.Responses) {
		return &fieldError{"rewards", fmt.Sprintf("has %d entries for %d responses", len(p.Rewards), len(p.Responses)), "give one reward to each response"}
	}
	for i, r := range p.Rewards {
		field := fmt.Sprintf("rewards[%d]", i)
		const remedy = "give finite numbers, or leave rewards out everywhere"
		switch {
		case math.IsNaN(r):
			return &fieldError{field, "is NaN", remedy}
		case math.IsInf(r, 0):
			return &fieldError{field, fmt.Sprintf("is infinite (%v)", r), remedy}
		case math.Abs(r) > maxReward:
			return &fieldError{field, fmt.Sprintf("is %v, beyond %v", r, maxReward), remedy}
		}
	}
	return nil
}

// compare refuses a problem of another shape than the first: metrics over a part of the problems would say nothing of all.
func (c *checker) compare(s shape) error {
	if n, want := s.responses, c.first.responses; n != want {
		return &fieldError{
			"responses", fmt.Sprintf("has %d entries, and %s %d has %d", n, c.unit, c.place, want),
			"give every problem the same number of responses",
		}
	}
	for _, optional := range []struct {
		field      string
		has, wants bool
	}{
		{"greedy", s.greedy, c.first.greedy},
		{"rewards", s.rewards, c.first.rewards},
		{"loss", s.loss, c.first.loss},
	} {
		switch {
		case optional.wants && !optional.has:
			return &fieldError{optional.field, fmt.Sprintf("is missing, and %s %d has it", c.unit, c.place), "give it everywhere or nowhere"}
		case optional.has && !optional.wants:
			return &fieldError{optional.field, fmt.Sprintf("is there, and %s %d lacks it", c.unit, c.place), "give it everywhere or nowhere"}
		}
	}
	return nil
}
