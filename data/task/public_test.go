package task

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go"

	"plasticity/record"
)

// put writes a file below dir.
func put(t testing.TB, dir, name string, content []byte) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
}

// The columns of Parquet files, as public data sets have them.
func text() parquet.Node  { return parquet.Optional(parquet.String()) }
func texts() parquet.Node { return parquet.Optional(parquet.List(text())) }

// table returns a Parquet file.
func table(t testing.TB, columns parquet.Group, rows ...map[string]any) []byte {
	t.Helper()
	var b bytes.Buffer
	w := parquet.NewGenericWriter[map[string]any](&b, parquet.NewSchema("rows", columns), parquet.Compression(&parquet.Snappy))
	if _, err := w.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// array returns a JSON file with an array, lines one of JSON lines.
func array(t testing.TB, rows ...map[string]any) []byte {
	t.Helper()
	b, err := json.Marshal(rows)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func lines(t testing.TB, rows ...map[string]any) []byte {
	t.Helper()
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, row := range rows {
		if err := enc.Encode(row); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

// load makes a public task from a folder, writes it and reads it again.
func load(t testing.TB, name, from string) *Set {
	t.Helper()
	out := filepath.Join(t.TempDir(), "out")
	if _, err := Make(context.Background(), Options{Name: name, From: from, Out: out, Seed: 1}); err != nil {
		t.Fatal(err)
	}
	s, err := Open(out)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// wantExamples compares examples, and wantDropped what filters left out.
func wantExamples(t *testing.T, side string, got []Example, want ...Example) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", side, diff)
	}
}

func wantDropped(t *testing.T, s *Set, want map[string]int) {
	t.Helper()
	got := make(map[string]int)
	for _, f := range s.Manifest().Filters {
		if f.Dropped > 0 {
			got[f.Reason] = f.Dropped
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("dropped (-want +got):\n%s", diff)
	}
}

// putMathTests writes the two test sets of mathematics.
func putMathTests(t testing.TB, from string) {
	t.Helper()
	put(t, from, "gsm8k-platinum/main/test-00000-of-00001.parquet", table(t, parquet.Group{"question": text(), "answer": text(), "cleaning_status": text()},
		map[string]any{"question": "Tom has 2 bags of 600 nuts. How many?", "answer": "He has 2*600=<<2*600=1200>>1200.\n#### 1,200", "cleaning_status": "consensus"}))
	math := parquet.Group{"problem": text(), "level": text(), "type": text(), "solution": text()}
	put(t, from, "hendrycks_math/algebra/test-00000-of-00001.parquet", table(t, math,
		map[string]any{"problem": "Halve 1.", "level": "Level 1", "type": "Algebra", "solution": `It is $\boxed{\frac{1}{2}}$.`},
		map[string]any{"problem": "Hard one.", "level": "Level 5", "type": "Algebra", "solution": `First $\boxed{1}$, then $\boxed 7$.`},
		map[string]any{"problem": "No level.", "level": "Level ?", "type": "Algebra", "solution": `$\boxed{1}$`},
		map[string]any{"problem": "No answer.", "level": "Level 2", "type": "Algebra", "solution": `nothing`}))
	put(t, from, "hendrycks_math/algebra/train-00000-of-00001.parquet", []byte("not read"))
}

// mathTestExamples are those of putMathTests.
func mathTestExamples() []Example {
	const gsm, math = "madrylab/gsm8k-platinum", "EleutherAI/hendrycks_math"
	return []Example{
		{"gsm8k-000000", "Tom has 2 bags of 600 nuts. How many?", "He has 2*600=1200.\nThe answer is: 1200", "1200", "gsm8k", gsm},
		{"math-000000", "Halve 1.", `It is $\boxed{\frac{1}{2}}$.`, `\frac{1}{2}`, "level1", math},
		{"math-000001", "Hard one.", `First $\boxed{1}$, then $\boxed 7$.`, "7", "hard", math},
	}
}

func TestLoad_MetaMathQA(t *testing.T) {
	from := t.TempDir()
	putMathTests(t, from)
	put(t, from, "MetaMathQA/README.md", []byte("a card"))
	put(t, from, "MetaMathQA/.cache/huggingface/395K.json", []byte("{"))
	put(t, from, "MetaMathQA/MetaMathQA-395K.json", array(t,
		map[string]any{"type": "GSM_AnsAug", "query": "What is 2 plus 3?", "original_question": "?", "response": "2+3=5.\nThe answer is: 5"},
		map[string]any{"type": "MATH_AnsAug", "query": "What is 2 plus 3?", "original_question": "?", "response": `$\boxed{5}$`},
		map[string]any{"type": "x", "query": "tom has 2 bags of 600  nuts. How many?", "original_question": "?", "response": "The answer is: 1200"},
		map[string]any{"type": "x", "query": "No end?", "original_question": "?", "response": "who knows"},
		map[string]any{"type": "x", "query": "", "original_question": "?", "response": "The answer is: 1"}))
	s := load(t, "metamathqa", from)
	const source = "meta-math/MetaMathQA"
	wantExamples(t, "train", s.Train(),
		Example{"metamathqa-000000", "What is 2 plus 3?", "2+3=5.\nThe answer is: 5", "5", "", source},
		Example{"metamathqa-000001", "What is 2 plus 3?", `$\boxed{5}$`, "5", "", source},
		Example{"metamathqa-000003", "No end?", "who knows", "", "", source})
	wantExamples(t, "test", s.Test(), mathTestExamples()...)
	wantDropped(t, s, map[string]int{dropEmpty: 1, dropInTest: 1, dropLevel: 1, dropNoGold: 1})
	if got := s.Manifest().Sources; len(got) != 3 || got[0].Dataset != source || got[0].Files != 1 || s.Kind() != Math {
		t.Errorf("%s, sources %+v", s.Kind(), got)
	}
}

func TestLoad_SimpleScaling(t *testing.T) {
	from := t.TempDir()
	putMathTests(t, from)
	columns := parquet.Group{"question": text(), "attempt": text(), "thinking_trajectories": texts(), "metadata": text()}
	put(t, from, "data_ablation_full59K/data/train-00000-of-00002.parquet", table(t, columns,
		map[string]any{"question": "Q1", "attempt": `So $\boxed{x^{2}}$.`, "thinking_trajectories": []string{"long"}, "metadata": "{}"},
		map[string]any{"question": "Q2", "attempt": "So 5.", "metadata": "{}"}))
	put(t, from, "data_ablation_full59K/data/train-00001-of-00002.parquet", table(t, columns, map[string]any{"question": "Q3", "attempt": `\fbox{3}`}))
	s := load(t, "simplescaling", from)
	const source = "simplescaling/data_ablation_full59K"
	wantExamples(t, "train", s.Train(), Example{"simplescaling-000000", "Q1", `So $\boxed{x^{2}}$.`, "x^{2}", "", source},
		Example{"simplescaling-000001", "Q3", `\fbox{3}`, "3", "", source})
	wantExamples(t, "test", s.Test(), mathTestExamples()...)
	wantDropped(t, s, map[string]int{dropNoBox: 1, dropLevel: 1, dropNoGold: 1})
}

func TestLoad_MedMCQA(t *testing.T) {
	from := t.TempDir()
	question := func(q string) string { return "Think.\nQuestion: " + q + "\nOptions:\nA. a\nB. b\nC. c\nD. d" }
	put(t, from, "medmcqa-cot-llama31/train.jsonl", lines(t,
		map[string]any{"system_prompt": "s", "question": question("Q1"), "response": "Because.\n\nAnswer: B."},
		map[string]any{"system_prompt": "s", "question": question("Q2"), "response": "Because. Therefore, the correct answer is **C**. c"},
		map[string]any{"system_prompt": "s", "question": question("Q3"), "response": "I cannot say."},
		map[string]any{"system_prompt": "s", "question": question("Q4"), "response": strings.Repeat("long ", 1300) + "Answer: A."},
		map[string]any{"system_prompt": "s", "question": question("Q5"), "response": ""}))
	columns := parquet.Group{"id": text(), "question": text(), "opa": text(), "opb": text(), "opc": text(), "opd": text(), "cop": parquet.Int(64), "exp": text()}
	put(t, from, "medmcqa/data/validation-00000-of-00001.parquet", table(t, columns,
		map[string]any{"id": "x", "question": "V1", "opa": "a", "opb": "b", "opc": "c", "opd": "d", "cop": int64(3), "exp": "e"}))
	put(t, from, "medmcqa/data/test-00000-of-00001.parquet", []byte("not read"))
	s := load(t, "medmcqa", from)
	const options = "\nOptions:\nA. a\nB. b\nC. c\nD. d"
	wantExamples(t, "train", s.Train(),
		Example{"medmcqa-000000", "Q1" + options, "Because.\nThe answer is B.", "B", "", "HPAI-BSC/medmcqa-cot-llama31"},
		Example{"medmcqa-000001", "Q2" + options, "Because.\nThe answer is C.", "C", "", "HPAI-BSC/medmcqa-cot-llama31"})
	wantExamples(t, "test", s.Test(), Example{"medmcqa-validation-000000", "V1" + options, "The answer is D.", "D", "", "openlifescienceai/medmcqa"})
	wantDropped(t, s, map[string]int{dropEmpty: 1, dropNoLetter: 1, dropLong: 1})

	put(t, from, "medmcqa/data/validation-00000-of-00001.parquet", table(t, columns,
		map[string]any{"id": "x", "question": "V1", "opa": "a", "opb": "b", "opc": "c", "opd": "d", "cop": int64(4), "exp": "e"}))
	_, err := Load(context.Background(), Options{Name: "medmcqa", From: from})
	if record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), `column "cop" is 4`) {
		t.Errorf("%v", err)
	}
}

func TestLoad_PubMedQA(t *testing.T) {
	from := t.TempDir()
	columns := parquet.Group{
		"pubid": parquet.Int(32), "question": text(), "long_answer": text(), "final_decision": text(),
		"context": parquet.Optional(parquet.Group{"contexts": texts(), "labels": texts(), "meshes": texts()}),
	}
	row := func(question, conclusion, decision string, contexts ...string) map[string]any {
		return map[string]any{
			"pubid": int32(1), "question": question, "long_answer": conclusion, "final_decision": decision,
			"context": map[string]any{"contexts": contexts, "labels": []string{"AIM"}, "meshes": []string{}},
		}
	}
	put(t, from, "PubMedQA/pqa_artificial/train-00000-of-00001.parquet", table(t, columns,
		row("Is it?", "It is.", "yes", "One.", "Two."), row("Is it not?", "Unclear.", "", "One."), row("Empty?", "", "no", "One."),
		row("In the test?", "No.", "no", "Three.")))
	put(t, from, "PubMedQA/pqa_labeled/train-00000-of-00001.parquet", table(t, columns, row("In the test?", "Perhaps.", "maybe", "Three.")))
	s := load(t, "pubmedqa", from)
	wantExamples(t, "train", s.Train(), Example{
		"pubmedqa-000000", pubMedInstruction + "\nQuestion: Is it?\nAbstract: One.\nTwo.", "It is. Therefore, the answer is yes.", "yes", "", "qiaojin/PubMedQA",
	})
	wantExamples(t, "test", s.Test(), Example{
		"pubmedqa-labeled-000000", pubMedInstruction + "\nQuestion: In the test?\nAbstract: Three.", "Perhaps. Therefore, the answer is maybe.", "maybe", "",
		"qiaojin/PubMedQA",
	})
	wantDropped(t, s, map[string]int{dropNoDecision: 1, dropEmpty: 1, dropInTest: 1})
}

// mmluRows returns rows of n questions, each with a right chain, a wrong one, one without a letter and a long one.
func mmluRows(n int) []map[string]any {
	var rows []map[string]any
	for i := range n {
		rows = append(rows, map[string]any{
			"q_id": fmt.Sprint(i), "question": fmt.Sprintf("Q%d\nA. a\nB. b", i), "answer": "B", "category": "law",
			"cots": [][]string{
				{"Step 1: so.", "Step 2: The answer is (B)."}, {"Step 1: The answer is (A)."}, {"no letter"}, {strings.Repeat("long ", 1300), "The answer is B."},
			},
			"parsed_answers": []string{"B", "A", "", "B"},
		})
	}
	return rows
}

func TestLoad_MMLUPro(t *testing.T) {
	from := t.TempDir()
	columns := parquet.Group{
		"q_id": text(), "question": text(), "answer": text(), "category": text(), "parsed_answers": texts(),
		"cots": parquet.Optional(parquet.List(parquet.List(parquet.String()))),
	}
	put(t, from, "MMLU-Pro-Llama-3.1-70B-Instruct-CoT/data/test-00000-of-00001.parquet", table(t, columns, mmluRows(heldOutQuestions+40)...))
	validation := parquet.Group{"question_id": parquet.Int(64), "question": text(), "options": texts(), "answer": text(), "cot_content": text()}
	one := map[string]any{
		"question_id": int64(1), "question": "V", "options": []string{"x", "y", "z"}, "answer": "C", "cot_content": "A: Let's think. The answer is (C).",
	}
	put(t, from, "MMLU-Pro/data/validation-00000-of-00001.parquet", table(t, validation, one, one))
	s := load(t, "mmluprocot", from)
	if len(s.Train()) != 40 || len(s.Test()) != heldOutQuestions+1 {
		t.Fatalf("%d and %d examples", len(s.Train()), len(s.Test()))
	}
	if diff := cmp.Diff(Example{
		"mmlu-pro-validation-000000", "V\nA. x\nB. y\nC. z", "Let's think.\nThe answer is C.", "C", "validation", "TIGER-Lab/MMLU-Pro",
	}, s.Test()[0]); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if e := s.Test()[1]; e.Level != "held-out" || e.Response != "Step 1: so.\nStep 2:\nThe answer is B." {
		t.Errorf("%+v", e)
	}
	n := heldOutQuestions + 40
	wantDropped(t, s, map[string]int{dropWrong: n, dropNoLetter: n, dropLong: n, dropTwice: 1})

	other, err := Load(context.Background(), Options{Name: "mmluprocot", From: from, Seed: 2})
	if err != nil || cmp.Equal(other.Train, s.Train()) {
		t.Errorf("the seed makes no difference: %v", err)
	}
	put(t, from, "MMLU-Pro-Llama-3.1-70B-Instruct-CoT/data/test-00000-of-00001.parquet", table(t, columns, mmluRows(9)...))
	if _, err := Load(context.Background(), Options{Name: "mmluprocot", From: from}); record.CodeOf(err) != record.BadData {
		t.Errorf("few questions: %v", err)
	}
}

// Chains of steps come in several layouts.
func TestRow_Chains(t *testing.T) {
	list := func(items ...any) []any { return items }
	for name, c := range map[string]struct {
		values map[string]any
		want   []string
	}{
		"text":         {map[string]any{"cot": "one"}, []string{"one"}},
		"steps":        {map[string]any{"chain_of_thoughts": list("one", "two")}, []string{"one\ntwo"}},
		"chains":       {map[string]any{"cots": list(list("one", "two"), list("three"))}, []string{"one\ntwo", "three"}},
		"whole chains": {map[string]any{"cots": list("one", "two"), "parsed_answers": list("A", "B")}, []string{"one", "two"}},
	} {
		r := row{dataset: "d"}
		r.Values = c.values
		if got, _, err := r.chains(); err != nil || !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for _, v := range []any{3.5, list(1.0), nil, list(list(1.0))} {
		r := row{dataset: "d"}
		r.Values = map[string]any{"cots": v}
		if got, _, err := r.chains(); v != nil && err == nil {
			t.Errorf("%v: %q", v, got)
		}
	}
}

func TestLoad_RACE(t *testing.T) {
	from := t.TempDir()
	columns := parquet.Group{"example_id": text(), "article": text(), "answer": text(), "question": text(), "options": texts()}
	row := func(question, answer string, options ...string) map[string]any {
		return map[string]any{"example_id": "x", "article": "A passage.", "answer": answer, "question": question, "options": options}
	}
	put(t, from, "race/high/train-00000-of-00001.parquet", table(t, columns,
		row("What&nbsp; is it ?", "B", "one", " two .", "three", "four"), row("Same?", "A", "one", "one", "two", "three"),
		row("Few?", "A", "one", "two"), row(strings.Repeat("long ", 1300), "A", "one", "two", "three", "four")))
	put(t, from, "race/middle/validation-00000-of-00001.parquet", table(t, columns, row("Who?", "D", "a", "b", "c", "d"), row("Test?", "A", "a", "b", "c", "d")))
	put(t, from, "race/high/test-00000-of-00001.parquet", table(t, columns, row("Test?", "A", "a", "b", "c", "d")))
	put(t, from, "race/middle/test-00000-of-00001.parquet", table(t, columns, row(strings.Repeat("long ", 1300), "C", "a", "b", "c", "d")))
	put(t, from, "race/all/train-00000-of-00001.parquet", []byte("not read"))
	s := load(t, "race", from)
	instruction := raceInstruction + "\nPassage: A passage.\nQuestion: "
	wantExamples(t, "train", s.Train(),
		Example{
			"race-000000", instruction + "What is it?\nA. one\nB. two.\nC. three\nD. four", "two.\nTherefore, the answer is B.", "B", "high", "ehovy/race",
		},
		Example{"race-000001", instruction + "Who?\nA. a\nB. b\nC. c\nD. d", "d\nTherefore, the answer is D.", "D", "middle", "ehovy/race"})
	if got := s.Test(); len(got) != 2 || got[0].Level != "high" || got[1].Level != "middle" || got[1].Answer != "C" {
		t.Errorf("%+v", got)
	}
	wantDropped(t, s, map[string]int{dropOptions: 2, dropLong: 1, dropInTest: 1})
}

func TestLoad_SaysWhatIsMissing(t *testing.T) {
	from := t.TempDir()
	check := func(what string, code record.Code, want ...string) {
		t.Helper()
		_, err := Load(context.Background(), Options{Name: "metamathqa", From: from})
		for _, w := range want {
			if record.CodeOf(err) != code || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v, want %q", what, err, w)
			}
		}
	}
	check("no folder", record.BadData, "no folder MetaMathQA", "meta-math/MetaMathQA from the hub", "MetaMathQA-395K.json")
	put(t, from, "MetaMathQA/README.md", []byte("x"))
	check("no file", record.BadData, "no file such as MetaMathQA-395K.json", "meta-math/MetaMathQA")
	put(t, from, "MetaMathQA/MetaMathQA-395K.json", array(t, map[string]any{"query": "q", "answer": "a"}))
	check("no test set", record.BadData, "no folder gsm8k-platinum", "madrylab/gsm8k-platinum")
	putMathTests(t, from)
	check("no column", record.BadData, `MetaMathQA-395K.json:1: column "response" is missing, there are answer, query`, "meta-math/MetaMathQA from the hub")
	put(t, from, "MetaMathQA/MetaMathQA-395K.json", array(t, map[string]any{"query": "q", "response": 3}))
	check("another type", record.BadData, `column "response" is not text`)
	put(t, from, "MetaMathQA/MetaMathQA-395K.json", []byte(`[{"query":`))
	check("cut off", record.BadData, "MetaMathQA-395K.json: row 1")
	from = filepath.Join(from, "nowhere")
	check("no folder at all", record.Usage, "no such folder", "meta-math/MetaMathQA")
}

func TestLoad_TakesSomeByTheSeed(t *testing.T) {
	from := t.TempDir()
	putMathTests(t, from)
	var rows []map[string]any
	for i := range 50 {
		rows = append(rows, map[string]any{"query": fmt.Sprintf("q%d", i), "response": "r"})
	}
	put(t, from, "MetaMathQA/MetaMathQA-395K.json", array(t, rows...))
	take := func(seed int64, n int) []Example {
		made, err := Load(context.Background(), Options{Name: "metamathqa", From: from, Seed: seed, Train: n, Test: 2})
		if err != nil {
			t.Fatal(err)
		}
		if len(made.Test) != 2 {
			t.Errorf("%d test examples", len(made.Test))
		}
		return made.Train
	}
	a, b := take(1, 10), take(2, 10)
	if len(a) != 10 || cmp.Equal(a, b) || !cmp.Equal(a, take(1, 10)) {
		t.Errorf("%d examples", len(a))
	}
	if !slices.IsSortedFunc(a, func(x, y Example) int { return strings.Compare(x.ID, y.ID) }) {
		t.Error("the order changed")
	}
	if _, err := Load(context.Background(), Options{Name: "metamathqa", From: from, Train: 51}); record.CodeOf(err) != record.Usage {
		t.Errorf("more than there are: %v", err)
	}
}

func TestMake_RefusesOptions(t *testing.T) {
	dir := t.TempDir()
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{Name: "race"}, "no output folder"},
		{Options{Name: "race", Out: dir}, "ehovy/race from the hub"},
		{Options{Name: "race", Out: dir, From: dir, Levels: []int{1}}, "levels are for synthetic families"},
		{Options{Name: "judge", Out: dir, From: dir}, "made by a seed alone"},
		{Options{Name: "judges", Out: dir, From: dir}, "families are"},
		{Options{Name: "judge", Out: dir, Train: -1}, "must not be negative"},
	} {
		if _, err := Make(context.Background(), c.o); record.CodeOf(err) != record.Usage || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want %q", c.o, err, c.want)
		}
	}
}

