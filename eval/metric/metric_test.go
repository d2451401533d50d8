package metric_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"weak"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"plasticity/eval/metric"
	"plasticity/record"
)

// fakeJudge takes the word after the last = for the answer, and for a vote looks at the last six bytes. Answers are the
// same but for zeros in front.
type fakeJudge struct{}

func (fakeJudge) Extract(response string) (string, bool) {
	at := strings.LastIndexByte(response, '=')
	if at < 0 {
		return "", false
	}
	word, _, _ := strings.Cut(response[at+1:], " ")
	return word, word != ""
}

func (j fakeJudge) ExtractTail(response string) (string, bool) {
	return j.Extract(response[max(0, len(response)-6):])
}

func (fakeJudge) Equal(a, b string) bool {
	return strings.TrimLeft(a, "0") == strings.TrimLeft(b, "0") && a != "" && b != ""
}

// nearJudge finds numbers the same that differ by one at most, so that being the same does not carry over.
type nearJudge struct{ fakeJudge }

func (nearJudge) Equal(a, b string) bool {
	x, errX := strconv.Atoi(a)
	y, errY := strconv.Atoi(b)
	return errX == nil && errY == nil && max(x-y, y-x) <= 1
}

func text(s string) *string { return &s }

// worked has five problems with four responses each; the comments have c, the vote, the best reward and the mean reward.
func worked() []metric.Problem {
	return []metric.Problem{
		// c = 1 0 1 0. Clusters {7, 07} {3} {none}: the vote is response 0, right. The best reward has 1, wrong. Mean 0.375.
		{ID: "a", Answer: "7", Greedy: text("=7"), Responses: []string{"so =7", "=3", "=07", "none"}, Rewards: []float64{0.5, 2, -1, 0}},
		// c = 0 1 1 0. Clusters {5, 5} {3, 3} are of a size: the first, response 0, wrong. Rewards tie: 0, wrong. Mean 0.5.
		{ID: "b", Answer: "3", Greedy: text("no"), Responses: []string{"=5", "=3", "=3", "=5"}, Rewards: []float64{1, 1, 0, 0}},
		// c = 0 0 1 0. Without an answer each is alone, so all clusters have one: response 0, wrong. Best is 2, right. Mean -2.5.
		{ID: "c", Answer: "9", Greedy: text("=8"), Responses: []string{"", "", "=9", ""}, Rewards: []float64{-3, -2, -1, -4}},
		// c = 1 0 0 0. The answer of response 0 is not in its tail: the vote is {2, 2}, response 1, wrong. All rewards tie: 0, right. Mean 0.
		{ID: "d", Answer: "1", Greedy: text("=01"), Responses: []string{"=1 but who knows", "=2", "=2", ""}, Rewards: []float64{0, 0, 0, 0}},
		// c = 0 0 0 0. Nobody answers: the vote is response 0, wrong. Best is 3, wrong. Mean 2.5.
		{ID: "e", Answer: "4", Greedy: text(""), Responses: []string{"x", "y", "z", ""}, Rewards: []float64{1, 2, 3, 4}},
	}
}

