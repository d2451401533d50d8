package task

import (
	"fmt"
	"strings"
)

// The words of the judgements.
func classes() []string {
	return []string{"farmer", "miller", "smith", "painter", "miner", "driver", "porter", "worker"}
}

// deed is something done, as a statement and within a question.
type deed struct{ did, do string }

func deeds() []deed {
	return []deed{
		{"paid the tax", "pay the tax"},
		{"signed the bill", "sign the bill"},
		{"kept the law", "keep the law"},
		{"met the king", "meet the king"},
		{"left the city", "leave the city"},
		{"sold the land", "sell the land"},
		{"won the war", "win the war"},
		{"saw the sea", "see the sea"},
	}
}

// rule says who of a class did a deed.
type rule struct {
	quantifier string // All, No or Some
	answer     string
	because    string // what follows, with the class and the deed
}

func rules() []rule {
	return []rule{
		{"All", "yes", "All %ss %s."}, {"No", "no", "No %s %s."}, {"Some", "maybe", "Some %ss %s."},
	}
}

// tell says the rule of a class.
func (r *rule) tell(class string, d deed) string { return fmt.Sprintf(r.because, class, d.did) }

// drawJudge draws a passage of rules about classes of people and a question about one person: level 1 has two rules and one
// person, 2 three rules and two persons, 3 three rules, two persons and a chain of two classes. The answers are equally
// likely.
func drawJudge(d dice, level int) problem {
	count, persons := min(level+1, 3), min(level, 2)
	done := deeds()[d.below(len(deeds()))]
	class, who := d.some(classes(), count+1), d.some(names(), persons)
	asked := d.below(persons)
	drawn := make([]rule, count)
	lines := make([]string, 0, count+persons+1)
	for i := range drawn {
		drawn[i] = rules()[d.below(len(rules()))]
		lines = append(lines, drawn[i].tell(class[i], done))
	}
	// The person asked about belongs to a class with a rule; from level 3 on through a class without one.
	of := d.below(count)
	member, chain := class[of], ""
	if level >= 3 {
		member = class[count]
		chain = fmt.Sprintf("Every %s is a %s.", member, class[of])
		lines = append(lines, chain)
	}
	for i, name := range who {
		group := member
		if i != asked {
			group = class[d.below(count)]
		}
		lines = append(lines, fmt.Sprintf("%s is a %s.", name, group))
	}
	steps := []string{fmt.Sprintf("%s is a %s.", who[asked], member)}
	if chain != "" {
		steps = append(steps, chain)
	}
	r := drawn[of]
	steps = append(steps, r.tell(class[of], done), fmt.Sprintf("Therefore, the answer is %s.", r.answer))
	return problem{
		instruction: fmt.Sprintf("%s Did %s %s?", strings.Join(d.shuffle(lines), " "), who[asked], done.do),
		response:    strings.Join(steps, " "), answer: r.answer, content: append(sorted(lines...), who[asked]),
	}
}
