package task

import "fmt"

// The words of stories.
func storyPeople() []string {
	return []string{"A farmer", "A merchant", "A sailor", "A teacher", "A soldier", "A miller", "A smith", "A judge"}
}

func storyThings() []string {
	return []string{"cows", "horses", "sheep", "books", "ships", "chairs", "coins", "letters", "stones", "trees", "tools", "bags"}
}

// change is a step of a story that adds or takes away.
type change struct {
	verb string
	sign int
}

func storyChanges() []change {
	return []change{{"buys", 1}, {"finds", 1}, {"is given", 1}, {"sells", -1}, {"loses", -1}, {"gives away", -1}}
}

// drawStory draws a story about things that somebody has: level 1 adds and takes away below 20, level 2 begins with a
// product, level 3 has numbers below 100 and three steps.
func drawStory(d dice, level int) problem {
	who, what := d.pick(storyPeople()), d.pick(storyThings())
	s := story{d: d, high: 9}
	switch level {
	case 1:
		s.have = d.between(5, 19)
		s.text = fmt.Sprintf("%s has %d %s.", who, s.have, what)
		s.content = fmt.Sprintf("%s %s %d", who, what, s.have)
	case 2:
		rows, each := d.between(2, 9), d.between(2, 9)
		s.have = rows * each
		s.text = fmt.Sprintf("%s has %d rows of %d %s.", who, rows, each, what)
		s.steps = fmt.Sprintf("%d*%d=%d. ", rows, each, s.have)
		s.content = fmt.Sprintf("%s %s %d*%d", who, what, rows, each)
	default:
		s.have, s.high = d.between(30, 99), 29
		s.text = fmt.Sprintf("%s has %d %s.", who, s.have, what)
		s.content = fmt.Sprintf("%s %s %d", who, what, s.have)
	}
	changes := 2
	switch level {
	case 2:
		changes = 1
	case 3:
		changes = 3
	}
	for i := range changes {
		s.change(i == 0)
	}
	return problem{
		instruction: fmt.Sprintf("%s How many %s has he now?", s.text, what),
		response:    fmt.Sprintf("%sThe answer is %d.", s.steps, s.have), answer: fmt.Sprint(s.have), content: []string{s.content},
	}
}

// story is a story as it is told.
type story struct {
	d           dice
	have, high  int
	text, steps string
	content     string
}

// change adds a step that leaves at least one thing.
func (s *story) change(first bool) {
	c := s.d.pickChange(s.have)
	n := s.d.between(2, s.high)
	if c.sign < 0 {
		n = s.d.between(1, min(s.high, s.have-1))
	}
	word := "Then he"
	if first {
		word = "He"
	}
	s.text += fmt.Sprintf(" %s %s %d.", word, c.verb, n)
	operator := "+"
	if c.sign < 0 {
		operator = "-"
	}
	s.steps += fmt.Sprintf("%d%s%d=%d. ", s.have, operator, n, s.have+c.sign*n)
	s.have += c.sign * n
	s.content += fmt.Sprintf(" %s %d", c.verb, n)
}

// pickChange draws a change that is possible for somebody who has so many.
func (d dice) pickChange(have int) change {
	all := storyChanges()
	for {
		c := all[d.below(len(all))]
		if c.sign > 0 || have >= 2 {
			return c
		}
	}
}
