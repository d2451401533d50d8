package task

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
)

// Numbers of examples of a family when the user does not say.
const (
	DefaultTrain = 4000
	DefaultTest  = 400
)

// testShare is the part of a family's problems that can be test examples: one in so many.
const testShare = 4

// goSource is the family of texts.
const goSource = "gosource"

// Family describes a synthetic task.
type Family struct {
	Name        string
	Description string
	Kind        string
	Levels      int // of difficulty, from 1 on
	draw        func(d dice, level int) problem
}

// problem is what a family draws: an example and what makes it the same problem as another, however it is put.
type problem struct {
	instruction, response, answer string
	content                       []string // in an order that does not depend on how the problem is put
}

// Families lists the synthetic tasks, by the task of the paper that each has the shape of.
func Families() []Family {
	return []Family{
		{"arithmetic", "sums of two to four numbers, digit by digit with carries", Math, 3, drawArithmetic},
		{"wordproblem", "stories with two or three steps of arithmetic", Math, 3, drawStory},
		{"choice4", "four options: who has what after some trades", Letter, 3, drawChoice4},
		{"choice10", "ten options: what somebody has after some trades", Letter, 3, drawChoice10},
		{"judge", "yes, no or maybe by what a short passage says of all, none or some", Word, 3, drawJudge},
		{"reading", "a short passage, a question and four options: the text of the answer, then its letter", Letter, 3, drawReading},
		{goSource, "program text of the Go distribution, without instructions", Text, 3, nil},
	}
}

// family returns the family of a name.
func family(name string) (Family, error) {
	for _, f := range Families() {
		if f.Name == name {
			return f, nil
		}
	}
	return Family{}, usage("task %.80q: not known; families are %s; made of public data are %s", name,
		strings.Join(familyNames(), ", "), strings.Join(PublicTasks(), ", "))
}

// familyNames lists the names of the families.
func familyNames() []string {
	var names []string
	for _, f := range Families() {
		names = append(names, f.Name)
	}
	return names
}

// checkLevels returns the levels to make, in ascending order: those asked for, or those that fit a context of 128 tokens.
func (f *Family) checkLevels(levels []int) ([]int, error) {
	switch {
	case len(levels) == 0 && f.draw == nil:
		return []int{1}, nil
	case len(levels) == 0:
		return []int{1, 2}, nil
	}
	levels = slices.Clone(levels)
	slices.Sort(levels)
	levels = slices.Compact(levels)
	for _, level := range levels {
		if level < 1 || level > f.Levels {
			return nil, usage("task %s: level %d: want 1 to %d", f.Name, level, f.Levels)
		}
	}
	return levels, nil
}

// Generate makes the examples of a synthetic family, as many of each level; train or test 0 means DefaultTrain or
// DefaultTest. Equal arguments make equal examples on every machine. No problem comes twice, and which side one is on
// depends on the problem alone: see the package comment. Errors are Failures.
func Generate(name string, seed int64, train, test int, levels []int) (*Task, error) {
	f, err := family(name)
	if err != nil {
		return nil, err
	}
	if f.draw == nil {
		return nil, usage("task %s: made of texts on this machine, not of a seed alone: use Make", name)
	}
	if levels, err = f.checkLevels(levels); err != nil {
		return nil, err
	}
	if train == 0 {
		train = DefaultTrain
	}
	if test == 0 {
		test = DefaultTest
	}
	g := generator{family: &f, seed: seed, seen: make(map[[32]byte]bool)}
	t := &Task{Name: name, Kind: f.Kind, Seed: seed}
	if t.Test, err = g.side(test, levels, true); err != nil {
		return nil, err
	}
	if t.Train, err = g.side(train, levels, false); err != nil {
		return nil, err
	}
	return t, nil
}

// generator makes the examples of one task.
type generator struct {
	family *Family
	seed   int64
	seen   map[[32]byte]bool // problems that were made
}

// side makes n examples, the levels in turn.
func (g *generator) side(n int, levels []int, test bool) ([]Example, error) {
	name := sideName(test)
	d := newDice(g.seed, g.family.Name+" "+name)
	examples := make([]Example, 0, n)
	for i := range n {
		level := levels[i%len(levels)]
		p, ok := g.fresh(d, level, test)
		if !ok {
			return nil, usage("task %s: level %d has not enough different problems for %d %s examples: ask for fewer, or for more levels",
				g.family.Name, level, n, name)
		}
		examples = append(examples, Example{
			ID: fmt.Sprintf("%s-%s-%06d", g.family.Name, name, i), Instruction: p.instruction, Response: p.response, Answer: p.answer,
			Level: fmt.Sprint(level), Source: g.family.Name,
		})
	}
	return examples, nil
}

// fresh draws a problem of a side that was not made before; ok is false when that seems to be impossible.
func (g *generator) fresh(d dice, level int, test bool) (p problem, ok bool) {
	const tries = 1000
	for range tries {
		p := g.family.draw(d, level)
		id := p.identity(g.family.Name)
		if isTest(id) == test && !g.seen[id] {
			g.seen[id] = true
			return p, true
		}
	}
	return problem{}, false
}

// identity returns a digest that problems have in common which are the same.
func (p *problem) identity(family string) [32]byte {
	return sha256.Sum256([]byte(family + "\n" + strings.Join(p.content, "\n")))
}

// isTest says on which side a problem is.
func isTest(identity [32]byte) bool { return identity[0]%testShare == 0 }

// sideName returns the name of a side.
func sideName(test bool) string {
	if test {
		return "test"
	}
	return "train"
}

// sorted returns the words in alphabetical order.
func sorted(words ...string) []string {
	words = slices.Clone(words)
	slices.Sort(words)
	return words
}
