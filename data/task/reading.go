package task

import (
	"fmt"
	"slices"
	"strings"
)

// The words of the passages.
func days() []string {
	return []string{"Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"}
}

func places() []string {
	return []string{"mill", "fort", "port", "store", "shop", "farm", "bank", "church", "river", "court", "mine", "town"}
}

// drawReading draws a passage that says where people went on which day, and a question about one of it with four
// options: level 1 has two sentences about one person, 2 three about one, 3 four about two. The response is the text of the
// answer and then its letter.
func drawReading(d dice, level int) problem {
	const listed = 4
	visits := level + 1
	who := d.some(names(), 1+level/3)
	day, place := d.some(days(), visits), d.some(places(), listed)
	lines := make([]string, visits)
	for i := range lines {
		lines[i] = fmt.Sprintf("On %s %s went to the %s.", day[i], who[i%len(who)], place[i])
	}
	asked := d.below(visits)
	words := d.shuffle(place)
	answer := letterOf(slices.Index(words, place[asked]))
	question := fmt.Sprintf("Where did %s go on %s?", who[asked%len(who)], day[asked])
	return problem{
		instruction: fmt.Sprintf("%s %s %s", strings.Join(lines, " "), question, options(words)),
		response:    fmt.Sprintf("%s\nTherefore, the answer is %s.", place[asked], answer), answer: answer,
		content: append(sorted(lines...), question),
	}
}
