package task

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"plasticity/record"
)

var update = flag.Bool("update", false, "write the golden files anew")

// generated makes examples of a family.
func generated(t testing.TB, name string, seed int64, train, test int, levels ...int) *Task {
	t.Helper()
	made, err := Generate(name, seed, train, test, levels)
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// drawn lists the families that need a seed alone.
func drawn() []string {
	return slices.DeleteFunc(familyNames(), func(name string) bool { return name == goSource })
}

// everyExample gives examples of all levels of a family to check.
func everyExample(t *testing.T, name string, check func(t *testing.T, e Example)) {
	t.Helper()
	made := generated(t, name, 3, 900, 300, 1, 2, 3)
	for _, e := range slices.Concat(made.Train, made.Test) {
		check(t, e)
		if t.Failed() {
			t.Fatalf("%s: %s\n%s", e.ID, e.Instruction, e.Response)
		}
	}
}

// ending cuts the last sentence off a response and returns the answer in it.
func ending(t *testing.T, response, begin string) (steps, answer string) {
	t.Helper()
	at := strings.LastIndex(response, begin)
	if at < 0 || !strings.HasSuffix(response, ".") {
		t.Fatalf("%q does not end in %q and a full stop", response, begin)
	}
	return strings.TrimSpace(response[:at]), strings.TrimSuffix(response[at+len(begin):], ".")
}

func number(t *testing.T, s string) int {
	t.Helper()
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

var digits = regexp.MustCompile(`[0-9]+`)

// Every column, every carry and every sum is worked out again.
func TestArithmetic_StepsAreRight(t *testing.T) {
	additions := regexp.MustCompile(`(\d+)\+(\d+): (.*?), so (\d+)\.`)
	everyExample(t, "arithmetic", func(t *testing.T, e Example) {
		steps, answer := ending(t, e.Response, "The answer is ")
		sum := 0
		for i, word := range digits.FindAllString(e.Instruction, -1) {
			n := number(t, word)
			if i == 0 {
				sum = n
				continue
			}
			found := additions.FindStringSubmatchIndex(steps)
			if found == nil || found[0] != 0 {
				t.Errorf("no addition at %q", steps)
				return
			}
			part := func(k int) string { return steps[found[2*k]:found[2*k+1]] }
			if number(t, part(1)) != sum || number(t, part(2)) != n || number(t, part(4)) != sum+n {
				t.Errorf("%q is not %d plus %d", steps, sum, n)
			}
			checkColumns(t, sum, n, strings.Split(part(3), ", "))
			sum += n
			steps = strings.TrimSpace(steps[found[1]:])
		}
		if steps != "" || answer != fmt.Sprint(sum) || e.Answer != answer {
			t.Errorf("left over %q, answer %s and %s, want %d", steps, answer, e.Answer, sum)
		}
	})
}

// checkColumns checks the columns of a sum: digits from the right, the carry of the column before, what is carried.
func checkColumns(t *testing.T, a, b int, parts []string) {
	t.Helper()
	x, y := fmt.Sprint(a), fmt.Sprint(b)
	carry := 0
	for i := range max(len(x), len(y)) {
		digit := func(s string) int {
			if i >= len(s) {
				return 0
			}
			return int(s[len(s)-1-i] - '0')
		}
		want := fmt.Sprintf("%d+%d", digit(x), digit(y))
		if carry == 1 {
			want += "+1"
		}
		column := digit(x) + digit(y) + carry
		want += fmt.Sprintf("=%d", column)
		if len(parts) == 0 || parts[0] != want {
			t.Errorf("column %d of %d+%d: %q, want %q", i, a, b, parts, want)
			return
		}
		parts = parts[1:]
		carry = column / 10
		if carry == 1 && i+1 < max(len(x), len(y)) {
			if len(parts) == 0 || parts[0] != "carry 1" {
				t.Errorf("column %d of %d+%d: no carry in %q", i, a, b, parts)
				return
			}
			parts = parts[1:]
		}
	}
	if len(parts) > 0 {
		t.Errorf("%d+%d: more than its columns: %q", a, b, parts)
	}
}

// The story is told again from its words, and every step is worked out again.
func TestWordProblem_StepsAreRight(t *testing.T) {
	begin := regexp.MustCompile(`^A [a-z]+ has (\d+)(?: rows of (\d+))? [a-z]+\.`)
	changes := regexp.MustCompile(`(?:He|Then he) (buys|finds|is given|sells|loses|gives away) (\d+)\.`)
	everyExample(t, "wordproblem", func(t *testing.T, e Example) {
		found := begin.FindStringSubmatch(e.Instruction)
		if found == nil {
			t.Errorf("no beginning")
			return
		}
		have := number(t, found[1])
		var want []string
		if found[2] != "" {
			want = append(want, fmt.Sprintf("%d*%s=%d.", have, found[2], have*number(t, found[2])))
			have *= number(t, found[2])
		}
		for _, c := range changes.FindAllStringSubmatch(e.Instruction, -1) {
			n, operator := number(t, c[2]), "+"
			after := have + n
			if slices.Contains([]string{"sells", "loses", "gives away"}, c[1]) {
				operator, after = "-", have-n
			}
			want = append(want, fmt.Sprintf("%d%s%d=%d.", have, operator, n, after))
			if have = after; have < 1 {
				t.Errorf("%d are left", have)
			}
		}
		steps, answer := ending(t, e.Response, "The answer is ")
		if steps != strings.Join(want, " ") || len(want) < 2 || answer != fmt.Sprint(have) || e.Answer != answer {
			t.Errorf("want %q and %d", want, have)
		}
	})
}

// optionsOf returns the options of a question, by letter.
func optionsOf(text string) map[string]string {
	words := strings.Fields(text)
	found := make(map[string]string)
	for i := 0; i+1 < len(words); i += 2 {
		found[words[i]] = words[i+1]
	}
	return found
}

// lettersOf returns the letters that stand for a word.
func lettersOf(options map[string]string, word string) []string {
	var letters []string
	for letter, option := range options {
		if option == word {
			letters = append(letters, letter)
		}
	}
	return letters
}

// The trades are made again, and the answer is the only right option.
func TestChoice_StepsAreRightAndTheAnswerIsUnique(t *testing.T) {
	for _, name := range []string{"choice4", "choice10"} {
		everyExample(t, name, func(t *testing.T, e Example) {
			at := strings.Index(e.Instruction, "?")
			sentences := strings.Split(e.Instruction[:at], ". ")
			question := strings.Fields(sentences[len(sentences)-1])
			owner := make(map[string]string)
			var states []map[string]string
			for _, s := range sentences[:len(sentences)-1] {
				w := strings.Fields(s)
				switch {
				case len(w) == 3 && w[1] == "has":
					owner[w[0]] = w[2]
				case len(w) == 4 && w[3] == "trade":
					states = append(states, clone(owner))
					owner[w[0]], owner[w[2]] = owner[w[2]], owner[w[0]]
				default:
					t.Errorf("cannot read %q", s)
				}
			}
			states = append(states, clone(owner))
			var want []string
			answer := ""
			for i, state := range states {
				for _, who := range sorted(keys(state)...) {
					if (name == "choice4" && state[who] == question[2]) || (name == "choice10" && who == question[2]) {
						line := who + " has " + state[who] + "."
						if i > 0 {
							line = "Then " + line
						}
						want = append(want, line)
						answer = who
						if name == "choice10" {
							answer = state[who]
						}
					}
				}
			}
			listed := optionsOf(e.Instruction[at+1:])
			steps, letter := ending(t, e.Response, "The answer is ")
			if got := lettersOf(listed, answer); !slices.Equal(got, []string{e.Answer}) || letter != e.Answer || steps != strings.Join(want, " ") {
				t.Errorf("the answer is %s, letters %v, want steps %q", answer, got, want)
			}
			if want := map[string]int{"choice4": 4, "choice10": 10}[name]; len(listed) != want {
				t.Errorf("%d options, want %d", len(listed), want)
			}
		})
	}
}

func clone(m map[string]string) map[string]string {
	c := make(map[string]string)
	for k, v := range m {
		c[k] = v
	}
	return c
}

func keys(m map[string]string) []string {
	var list []string
	for k := range m {
		list = append(list, k)
	}
	return list
}

// The judgement is made again from the passage.
func TestJudge_AnswersFollowFromThePassage(t *testing.T) {
	everyExample(t, "judge", func(t *testing.T, e Example) {
		passage, question, _ := strings.Cut(e.Instruction, " Did ")
		who, _, _ := strings.Cut(question, " ")
		quantifiers, class, chain := make(map[string]string), make(map[string]string), make(map[string]string)
		for _, s := range strings.Split(strings.TrimSuffix(passage, "."), ". ") {
			w := strings.Fields(s)
			switch {
			case w[0] == "All" || w[0] == "Some":
				quantifiers[strings.TrimSuffix(w[1], "s")] = w[0]
			case w[0] == "No":
				quantifiers[w[1]] = w[0]
			case w[0] == "Every":
				chain[w[1]] = w[4]
			default:
				class[w[0]] = w[3]
			}
		}
		of := class[who]
		if next, ok := chain[of]; ok {
			of = next
		}
		want := map[string]string{"All": "yes", "No": "no", "Some": "maybe"}[quantifiers[of]]
		steps, answer := ending(t, e.Response, "Therefore, the answer is ")
		if want == "" || answer != want || e.Answer != want {
			t.Errorf("the answer is %q", want)
		}
		for _, s := range strings.SplitAfter(steps, ".") {
			if s = strings.TrimSpace(s); s != "" && !strings.Contains(passage+" ", s+" ") {
				t.Errorf("the step %q is not in the passage", s)
			}
		}
	})
}

func TestReading_AnswersAreInThePassage(t *testing.T) {
	visit := regexp.MustCompile(`On (\w+) (\w+) went to the (\w+)\.`)
	ask := regexp.MustCompile(`Where did (\w+) go on (\w+)\?(.*)$`)
	everyExample(t, "reading", func(t *testing.T, e Example) {
		q := ask.FindStringSubmatch(e.Instruction)
		var found []string
		for _, v := range visit.FindAllStringSubmatch(e.Instruction, -1) {
			if v[1] == q[2] && v[2] == q[1] {
				found = append(found, v[3])
			}
		}
		text, letter := ending(t, e.Response, "Therefore, the answer is ")
		if len(found) != 1 || text != found[0] || letter != e.Answer || !slices.Equal(lettersOf(optionsOf(q[3]), text), []string{letter}) {
			t.Errorf("the answer is %v", found)
		}
	})
}

// Answers that a model could guess by counting are equally likely: 5 standard deviations are the bound.
func TestFamilies_AnswersAreEquallyLikely(t *testing.T) {
	const n = 3000
	for name, answers := range map[string]int{"choice4": 4, "choice10": 10, "reading": 4, "judge": 3} {
		counts := make(map[string]int)
		for _, e := range generated(t, name, 11, n, 10, 1, 2).Train {
			counts[e.Answer]++
		}
		p := 1 / float64(answers)
		for answer, count := range counts {
			if d := float64(count) - n*p; d*d > 25*n*p*(1-p) {
				t.Errorf("%s: %s is the answer of %d among %d", name, answer, count, n)
			}
		}
		if len(counts) != answers {
			t.Errorf("%s: answers %v", name, counts)
		}
	}
}

// No problem comes twice, and none is on both sides, whatever the seeds.
func TestFamilies_SidesShareNothingAcrossSeeds(t *testing.T) {
	for _, name := range drawn() {
		train, test := make(map[string]bool), make(map[string]bool)
		for seed := range int64(5) {
			made := generated(t, name, seed, 600, 200, 1, 2, 3)
			ids, once := make(map[string]bool), make(map[string]bool)
			for i, e := range slices.Concat(made.Train, made.Test) {
				k := key(e)
				if once[k] || ids[e.ID] {
					t.Fatalf("%s: seed %d: %s comes twice: %s", name, seed, e.ID, k)
				}
				once[k], ids[e.ID] = true, true
				if i < len(made.Train) {
					train[k] = true
				} else {
					test[k] = true
				}
			}
		}
		for k := range test {
			if train[k] {
				t.Errorf("%s: on both sides: %s", name, k)
			}
		}
	}
}

// Problems that differ in order only are one problem.
func TestFamilies_OrderDoesNotMakeAnotherProblem(t *testing.T) {
	seen := make(map[string]string)
	made := generated(t, "arithmetic", 1, 3000, 1000, 1)
	for _, e := range slices.Concat(made.Train, made.Test) {
		k := strings.Join(sorted(digits.FindAllString(e.Instruction, -1)...), " ")
		if old, ok := seen[k]; ok {
			t.Fatalf("%q and %q", old, e.Instruction)
		}
		seen[k] = e.Instruction
	}
}

func TestGenerate_IsAFunctionOfItsArguments(t *testing.T) {
	for _, name := range drawn() {
		a, b, c := generated(t, name, 1, 50, 20), generated(t, name, 1, 50, 20), generated(t, name, 2, 50, 20)
		if diff := cmp.Diff(a, b); diff != "" {
			t.Errorf("%s: not the same twice:\n%s", name, diff)
		}
		if cmp.Equal(a.Train, c.Train) {
			t.Errorf("%s: the seed makes no difference", name)
		}
		for i, e := range a.Train {
			if want := fmt.Sprint(1 + i%2); e.Level != want {
				t.Fatalf("%s: example %d has level %s, want %s", name, i, e.Level, want)
			}
		}
	}
}

func TestGenerate_Golden(t *testing.T) {
	var b bytes.Buffer
	for _, name := range drawn() {
		if err := writeLines(&b, generated(t, name, 42, 3, 1, 1, 2, 3).Train); err != nil {
			t.Fatal(err)
		}
	}
	const path = "testdata/golden.jsonl"
	if *update {
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(b.String(), "\n")); diff != "" {
		t.Errorf("examples changed, so tasks of all seeds did (-want +got); if that is meant: go test ./data/task -run Golden -update\n%s", diff)
	}
}

func TestGenerate_RefusesWhatCannotBe(t *testing.T) {
	for _, c := range []struct {
		name        string
		train, test int
		levels      []int
		want        string
	}{
		{"arithmetics", 1, 1, nil, "families are arithmetic"},
		{"arithmetic", 1, 1, []int{4}, "want 1 to 3"},
		{"arithmetic", 1, 1, []int{0}, "want 1 to 3"},
		{"arithmetic", 40000, 1, []int{1}, "ask for fewer, or for more levels"},
		{goSource, 1, 1, nil, "use Make"},
	} {
		if _, err := Generate(c.name, 1, c.train, c.test, c.levels); record.CodeOf(err) != record.Usage || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// The dice are fair; that their numbers are fixed is what the golden examples tell.
func TestDice(t *testing.T) {
	d := newDice(1, "test")
	counts := make([]int, 6)
	for range 6000 {
		counts[d.below(6)]++
	}
	for face, count := range counts {
		if count < 850 || count > 1150 {
			t.Errorf("face %d came %d times of 6000", face, count)
		}
	}
	order := newDice(5, "x").order(100)
	slices.Sort(order)
	for i, v := range order {
		if i != v {
			t.Fatalf("order is no permutation at %d", i)
		}
	}
}