func TestBoxed(t *testing.T) {
	for s, want := range map[string]string{
		`$\boxed{5}$`: "5", `\boxed{1} and \boxed{\frac{1}{2}}.`: `\frac{1}{2}`, `$\boxed 7$.`: "7", `\fbox{x}`: "x", `\boxed{ {a} }`: "{a}",
		`nothing`: "", `\boxed{`: "", `\boxed{}`: "", `\boxed`: "", `\boxed{a}}`: "a",
	} {
		if got, ok := boxed(s); got != want || ok != (want != "") {
			t.Errorf("%q: %q, %v", s, got, ok)
		}
	}
}

func TestLetterEnding(t *testing.T) {
	for s, want := range map[string]string{
		"Because. Answer: B.":                          "Because./B",
		"Because.\n\n**Answer: B**":                    "Because./B",
		"So the final answer is (C) stones.":           "/C",
		"The answer is A. No: the correct answer is D": "The answer is A. No:/D",
		"The answer is E.":                             "",
		"The answer is a matter of taste.":             "",
		"No letter.":                                   "",
		"Answer: A." + strings.Repeat(" more", 100):    "",
	} {
		steps, letter, ok := letterEnding(s, 'D')
		if got := steps + "/" + letter; ok != (want != "") || ok && got != want {
			t.Errorf("%q: %q, %v", s, got, ok)
		}
	}
}
