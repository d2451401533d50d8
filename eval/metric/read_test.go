package metric_test

import (
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plasticity/eval/metric"
	"plasticity/record"
)

// readAll returns the problems before the first error, and that error.
func readAll(r io.Reader, ids []string) ([]metric.Problem, error) {
	var problems []metric.Problem
	for p, err := range metric.Read(r, "r.jsonl", ids) {
		if err != nil {
			return problems, err
		}
		problems = append(problems, p)
	}
	return problems, nil
}

func TestRead_TakesAllFields(t *testing.T) {
	t.Parallel()
	const file = `{"id":"a","problem":"1+1?","answer":"2","responses":["so 2",""],"greedy":"2 <b>","rewards":[1,-2.5e3]}` + "\r\n\n  \n" +
		`{ "rewards" : [0,0], "responses":["\u00e9","é"],"answer":"x","problem":"","greedy":"","id":"b" }`
	got, err := readAll(strings.NewReader(file), []string{"b", "a"})
	if err != nil {
		t.Fatal(err)
	}
	want := []metric.Problem{
		{ID: "a", Problem: "1+1?", Answer: "2", Greedy: text("2 <b>"), Responses: []string{"so 2", ""}, Rewards: []float64{1, -2500}},
		{ID: "b", Answer: "x", Greedy: text(""), Responses: []string{"é", "é"}, Rewards: []float64{0, 0}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRead_RandomProblemsComeBack(t *testing.T) {
	t.Parallel()
	want := randomProblems(rand.New(rand.NewPCG(5, 5)), 50, 3)
	var file strings.Builder
	for _, p := range want {
		line, err := json.Marshal(map[string]any{
			"id": p.ID, "problem": p.Problem, "answer": p.Answer, "greedy": p.Greedy, "responses": p.Responses, "rewards": p.Rewards,
		})
		if err != nil {
			t.Fatal(err)
		}
		file.Write(append(line, '\n'))
	}
	got, err := readAll(strings.NewReader(file.String()), nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRead_Refuses(t *testing.T) {
	t.Parallel()
	const good = `{"id":"a","problem":"p","answer":"1","responses":["x","y"]}` + "\n"
	const rewarded = `{"id":"a","problem":"p","answer":"1","responses":["x","y"],"greedy":"g","rewards":[1,2]}` + "\n"
	for name, test := range map[string]struct {
		file string
		ids  []string
		want []string
	}{
		"empty":                {"", nil, []string{"r.jsonl: empty", "give one line"}},
		"blank":                {"\n \n", nil, []string{"r.jsonl: empty"}},
		"no JSON":              {good + "hello\n", nil, []string{"r.jsonl:2: not JSON at byte 1", "write one whole object a line"}},
		"cut off":              {good[:30], nil, []string{"r.jsonl:1: not JSON at byte 30", "unexpected end"}},
		"two on a line":        {strings.TrimSpace(good) + good, nil, []string{"r.jsonl:1: not JSON at byte"}},
		"a list":               {"[" + strings.TrimSpace(good) + "]\n", nil, []string{"r.jsonl:1: a JSON object is needed, not a list"}},
		"not UTF-8":            {strings.Replace(good, "p", "\xff", 1), nil, []string{"r.jsonl:1: not UTF-8", "anew"}},
		"unknown field":        {strings.Replace(good, `"problem"`, `"Problem"`, 1), nil, []string{`r.jsonl:1: field "Problem" is unknown: remove it; there are id, problem`}},
		"field twice":          {strings.Replace(good, `"problem":"p"`, `"id":"b"`, 1), nil, []string{`r.jsonl:1: field "id" comes twice: keep one`}},
		"unknown and twice":    {strings.Replace(good, `"problem"`, `"u":1,"u"`, 1), nil, []string{`r.jsonl:1: field "u" is unknown`}}, // nothing is gathered that will be refused
		"many responses":       {strings.Replace(good, `"x"`, `"x"`+strings.Repeat(`,"x"`, metric.MaxResponses-1), 1), nil, []string{`r.jsonl:1: field "responses" has 1025 entries: give at most 1024`}},
		"missing field":        {good + `{"id":"b","problem":"p","responses":["x","y"]}`, nil, []string{`r.jsonl:2: field "answer" is missing: every line needs id`}},
		"missing id":           {strings.Replace(good, `"id":"a",`, "", 1), nil, []string{`r.jsonl:1: field "id" is missing`}},
		"number for id":        {strings.Replace(good, `"a"`, `7`, 1), nil, []string{`r.jsonl:1: field "id" is the number 7, not a string: write a text in quotes`}},
		"null for answer":      {strings.Replace(good, `"1"`, `null`, 1), nil, []string{`r.jsonl:1: field "answer" is null, not a string`}},
		"blank answer":         {strings.Replace(good, `"1"`, `" "`, 1), nil, []string{`r.jsonl:1: field "answer" is blank`, "leave the problem out"}},
		"string for responses": {strings.Replace(good, `["x","y"]`, `"x"`, 1), nil, []string{`r.jsonl:1: field "responses" is a string, not a list: write a list`}},
		"null for responses":   {strings.Replace(good, `["x","y"]`, `null`, 1), nil, []string{`r.jsonl:1: field "responses" is null, not a list`}},
		"no responses":         {strings.Replace(good, `["x","y"]`, `[]`, 1), nil, []string{`r.jsonl:1: field "responses" is empty: give at least one`}},
		"null in responses":    {strings.Replace(good, `"y"`, `null`, 1), nil, []string{`r.jsonl:1: field "responses[1]" is null, not a string`}},
		"object in responses":  {strings.Replace(good, `"y"`, `{}`, 1), nil, []string{`r.jsonl:1: field "responses[1]" is an object, not a string`}},
		"other N": {
			good + "\n" + `{"id":"b","problem":"p","answer":"1","responses":["x"]}`, nil,
			[]string{`r.jsonl:3: field "responses" has 1 entries, and line 1 has 2: give every problem the same number`},
		},
		"same id":             {good + "\n" + good, nil, []string{`r.jsonl:3: field "id" "a" comes twice, first in line 1: put all responses`}},
		"greedy now and then": {rewarded + `{"id":"b","problem":"p","answer":"1","responses":["x","y"],"rewards":[1,2]}`, nil, []string{`r.jsonl:2: field "greedy" is missing, and line 1 has it: give it everywhere or nowhere`}},
		"rewards too late":    {good + strings.Replace(strings.Replace(rewarded, `"greedy":"g",`, "", 1), `"a"`, `"b"`, 1), nil, []string{`r.jsonl:2: field "rewards" is there, and line 1 lacks it`}},
		"null for greedy":     {strings.Replace(rewarded, `"g"`, `null`, 1), nil, []string{`r.jsonl:1: field "greedy" is null, not a string`}},
		"few rewards":         {strings.Replace(rewarded, `[1,2]`, `[1]`, 1), nil, []string{`r.jsonl:1: field "rewards" has 1 entries for 2 responses: give one reward to each`}},
		"no rewards":          {strings.Replace(rewarded, `[1,2]`, `[]`, 1), nil, []string{`r.jsonl:1: field "rewards" has 0 entries for 2 responses`}},
		"NaN":                 {strings.Replace(rewarded, `2]`, `NaN]`, 1), nil, []string{`r.jsonl:1: field "rewards" has NaN at byte`, "give finite numbers"}},
		"Infinity":            {strings.Replace(rewarded, `2]`, `-Infinity]`, 1), nil, []string{`r.jsonl:1: field "rewards" has Infinity at byte`}},
		"too large":           {strings.Replace(rewarded, `2]`, `1e999]`, 1), nil, []string{`r.jsonl:1: field "rewards[1]" is 1e999, which is beyond`}},
		"large":               {strings.Replace(rewarded, `2]`, `1e200]`, 1), nil, []string{`r.jsonl:1: field "rewards[1]" is 1e+200, beyond 1e+100`}},
		"string for a reward": {strings.Replace(rewarded, `2]`, `"2"]`, 1), nil, []string{`r.jsonl:1: field "rewards[1]" is a string, not a number`}},
		"null for a reward":   {strings.Replace(rewarded, `2]`, `null]`, 1), nil, []string{`r.jsonl:1: field "rewards[1]" is null, not a number`}},
		"foreign id":          {good, []string{"b"}, []string{`r.jsonl:1: field "id" "a" is not a problem of this test set: remove the line`}},
		"missing ids":         {good, []string{"d", "a", "b", "c", "e"}, []string{`r.jsonl: field "id": 4 of the 5 problems of the test set are missing, such as ["d" "b" "c"]: add`}},
	} {
		_, err := readAll(strings.NewReader(test.file), test.ids)
		if record.CodeOf(err) != record.BadData {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, want := range test.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v\nlacks %q", name, err, want)
			}
		}
	}
}

// endless is a line without an end.
type endless struct{ read int64 }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	e.read += int64(len(p))
	return len(p), nil
}

func TestRead_ALineHasALimit(t *testing.T) {
	t.Parallel()
	var line endless
	_, err := readAll(io.MultiReader(strings.NewReader("\n"), &line), nil)
	if record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), "r.jsonl:2: a line of more than 64 MiB") {
		t.Error(err)
	}
	if line.read > 65<<20 {
		t.Errorf("%d bytes were read", line.read)
	}
}

// broken is a disk that fails after some text.
type broken struct{ text io.Reader }

func (b *broken) Read(p []byte) (int, error) {
	n, err := b.text.Read(p)
	if err != nil {
		return n, errors.New("the disk is gone")
	}
	return n, nil
}

func TestRead_ABrokenDiskIsNoBadData(t *testing.T) {
	t.Parallel()
	problems, err := readAll(&broken{strings.NewReader(`{"id":"a","problem":"p","answer":"1","responses":["x"]}` + "\n{")}, nil)
	if len(problems) != 1 || record.CodeOf(err) != record.IO || !strings.Contains(err.Error(), "read r.jsonl:2: the disk is gone") {
		t.Errorf("%d problems, %v", len(problems), err)
	}
}

func TestRead_StopsWhenAsked(t *testing.T) {
	t.Parallel()
	const two = `{"id":"a","problem":"p","answer":"1","responses":["x"]}` + "\nnonsense"
	for range metric.Read(strings.NewReader(two), "r.jsonl", nil) {
		break // the second line is never looked at
	}
}

// Whatever a file holds, there is a result or an error that says where.
func FuzzRead(f *testing.F) {
	f.Add(`{"id":"a","problem":"p","answer":"1","responses":["x","=1"],"greedy":"=1","rewards":[1,2]}`)
	f.Add(`{"id":"a","problem":"p","answer":"1","responses":[]}`)
	f.Add("{\"id\":null}\n[NaN]")
	f.Add(`{"id":"a","id":"\ud800","rewards":[-Infinity,1e999],"x":{"y":[[]]}}`)
	f.Fuzz(func(t *testing.T, file string) {
		scorer := metric.NewScorer(fakeJudge{}, 1)
		for p, err := range metric.Read(strings.NewReader(file), "r.jsonl", nil) {
			if err != nil {
				if record.CodeOf(err) != record.BadData || !strings.HasPrefix(err.Error(), "r.jsonl:") {
					t.Fatalf("%v", err)
				}
				return
			}
			if err := scorer.Add(p); err != nil {
				t.Fatalf("read, but not sound: %v", err)
			}
		}
	})
}
