package task

import (
	"strings"

	"plasticity/data"
)

// The kinds of answers.
const (
	Math   = "math"   // a number or an expression, compared by value
	Letter = "letter" // the letter of an option, from A on
	Word   = "word"   // one word, such as yes, no or maybe
	Text   = ""       // none: a text to be learned
)

// Example is one exercise.
type Example struct {
	ID          string `json:"id"`          // unique in the task
	Instruction string `json:"instruction"` // empty for a text without a template
	Response    string `json:"response"`    // worked steps, with the answer at the end
	Answer      string `json:"answer"`      // the gold answer; may be empty in training sets
	Level       string `json:"level"`       // of difficulty, or the test set it is from; may be empty
	Source      string `json:"source"`      // the data set or family it is from
}

// template is the name of what Prompt makes. It is in every digest, because other words around an example are another task.
const template = "human-assistant-1"

// Prompt returns the text before the response; empty for a text without an instruction.
func Prompt(e Example) string {
	if e.Instruction == "" {
		return ""
	}
	return "Human: " + e.Instruction + "\nAssistant:"
}

// Response returns the text that the loss is over, without the end of text.
func Response(e Example) string { return e.Response }

// Encode returns the tokens of an example: prompt, response and the end of text. ids[responseStart:] are those that the
// loss is over; the first token of all has nothing before it, so where responseStart is 0 the loss begins at 1. No more
// than maxTokens are returned: a response that goes beyond is cut and has no end of text. A prompt without room for a
// token behind it is a Failure with BadData that names the example.
func Encode(tok *data.Tokenizer, e Example, maxTokens int) (ids []int32, responseStart int, err error) {
	eos, ok := tok.EOS()
	if !ok {
		return nil, 0, bad("the tokenizer has no end of text: put a tokenizer_config.json with eos_token beside it")
	}
	ids = tok.Encode(Prompt(e))
	responseStart = len(ids)
	if responseStart >= maxTokens {
		return nil, 0, bad("example %.80q: its prompt has %d tokens, which leaves no room for a response in a context of %d: "+
			"use a model with a longer context, or leave the example out", e.ID, responseStart, maxTokens)
	}
	ids = append(append(ids, tok.Encode(Response(e))...), eos)
	return ids[:min(len(ids), maxTokens)], responseStart, nil
}

// key returns what tells examples of the two sides apart: the instruction, or the text where there is none, in lower
// case with single spaces.
func key(e Example) string {
	text := e.Instruction
	if text == "" {
		text = e.Response
	}
	return strings.ToLower(strings.Join(strings.Fields(text), " "))
}

// letterOf returns the letter of option i.
func letterOf(i int) string { return string(rune('A' + i)) }

// check returns what is wrong with an example of a kind: the field and the reason.
func (e *Example) check(kind string, test bool) (field, reason string) {
	switch {
	case e.ID == "" || len(e.ID) > maxID:
		return "id", "must have 1 to 200 bytes"
	case strings.TrimSpace(e.Response) == "":
		return "response", "is empty"
	case kind == Text && e.Instruction != "":
		return "instruction", "must be empty in a task of texts"
	case kind != Text && strings.TrimSpace(e.Instruction) == "":
		return "instruction", "is empty"
	case kind == Text && e.Answer != "":
		return "answer", "must be empty in a task of texts"
	case kind == Math && !test && e.Answer == "":
		return "", "" // a public training set may have rows whose answer cannot be found; only the response is learned
	}
	return "answer", wrongAnswer(kind, e.Answer)
}

// wrongAnswer returns what is wrong with an answer of a kind.
func wrongAnswer(kind, answer string) string {
	switch {
	case kind == Text:
		return ""
	case strings.TrimSpace(answer) == "":
		return "is empty"
	case kind == Letter && (len(answer) != 1 || answer[0] < 'A' || answer[0] > 'Z'):
		return "is not a letter from A to Z"
	case kind == Word && len(strings.Fields(answer)) != 1:
		return "is not one word"
	}
	return ""
}
