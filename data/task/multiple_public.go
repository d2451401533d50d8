package task

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What the harness takes out of texts of HellaSwag, and how it finds the options of MathQA.
var (
	brackets    = regexp.MustCompile(`\[.*?\]`)
	mathOptions = regexp.MustCompile(`[abcd] \) .*?, |e \) .*?$`)
)

// publicChoices lists the multiple-choice tests of public data, each on the split that the lm-evaluation-harness takes.
func publicChoices() []publicMultipleChoice {
	validation, test := regexp.MustCompile(`(?i)[/_.-]val(id|idation)?[/_.-]`), `[/_.-]test[/_.-]`
	return []publicMultipleChoice{
		{"hellaswag", part{
			dataset: "Rowan/hellaswag", match: validation, like: "data/validation-00000-of-00001.parquet or hellaswag_val.jsonl",
		}, true, hellaSwag},
		{"winogrande", part{
			dataset: "allenai/winogrande", match: regexp.MustCompile(`(?i)(winogrande_xl/(.*[/_.-])?validation[/_.-]|/dev\.)`),
			like: "winogrande_xl/validation-00000-of-00001.parquet or dev.jsonl",
		}, false, winoGrande},
		{"piqa", part{dataset: "baber/piqa", match: validation, like: "the file of the validation split, with labels in it"}, true, piqa},
		{"openbookqa", part{
			dataset: "allenai/openbookqa", match: regexp.MustCompile(`(?i)main` + test), like: "main/test-00000-of-00001.parquet or Main/test.jsonl",
		}, true, openBookQA},
		{"arc_easy", part{
			dataset: "allenai/ai2_arc", match: regexp.MustCompile(`(?i)ARC-Easy(/.*)?` + test),
			like: "ARC-Easy/test-00000-of-00001.parquet or ARC-Easy-Test.jsonl",
		}, true, arc},
		{"arc_challenge", part{
			dataset: "allenai/ai2_arc", match: regexp.MustCompile(`(?i)ARC-Challenge(/.*)?` + test),
			like: "ARC-Challenge/test-00000-of-00001.parquet or ARC-Challenge-Test.jsonl",
		}, true, arc},
		{"mathqa", part{dataset: "regisss/math_qa", match: regexp.MustCompile(`(?i)/test[/_.-]`), like: "test.json"}, true, mathQA},
	}
}

// publicChoice returns the test of a name.
func publicChoice(name string) (publicMultipleChoice, bool) {
	for _, p := range publicChoices() {
		if p.name == name {
			return p, true
		}
	}
	return publicMultipleChoice{}, false
}

// delimiter stands between what is asked and a choice, as the harness' target_delimiter.
const delimiter = " "

// asked makes a problem whose choices follow the same context.
func asked(doc map[string]any, context string, choices []string, gold int) MultipleChoice {
	p := MultipleChoice{Doc: doc, Target: gold, Choices: choices, Gold: gold}
	for _, c := range choices {
		p.Pairs = append(p.Pairs, Pair{context, delimiter + c})
	}
	return p
}

// hellaSwag reads a beginning and four endings.
func hellaSwag(r row) (MultipleChoice, error) {
	v, err := r.raws("activity_label", "ctx_a", "ctx_b")
	if err != nil {
		return MultipleChoice{}, err
	}
	endings, err := r.rawList("endings")
	if err != nil {
		return MultipleChoice{}, err
	}
	label, err := r.value("label")
	if err != nil {
		return MultipleChoice{}, err
	}
	gold := slices.Index([]string{"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"}, fmt.Sprint(label))
	if gold < 0 || gold >= len(endings) {
		return MultipleChoice{}, r.wrong("label", fmt.Sprintf("is %.20q, not the place of one of %d endings; only the training and validation sets have labels", fmt.Sprint(label), len(endings)))
	}
	doc := map[string]any{"activity_label": v[0], "ctx_a": v[1], "ctx_b": v[2], "endings": slices.Clone(endings), "label": label}
	for i := range endings {
		endings[i] = unbracketed(endings[i])
	}
	return asked(doc, unbracketed(v[0]+": "+v[1]+" "+capitalized(v[2])), endings, gold), nil
}

