package task

import (
	"slices"
	"strings"
)

// dropNoDecision is the filter of pubmedqa.
const dropNoDecision = "a decision that is not yes, no or maybe"

// pubMedInstruction begins every instruction of pubmedqa.
const pubMedInstruction = "Answer the question with yes, no or maybe, by the abstract of a study."

// loadPubMedQA reads the generated questions to learn from and those that experts answered to test with.
func loadPubMedQA(l *loader) error {
	for i := range l.public.parts {
		test := i == 1
		err := l.each(i, func(r row) error {
			e, reason, err := pubMedQuestion(r)
			switch {
			case err != nil:
				return err
			case reason != "":
				l.drop(reason)
			case test:
				e.ID = l.id("pubmedqa-labeled")
				l.test = append(l.test, e)
			default:
				e.ID = l.id("pubmedqa")
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

// pubMedQuestion reads a row; reason is the filter that leaves it out.
func pubMedQuestion(r row) (e Example, reason string, err error) {
	v, err := r.texts("question", "long_answer", "final_decision")
	if err != nil {
		return e, "", err
	}
	structure, err := r.value("context")
	if err != nil {
		return e, "", err
	}
	context, ok := structure.(map[string]any)
	if !ok {
		return e, "", r.wrong("context", "is not a structure")
	}
	inner := row{r.Row, r.dataset}
	inner.Values = context
	contexts, err := inner.list("contexts")
	if err != nil {
		return e, "", err
	}
	abstract := strings.Join(contexts, "\n")
	if v[0] == "" || v[1] == "" || abstract == "" {
		return e, dropEmpty, nil
	}
	if !slices.Contains([]string{"yes", "no", "maybe"}, v[2]) {
		return e, dropNoDecision, nil
	}
	return Example{
		Instruction: pubMedInstruction + "\nQuestion: " + v[0] + "\nAbstract: " + abstract,
		Response:    v[1] + " Therefore, the answer is " + v[2] + ".", Answer: v[2], Source: r.dataset,
	}, "", nil
}