func TestScore_ByHand(t *testing.T) {
	t.Parallel()
	result, err := metric.Score(worked(), fakeJudge{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		name  string
		value float64
	}{
		{"greedy", 2.0 / 5},         // a and d
		{"maj@4", 1.0 / 5},          // a
		{"rm@4", 2.0 / 5},           // c and d
		{"pass@4", 4.0 / 5},         // all but e
		{"correct_ratio", 6.0 / 20}, // 2 + 2 + 1 + 1 + 0
		{"orm", 0.875 / 5},          // 0.375 + 0.5 - 2.5 + 0 + 2.5
	}
	if len(result.Estimates) != len(want) {
		t.Fatalf("%d metrics, want %d", len(result.Estimates), len(want))
	}
	for i, w := range want {
		got := result.Estimates[i]
		if got.Name != w.name || got.Value != w.value || !got.HigherIsBetter {
			t.Errorf("%+v, want %s %v", got, w.name, w.value)
		}
		if !(got.CI95[0] <= got.Value && got.Value <= got.CI95[1]) {
			t.Errorf("%s %v is outside of %v", got.Name, got.Value, got.CI95)
		}
	}
	if result.Problems != 5 || result.Responses != 4 {
		t.Errorf("%d problems, %d responses", result.Problems, result.Responses)
	}
	for i, voted := range []int{0, 0, 0, 1, 0} {
		if got := result.Samples[i].Voted; got != voted {
			t.Errorf("problem %d: the vote is %d, want %d", i, got, voted)
		}
	}
	for i, best := range []int{1, 0, 2, 0, 3} {
		if got := *result.Samples[i].Best; got != best {
			t.Errorf("problem %d: the best reward is %d, want %d", i, got, best)
		}
	}
	d := result.Samples[3]
	if want := []*string{text("1"), text("2"), text("2"), nil}; !cmp.Equal(d.Extracted, want) {
		t.Error(cmp.Diff(want, d.Extracted))
	}
	if want := []bool{true, false, false, false}; !slices.Equal(d.Correct, want) || !*d.GreedyCorrect || *d.GreedyExtracted != "01" {
		t.Errorf("%+v", d)
	}
	if _, ok := result.Estimate("maj@16"); ok {
		t.Error("a metric of another N")
	}
	if e, ok := result.Estimate("orm"); !ok || e.Value != 0.175 {
		t.Errorf("%+v", e)
	}
}

// The clusters go by their first members, not by all that could be joined.
func TestScore_VoteComparesWithFirstMembers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		responses []string
		gold      string
		voted     int
		correct   bool
	}{
		// 2 is near 1 and joins it; 3 is near 2 but not near 1 and begins a cluster, which the second 3 joins: 2 to 2.
		{[]string{"=1", "=2", "=3", "=3"}, "3", 0, false},
		// The cluster of 2 takes 1 and 3: 3 to 1.
		{[]string{"=2", "=1", "=3", "=9"}, "1", 0, true},
		// 2 is near both clusters and joins the first.
		{[]string{"=3", "=1", "=2", "=1"}, "4", 0, true},
		// Responses without an answer are four clusters, the sevens one of two.
		{[]string{"", "", "", "=7", "", "=7"}, "7", 3, true},
		{[]string{"=5"}, "5", 0, true},
	} {
		p := metric.Problem{ID: "x", Answer: test.gold, Responses: test.responses}
		result, err := metric.Score([]metric.Problem{p}, nearJudge{}, 1)
		if err != nil {
			t.Fatal(err)
		}
		s := result.Samples[0]
		if s.Voted != test.voted || s.Correct[s.Voted] != test.correct {
			t.Errorf("%q: the vote is %d, correct %v", test.responses, s.Voted, s.Correct[s.Voted])
		}
	}
}

// countingJudge counts comparisons.
type countingJudge struct {
	fakeJudge
	compared *int
}

func (j countingJudge) Equal(a, b string) bool {
	*j.compared++
	return j.fakeJudge.Equal(a, b)
}

// Answers that were read before are not compared with every cluster again; what does not even equal itself stays alone.
func TestScore_AVoteComparesTextsOnce(t *testing.T) {
	t.Parallel()
	p := metric.Problem{ID: "x", Answer: "1"}
	for i := range metric.MaxResponses {
		p.Responses = append(p.Responses, fmt.Sprintf("=%d", 1+i%32))
	}
	compared := 0
	if _, err := metric.Score([]metric.Problem{p}, countingJudge{compared: &compared}, 1); err != nil || compared > 3*metric.MaxResponses {
		t.Errorf("%d comparisons, %v", compared, err)
	}
	p.Responses = []string{"=a", "=a", "=a", "=7", "=7"} // only numbers are answers to the judge
	result, err := metric.Score([]metric.Problem{p}, nearJudge{}, 1)
	if err != nil || result.Samples[0].Voted != 3 {
		t.Errorf("%+v %v", result.Samples, err)
	}
}