// winoGrande reads a sentence with a gap and two words for it. The contexts end with the words; what is compared is how likely
// the rest of the sentence is behind each.
func winoGrande(r row) (MultipleChoice, error) {
	v, err := r.raws("sentence", "option1", "option2", "answer")
	if err != nil {
		return MultipleChoice{}, err
	}
	before, after, ok := strings.Cut(v[0], "_")
	if !ok {
		return MultipleChoice{}, r.wrong("sentence", "has no gap _")
	}
	gold := slices.Index([]string{"1", "2"}, v[3])
	if gold < 0 {
		return MultipleChoice{}, r.wrong("answer", fmt.Sprintf("is %.20q, not 1 or 2; only the training and validation sets have answers", v[3]))
	}
	after = strings.TrimFunc(after, IsSpace)
	p := MultipleChoice{
		Doc:    map[string]any{"sentence": v[0], "option1": v[1], "option2": v[2], "answer": v[3]},
		Target: after, Gold: gold,
	}
	for _, option := range v[1:3] {
		p.Choices = append(p.Choices, before+option)
		p.Pairs = append(p.Pairs, Pair{before + option, delimiter + after})
	}
	return p, nil
}

// piqa reads a goal and two ways to it.
func piqa(r row) (MultipleChoice, error) {
	v, err := r.raws("goal", "sol1", "sol2")
	if err != nil {
		return MultipleChoice{}, err
	}
	gold, err := r.number("label")
	if err != nil {
		return MultipleChoice{}, err
	}
	if gold < 0 || gold > 1 {
		return MultipleChoice{}, r.wrong("label", fmt.Sprintf("is %d, not 0 or 1; only the training and validation sets have labels", gold))
	}
	doc := map[string]any{"goal": v[0], "sol1": v[1], "sol2": v[2], "label": gold}
	return asked(doc, question(v[0]), v[1:], gold), nil
}

// question is the context of most tests.
func question(text string) string { return "Question: " + text + "\nAnswer:" }

// arc reads a question of ARC.
func arc(r row) (MultipleChoice, error) {
	return labelled(r, "question", question)
}

// openBookQA reads a question of OpenBookQA, which the harness sets without words around it.
func openBookQA(r row) (MultipleChoice, error) {
	return labelled(r, "question_stem", func(stem string) string { return stem })
}

// labelled reads a question whose choices have labels. On the hub its text is in a column; as AI2 publishes it, text and
// choices are in a structure "question".
func labelled(r row, column string, context func(text string) string) (MultipleChoice, error) {
	key, err := r.raw("answerKey")
	if err != nil {
		return MultipleChoice{}, err
	}
	inner := r
	if q, ok := r.Values["question"].(map[string]any); ok {
		inner.Values, column = q, "stem"
	}
	stem, err := inner.raw(column)
	if err != nil {
		return MultipleChoice{}, err
	}
	texts, labels, err := inner.choices("choices")
	if err != nil {
		return MultipleChoice{}, err
	}
	gold := slices.Index(labels, strings.TrimLeftFunc(key, IsSpace))
	if gold < 0 {
		return MultipleChoice{}, r.wrong("answerKey", fmt.Sprintf("is %.20q, not one of the labels %.80q", key, labels))
	}
	doc := map[string]any{column: stem, "choices": map[string]any{"text": texts, "label": labels}, "answerKey": key}
	return asked(doc, context(stem), texts, gold), nil
}

