package task

import (
	"encoding/json"
	"fmt"
	"html"
	"path/filepath"
	"slices"
	"strings"
)

// Filters of the tasks of choice.
const (
	dropNoLetter = "no letter of an option at the end"
	dropLong     = "6,144 characters or more"
	dropWrong    = "another letter than the gold answer"
	dropTwice    = "a validation question that comes twice"
	dropHeldOut  = "the question is held out for the test"
	dropOptions  = "not four different options with one answer"
)

// heldOutQuestions is how many questions of mmluprocot become test examples.
const heldOutQuestions = 500

// tooLong reports whether instruction and response are longer than the authors keep.
func tooLong(e Example) bool {
	return len([]rune(e.Instruction))+len([]rune(e.Response)) >= maxCharacters
}

// loadMedMCQA reads the questions with generated steps, and the validation set of the original, which is the test here
// because the published test set has no answers.
func loadMedMCQA(l *loader) error {
	err := l.each(0, func(r row) error {
		v, err := r.texts("question", "response")
		if err != nil {
			return err
		}
		if _, after, ok := strings.Cut(v[0], "Question: "); ok {
			v[0] = strings.TrimSpace(after)
		}
		if v[0] == "" || v[1] == "" {
			l.drop(dropEmpty)
			return nil
		}
		steps, letter, ok := letterEnding(v[1], 'D')
		if !ok {
			l.drop(dropNoLetter)
			return nil
		}
		e := Example{Instruction: v[0], Response: withLetter(steps, letter), Answer: letter, Source: r.dataset}
		if tooLong(e) {
			l.drop(dropLong)
			return nil
		}
		e.ID = l.id("medmcqa")
		l.train = append(l.train, e)
		return nil
	})
	if err != nil {
		return err
	}
	return l.each(1, func(r row) error {
		v, err := r.texts("question", "opa", "opb", "opc", "opd")
		if err != nil {
			return err
		}
		cop, err := r.number("cop")
		if err != nil {
			return err
		}
		if cop < 0 || cop > 3 {
			return r.wrong("cop", fmt.Sprintf("is %d, but counts the options from 0 to 3", cop))
		}
		letter := letterOf(cop)
		l.test = append(l.test, Example{
			ID: l.id("medmcqa-validation"), Instruction: v[0] + "\nOptions:\n" + lettered(v[1:]), Response: withLetter("", letter), Answer: letter,
			Source: r.dataset,
		})
		return nil
	})
}

// number returns a column that has a small whole number.
func (r row) number(column string) (int, error) {
	v, err := r.value(column)
	if err != nil {
		return 0, err
	}
	switch n := v.(type) {
	case int32:
		return int(n), nil
	case int64:
		return int(n), nil
	case json.Number:
		if i, err := n.Int64(); err == nil {
			return int(i), nil
		}
	}
	return 0, r.wrong(column, "is not a whole number")
}

// loadMMLUPro reads the generated steps, several a question, and the validation set of the original.
func loadMMLUPro(l *loader) error {
	m := mmlu{l: l, chains: make(map[string][]Example)}
	if err := l.each(0, m.add); err != nil {
		return err
	}
	seen := make(map[string]bool)
	err := l.each(1, func(r row) error {
		e, err := validationQuestion(r)
		if err != nil {
			return err
		}
		if seen[key(e)] {
			l.drop(dropTwice)
			return nil
		}
		seen[key(e)] = true
		e.ID = l.id("mmlu-pro-validation")
		l.test = append(l.test, e)
		return nil
	})
	if err != nil {
		return err
	}
	return m.holdOut()
}

// validationQuestion reads a row of the validation set.
func validationQuestion(r row) (Example, error) {
	v, err := r.texts("question", "answer", "cot_content")
	if err != nil {
		return Example{}, err
	}
	options, err := r.list("options")
	if err != nil {
		return Example{}, err
	}
	if wrongAnswer(Letter, v[1]) != "" || int(v[1][0]-'A') >= len(options) {
		return Example{}, r.wrong("answer", fmt.Sprintf("is %.20q, not the letter of one of %d options", v[1], len(options)))
	}
	steps, letter, ok := letterEnding(strings.TrimPrefix(v[2], "A: "), 'J')
	if !ok || letter != v[1] {
		steps = ""
	}
	return Example{
		Instruction: v[0] + "\n" + lettered(options), Response: withLetter(steps, v[1]), Answer: v[1], Level: "validation", Source: r.dataset,
	}, nil
}

// mmlu groups generated steps by their questions.
type mmlu struct {
	l         *loader
	questions []string             // in the order of the file
	chains    map[string][]Example // right ones, by question
}

// add takes a row in.
func (m *mmlu) add(r row) error {
	v, err := r.texts("question", "answer")
	if err != nil {
		return err
	}
	if _, ok := r.Values["options"]; ok {
		options, err := r.list("options")
		if err != nil {
			return err
		}
		v[0] += "\n" + lettered(options)
	}
	if wrongAnswer(Letter, v[1]) != "" {
		return r.wrong("answer", fmt.Sprintf("is %.20q, not a letter", v[1]))
	}
	chains, parsed, err := r.chains()
	if err != nil {
		return err
	}
	question := Example{Instruction: v[0], Answer: v[1], Source: r.dataset}
	k := key(question)
	if _, ok := m.chains[k]; !ok {
		m.questions = append(m.questions, k)
		m.chains[k] = nil
	}
	for i, chain := range chains {
		e := question
		steps, letter, ok := letterEnding(chain, 'J')
		if i < len(parsed) {
			letter = strings.TrimSpace(parsed[i])
		}
		e.Response = withLetter(steps, e.Answer)
		switch {
		case chain == "" || e.Instruction == "":
			m.l.drop(dropEmpty)
		case !ok:
			m.l.drop(dropNoLetter)
		case letter != e.Answer:
			m.l.drop(dropWrong)
		case tooLong(e):
			m.l.drop(dropLong)
		default:
			m.chains[k] = append(m.chains[k], e)
		}
	}
	return nil
}