// Nobody knows that a model is always wrong, or always right, from a few problems: the interval of the correct ratio is that of a share.
func TestScore_AllWrongOrRightIsNotCertain(t *testing.T) {
	t.Parallel()
	for _, gold := range []string{"1", "2"} {
		var problems []metric.Problem
		for i := range 10 {
			problems = append(problems, metric.Problem{ID: fmt.Sprint(i), Answer: gold, Responses: []string{"=1", "=1"}})
		}
		result, err := metric.Score(problems, fakeJudge{}, 1)
		if err != nil {
			t.Fatal(err)
		}
		e, _ := result.Estimate("correct_ratio")
		if pass, _ := result.Estimate("pass@2"); e.CI95 != pass.CI95 || e.CI95[1]-e.CI95[0] < 0.2 {
			t.Errorf("%+v, of pass@2 %v", e, pass.CI95)
		}
	}
}

// A scorer keeps answers, not responses, nor those to the first problem.
func TestScorer_KeepsNoResponses(t *testing.T) {
	scorer := metric.NewScorer(fakeJudge{}, 1)
	add := func() weak.Pointer[string] {
		p := worked()[0]
		if err := scorer.Add(p); err != nil {
			t.Fatal(err)
		}
		return weak.Make(p.Greedy)
	}
	greedy := add()
	runtime.GC()
	if greedy.Value() != nil {
		t.Error("a response is still there")
	}
	if _, err := scorer.Result(); err != nil {
		t.Error(err)
	}
}

// With one response there is nothing to choose: every metric is the share of right ones.
func TestScore_OneResponse(t *testing.T) {
	t.Parallel()
	problems := []metric.Problem{
		{ID: "a", Answer: "1", Responses: []string{"=1"}, Rewards: []float64{-1}},
		{ID: "b", Answer: "1", Responses: []string{"=2"}, Rewards: []float64{5}},
	}
	result, err := metric.Score(problems, fakeJudge{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"maj@1", "rm@1", "pass@1", "correct_ratio"} {
		if e, ok := result.Estimate(name); !ok || e.Value != 0.5 {
			t.Errorf("%s: %+v", name, e)
		}
	}
	if _, ok := result.Estimate("greedy"); ok {
		t.Error("greedy without greedy responses")
	}
}

// Every token counts the same: 6 nats over 3 tokens and 2 over 1 are 8 over 4.
func TestScore_Loss(t *testing.T) {
	t.Parallel()
	problems := []metric.Problem{
		{ID: "a", Answer: "1", Responses: []string{""}, Loss: &metric.Loss{Nats: 6, Tokens: 3}},
		{ID: "b", Answer: "1", Responses: []string{""}, Loss: &metric.Loss{Nats: 2, Tokens: 1}},
		{ID: "c", Answer: "1", Responses: []string{""}, Loss: &metric.Loss{Nats: 10, Tokens: 1}},
	}
	result, err := metric.Score(problems, fakeJudge{}, 1)
	if err != nil {
		t.Fatal(err)
	}
	e, ok := result.Estimate("loss_nats_per_token")
	if !ok || e.Value != 18.0/5 || e.HigherIsBetter || e.CI95 != [2]float64{2, 10} {
		t.Errorf("%+v", e)
	}
}

func TestScore_TheOrderOfProblemsIsNothing(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 1))
	problems := randomProblems(random, 40, 5)
	want, err := metric.Score(problems, fakeJudge{}, 3)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		random.Shuffle(len(problems), func(i, j int) { problems[i], problems[j] = problems[j], problems[i] })
		got, err := metric.Score(problems, fakeJudge{}, 3)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatal(cmp.Diff(want, got))
		}
	}
	other, err := metric.Score(problems, fakeJudge{}, 4)
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range other.Estimates {
		bootstrapped := e.Name == "correct_ratio" || e.Name == "orm"
		if w := want.Estimates[i]; e.Value != w.Value || !bootstrapped && e.CI95 != w.CI95 {
			t.Errorf("the seed changes %+v to %+v", w, e)
		}
	}
}

