package task

import (
	"fmt"
	"slices"
	"strings"
)

// The words of the trades, and names for all families: short ones, so that a question fits the context of small models.
func names() []string {
	return []string{"Mary", "Ben", "Tom", "Tim", "Pat", "Ira", "Ian", "Ann", "Sam", "Dan"}
}

func goods() []string {
	return []string{
		"fish", "land", "oil", "tea", "sand", "meat", "tin", "hay", "rice", "ink", "corn", "wool", "iron", "gold", "salt", "wood", "coal",
		"wine", "silk", "lead",
	}
}

// world is who has what; trades change hands.
type world struct {
	people, things []string // things[i] is people[i]'s
}

// tell says who has what at the beginning.
func (w *world) tell() string {
	var s strings.Builder
	for i, who := range w.people {
		fmt.Fprintf(&s, "%s has %s. ", who, w.things[i])
	}
	return s.String()
}

// trade lets two change what they have and says so.
func (w *world) trade(i, j int) string {
	w.things[i], w.things[j] = w.things[j], w.things[i]
	return fmt.Sprintf("%s and %s trade. ", w.people[i], w.people[j])
}

// content tells the world apart from others, in whatever order it is told.
func (w *world) content() []string {
	facts := make([]string, len(w.people))
	for i, who := range w.people {
		facts[i] = who + " " + w.things[i]
	}
	return sorted(facts...)
}

// options puts options into one line: "A corn B wool".
func options(words []string) string {
	parts := make([]string, len(words))
	for i, word := range words {
		parts[i] = letterOf(i) + " " + word
	}
	return strings.Join(parts, " ")
}

// drawWorld draws a world and its trades, level−1 of them. report sees the world at the beginning and after each trade.
func drawWorld(d dice, people, level int, report func(w *world)) (w *world, text string, content []string) {
	w = &world{people: d.some(names(), people), things: d.some(goods(), people)}
	text, content = w.tell(), w.content()
	report(w)
	for range level - 1 {
		i := d.below(people)
		j := (i + 1 + d.below(people-1)) % people
		pair := sorted(w.people[i], w.people[j])
		content = append(content, strings.Join(pair, " and "))
		text += w.trade(i, j)
		report(w)
	}
	return w, text, content
}

// drawChoice4 draws a question with four options: who has a thing after level−1 trades. The response follows the thing
// from hand to hand.
func drawChoice4(d dice, level int) problem {
	const people = 4
	thing, steps := "", ""
	w, text, content := drawWorld(d, people, level, func(w *world) {
		word := "Then "
		if thing == "" {
			thing, word = w.things[d.below(people)], ""
		}
		steps += fmt.Sprintf("%s%s has %s. ", word, w.people[slices.Index(w.things, thing)], thing)
	})
	who := w.people[slices.Index(w.things, thing)]
	listed := d.shuffle(w.people)
	answer := letterOf(slices.Index(listed, who))
	return problem{
		instruction: fmt.Sprintf("%sWho has %s? %s", text, thing, options(listed)),
		response:    fmt.Sprintf("%sThe answer is %s.", steps, answer), answer: answer, content: append(content, thing),
	}
}

// drawChoice10 draws a question with ten options: what somebody has after level−1 trades among three. The response
// follows what he has.
func drawChoice10(d dice, level int) problem {
	const people, listed = 3, 10
	who, steps := -1, ""
	w, text, content := drawWorld(d, people, level, func(w *world) {
		word := "Then "
		if who < 0 {
			who, word = d.below(people), ""
		}
		steps += fmt.Sprintf("%s%s has %s. ", word, w.people[who], w.things[who])
	})
	others := slices.DeleteFunc(goods(), func(thing string) bool { return slices.Contains(w.things, thing) })
	words := d.shuffle(slices.Concat(w.things, d.some(others, listed-people)))
	answer := letterOf(slices.Index(words, w.things[who]))
	return problem{
		instruction: fmt.Sprintf("%sWhat has %s? %s", text, w.people[who], options(words)),
		response:    fmt.Sprintf("%sThe answer is %s.", steps, answer), answer: answer, content: append(content, w.people[who]),
	}
}