// chains returns the generated steps of a row, and the letters that were found in them, if the row has them. A row has one
// chain, as a text or a list of steps, or several, as a list of either; several texts are told from steps by their letters.
func (r row) chains() (chains, parsed []string, err error) {
	for _, column := range []string{"parsed_answers", "parsed_answer"} {
		if list, ok := stringList(r.Values[column]); ok {
			parsed = append(parsed, list...)
		} else if s, ok := r.Values[column].(string); ok {
			parsed = append(parsed, s)
		}
	}
	column := "cots"
	for _, other := range []string{"chain_of_thoughts", "cot"} {
		if _, ok := r.Values[other]; ok {
			column = other
		}
	}
	v, err := r.value(column)
	if err != nil {
		return nil, nil, err
	}
	if s, ok := v.(string); ok {
		return []string{normalize(s)}, parsed, nil
	}
	if steps, ok := stringList(v); ok {
		if len(steps) == len(parsed) && len(parsed) > 1 {
			return steps, parsed, nil
		}
		return []string{strings.Join(steps, "\n")}, parsed, nil
	}
	items, _ := v.([]any)
	for _, item := range items {
		steps, ok := stringList(item)
		if !ok {
			return nil, nil, r.wrong(column, "is neither text nor steps")
		}
		chains = append(chains, strings.Join(steps, "\n"))
	}
	if chains == nil {
		return nil, nil, r.wrong(column, "is neither text nor steps")
	}
	return chains, parsed, nil
}

// holdOut makes test examples of questions drawn by the seed and training examples of all steps of the others.
func (m *mmlu) holdOut() error {
	right := slices.DeleteFunc(slices.Clone(m.questions), func(k string) bool { return len(m.chains[k]) == 0 })
	if len(right) <= m.l.heldOut {
		return bad("data set %s: %d questions with right steps, of which %d are to be held out: the files are not all there",
			m.l.public.parts[0].dataset, len(right), m.l.heldOut)
	}
	held := make(map[string]bool)
	for _, i := range newDice(m.l.o.Seed, "mmluprocot held out").order(len(right))[:m.l.heldOut] {
		held[right[i]] = true
	}
	for _, k := range right {
		for i, e := range m.chains[k] {
			switch {
			case held[k] && i == 0:
				e.ID, e.Level = m.l.id("mmlu-pro-held-out"), "held-out"
				m.l.test = append(m.l.test, e)
			case held[k]:
				m.l.drop(dropHeldOut)
			default:
				e.ID = m.l.id("mmlu-pro")
				m.l.train = append(m.l.train, e)
			}
		}
	}
	return nil
}

// raceInstruction begins every instruction of race.
const raceInstruction = "Read the passage and answer the question with one of the options."

// loadRACE reads both sides of RACE, of high and middle schools.
func loadRACE(l *loader) error {
	for i := range l.public.parts {
		test := i == 1
		err := l.each(i, func(r row) error {
			e, reason, err := raceQuestion(r)
			if err != nil {
				return err
			}
			if reason == "" && !test && tooLong(e) {
				reason = dropLong
			}
			switch {
			case reason != "":
				l.drop(reason)
			case test:
				e.ID = l.id("race-test")
				l.test = append(l.test, e)
			default:
				e.ID = l.id("race")
				l.train = append(l.train, e)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// raceQuestion reads a row; reason is the filter that leaves it out.
func raceQuestion(r row) (e Example, reason string, err error) {
	v, err := r.texts("article", "question", "answer")
	if err != nil {
		return e, "", err
	}
	options, err := r.list("options")
	if err != nil {
		return e, "", err
	}
	for i := range options {
		options[i] = cleaned(options[i])
	}
	article, question, letter := strings.TrimSpace(v[0]), cleaned(v[1]), v[2]
	if article == "" || question == "" {
		return e, dropEmpty, nil
	}
	different := slices.Compact(sorted(options...))
	if len(options) != 4 || len(different) != 4 || different[0] == "" || len(letter) != 1 || letter < "A" || letter > "D" {
		return e, dropOptions, nil
	}
	return Example{
		Instruction: raceInstruction + "\nPassage: " + article + "\nQuestion: " + question + "\n" + lettered(options),
		Response:    options[letter[0]-'A'] + "\nTherefore, the answer is " + letter + ".", Answer: letter,
		Level: raceLevel(r.Path), Source: r.dataset,
	}, "", nil
}

// raceLevel returns the school that a file is for.
func raceLevel(path string) string {
	dir, name := filepath.Split(path)
	if strings.Contains(strings.ToLower(name+" "+filepath.Base(dir)), "middle") {
		return "middle"
	}
	return "high"
}

// cleaned removes what fetching from web pages left in a question or an option: entities, odd spaces, and spaces before
// the full stop.
func cleaned(s string) string {
	s = strings.Join(strings.Fields(strings.ReplaceAll(html.UnescapeString(s), "\u00a0", " ")), " ")
	for _, mark := range []string{".", ",", "?", "!"} {
		s = strings.ReplaceAll(s, " "+mark, mark)
	}
	return strings.TrimSpace(s)
}