// randomProblems returns problems whose responses have few different answers, so that votes tie.
func randomProblems(random *rand.Rand, problems, responses int) []metric.Problem {
	list := make([]metric.Problem, problems)
	for i := range list {
		p := metric.Problem{ID: fmt.Sprintf("p%d", i), Problem: "?", Answer: fmt.Sprint(1 + random.IntN(3))}
		for range responses {
			p.Responses = append(p.Responses, randomResponse(random))
			p.Rewards = append(p.Rewards, float64(random.IntN(7)-3)/4) // sums of these are exact
		}
		p.Greedy = text(randomResponse(random))
		list[i] = p
	}
	return list
}

func randomResponse(random *rand.Rand) string {
	switch random.IntN(5) {
	case 0:
		return "no idea"
	case 1:
		return fmt.Sprintf("=%d, though not surely", 1+random.IntN(3)) // an answer that is another one, and not in the tail
	case 2:
		return fmt.Sprintf("=%d says everybody", 1+random.IntN(3)) // not in the tail
	default:
		return fmt.Sprintf("thus =%s%d", strings.Repeat("0", random.IntN(2)), 1+random.IntN(3))
	}
}

// naive computes the same by other means: labels instead of comparisons, sorted lists instead of scans, and integers.
func naive(problems []metric.Problem) map[string]float64 {
	label := func(answer string, ok bool, alone string) string {
		if !ok {
			return alone
		}
		n, err := strconv.Atoi(answer)
		if err != nil {
			return answer
		}
		return fmt.Sprint(n)
	}
	judge := fakeJudge{}
	right := func(response, gold string) int {
		if answer, ok := judge.Extract(response); label(answer, ok, "none") == gold {
			return 1
		}
		return 0
	}
	sums := map[string]int{}
	rewards := 0.0
	for _, p := range problems {
		members := map[string][]int{}
		var order []int
		total := 0
		for i, r := range p.Responses {
			answer, ok := judge.ExtractTail(r)
			key := label(answer, ok, fmt.Sprintf("alone %d", i))
			members[key] = append(members[key], i)
			order = append(order, i)
			total += right(r, p.Answer)
			rewards += p.Rewards[i]
		}
		clusters := make([][]int, 0, len(members))
		for _, m := range members {
			clusters = append(clusters, m)
		}
		slices.SortFunc(clusters, func(a, b []int) int {
			if len(a) != len(b) {
				return len(b) - len(a)
			}
			return a[0] - b[0]
		})
		slices.SortStableFunc(order, func(a, b int) int { return int(4 * (p.Rewards[b] - p.Rewards[a])) }) // quarters
		sums["greedy"] += right(*p.Greedy, p.Answer)
		sums["maj"] += right(p.Responses[clusters[0][0]], p.Answer)
		sums["rm"] += right(p.Responses[order[0]], p.Answer)
		sums["pass"] += min(total, 1)
		sums["total"] += total
	}
	n, m := float64(len(problems)), len(problems[0].Responses)
	return map[string]float64{
		"greedy": float64(sums["greedy"]) / n, fmt.Sprintf("maj@%d", m): float64(sums["maj"]) / n,
		fmt.Sprintf("rm@%d", m): float64(sums["rm"]) / n, fmt.Sprintf("pass@%d", m): float64(sums["pass"]) / n,
		"correct_ratio": float64(sums["total"]) / (n * float64(m)), "orm": rewards / (n * float64(m)),
	}
}