// mathQA reads a question of MathQA, whose options are in one text.
func mathQA(r row) (MultipleChoice, error) {
	v, err := r.raws("Problem", "options", "correct")
	if err != nil {
		return MultipleChoice{}, err
	}
	gold := slices.Index([]string{"a", "b", "c", "d", "e"}, v[2])
	if gold < 0 {
		return MultipleChoice{}, r.wrong("correct", fmt.Sprintf("is %.20q, not a letter from a to e", v[2]))
	}
	var choices []string
	for _, option := range mathOptions.FindAllString(v[1], -1) {
		choices = append(choices, strings.TrimRight(option[len("a ) "):], " ,"))
	}
	if len(choices) == 0 {
		return MultipleChoice{}, r.wrong("options", `has no options such as "a ) 1 , b ) 2"`)
	}
	target := gold
	if gold >= len(choices) { // an option could not be read, which makes the problem a wrong one
		gold = -1
	}
	p := asked(map[string]any{"Problem": v[0], "options": v[1], "correct": v[2]}, question(v[0]), choices, gold)
	p.Target = target
	return p, nil
}

// unbracketed removes what WikiHow left in texts of HellaSwag, as the harness does.
func unbracketed(text string) string {
	text = strings.ReplaceAll(strings.TrimFunc(text, IsSpace), " [title]", ". ")
	text = brackets.ReplaceAllString(text, "")
	return strings.ReplaceAll(text, "  ", " ")
}

// capitalized makes the first character large and all others small, as Python's str.capitalize; characters whose case mapping
// depends on their neighbours or has another length, of which the English test sets have none, are mapped one by one.
func capitalized(s string) string {
	first, size := utf8.DecodeRuneInString(s)
	if size == 0 {
		return ""
	}
	return string(unicode.ToTitle(first)) + strings.ToLower(s[size:])
}

// IsSpace reports whether Python's str.strip takes a character for white space.
func IsSpace(r rune) bool { return unicode.IsSpace(r) || (r >= 0x1c && r <= 0x1f) }

// raw returns a column that must have text, as it stands.
func (r row) raw(column string) (string, error) {
	v, err := r.value(column)
	if err != nil {
		return "", err
	}
	s, ok := v.(string)
	switch {
	case !ok:
		return "", r.wrong(column, "is not text")
	case !utf8.ValidString(s):
		return "", r.wrong(column, "is not UTF-8")
	}
	return s, nil
}

// raws returns columns that must have text.
func (r row) raws(columns ...string) ([]string, error) {
	values := make([]string, len(columns))
	for i, column := range columns {
		var err error
		if values[i], err = r.raw(column); err != nil {
			return nil, err
		}
	}
	return values, nil
}

// rawList returns a column that must have a list of one or more texts.
func (r row) rawList(column string) ([]string, error) {
	v, err := r.value(column)
	if err != nil {
		return nil, err
	}
	items, ok := v.([]any)
	if !ok || len(items) == 0 {
		return nil, r.wrong(column, "is not a list of texts")
	}
	texts := make([]string, len(items))
	for i, item := range items {
		if texts[i], ok = item.(string); !ok || !utf8.ValidString(texts[i]) {
			return nil, r.wrong(column, "is not a list of texts")
		}
	}
	return texts, nil
}

// choices returns a column with choices and their labels: a structure of two lists, or a list of structures.
func (r row) choices(column string) (texts, labels []string, err error) {
	v, err := r.value(column)
	if err != nil {
		return nil, nil, err
	}
	inner := r
	switch v := v.(type) {
	case map[string]any:
		inner.Values = v
		if texts, err = inner.rawList("text"); err != nil {
			return nil, nil, err
		}
		if labels, err = inner.rawList("label"); err != nil {
			return nil, nil, err
		}
	case []any:
		for _, item := range v {
			if inner.Values, _ = item.(map[string]any); inner.Values == nil {
				return nil, nil, r.wrong(column, "has an item without text and label")
			}
			pair, err := inner.raws("text", "label")
			if err != nil {
				return nil, nil, err
			}
			texts, labels = append(texts, pair[0]), append(labels, pair[1])
		}
	}
	if len(texts) == 0 || len(texts) != len(labels) {
		return nil, nil, r.wrong(column, "is not choices with a label each")
	}
	return texts, labels, nil
}