func TestScore_AgainstASecondImplementation(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(2, 2))
	for range 60 {
		problems := randomProblems(random, 1+random.IntN(12), 1+random.IntN(8))
		result, err := metric.Score(problems, fakeJudge{}, 1)
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, e := range result.Estimates {
			got[e.Name] = e.Value
			if !(e.CI95[0] <= e.CI95[1]) {
				t.Errorf("%+v", e)
			}
		}
		if diff := cmp.Diff(naive(problems), got, cmpopts.EquateApprox(0, 1e-12)); diff != "" {
			t.Fatalf("%+v\n%s", problems, diff)
		}
		if m := len(problems[0].Responses); got[fmt.Sprintf("pass@%d", m)] < max(got["correct_ratio"], got[fmt.Sprintf("maj@%d", m)], got[fmt.Sprintf("rm@%d", m)]) {
			t.Errorf("pass@N is the most there can be: %v", got)
		}
	}
}

func TestScore_Refuses(t *testing.T) {
	t.Parallel()
	one := func(change func(p *metric.Problem)) []metric.Problem {
		p := metric.Problem{ID: "b", Answer: "1", Greedy: text(""), Responses: []string{"=1", "=2"}, Rewards: []float64{1, 2}, Loss: &metric.Loss{Nats: 1, Tokens: 1}}
		first := p
		first.ID = "a"
		change(&p)
		return []metric.Problem{first, p}
	}
	for want, problems := range map[string][]metric.Problem{
		"no problems: give": nil,
		`problem 2 ("a"): field "id" "a" comes twice, first in`: one(func(p *metric.Problem) { p.ID = "a" }),
		`field "id" is blank`:                                        one(func(p *metric.Problem) { p.ID = " " }),
		`field "answer" is blank`:                                    one(func(p *metric.Problem) { p.Answer = "" }),
		`field "responses" is empty`:                                 one(func(p *metric.Problem) { p.Responses = nil }),
		`field "rewards" has 2 entries for 3 responses`:              one(func(p *metric.Problem) { p.Responses = []string{"", "", ""} }),
		`field "rewards" has 1 entries for 2 responses`:              one(func(p *metric.Problem) { p.Rewards = []float64{1} }),
		`field "responses" has 1 entries, and problem 1 has 2`:       one(func(p *metric.Problem) { p.Responses, p.Rewards = []string{""}, []float64{1} }),
		`field "rewards[1]" is NaN`:                                  one(func(p *metric.Problem) { p.Rewards = []float64{1, math.NaN()} }),
		`field "rewards[0]" is infinite (-Inf)`:                      one(func(p *metric.Problem) { p.Rewards = []float64{math.Inf(-1), 1} }),
		`field "rewards[0]" is 1e+300, beyond`:                       one(func(p *metric.Problem) { p.Rewards = []float64{1e300, 1} }),
		`field "rewards" is missing, and problem 1 has it`:           one(func(p *metric.Problem) { p.Rewards = nil }),
		`field "greedy" is missing, and problem 1 has it`:            one(func(p *metric.Problem) { p.Greedy = nil }),
		`field "loss" is missing, and problem 1 has it`:              one(func(p *metric.Problem) { p.Loss = nil }),
		`field "loss" is NaN nats over 1 tokens`:                     one(func(p *metric.Problem) { p.Loss = &metric.Loss{Nats: math.NaN(), Tokens: 1} }),
		`field "loss" is 1 nats over 0 tokens`:                       one(func(p *metric.Problem) { p.Loss = &metric.Loss{Nats: 1} }),
		`field "greedy" is there, and problem 1 lacks it: give it e`: {{ID: "a", Answer: "1", Responses: []string{""}}, {ID: "b", Answer: "1", Responses: []string{""}, Greedy: text("")}},
	} {
		_, err := metric.Score(problems, fakeJudge{}, 1)
		if record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), want) {
			t.Errorf("want %s\n got %v", want, err)
		}
	}
}
