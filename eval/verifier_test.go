package eval

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"plasticity/record"
)

// judgedAnswers are answers to problems with scores: those of right answers are higher by so much, and those to problems that are hard
// are lower, which makes them wrong more often.
func judgedAnswers(problems, samples int, signal, hardness float64) ([]Judged, []float64) {
	random := rand.New(rand.NewPCG(6, 7))
	var out []Judged
	var scores []float64
	for p := range problems {
		hard := hardness * random.NormFloat64()
		for range samples {
			right, score := random.NormFloat64() > hard, math.Round(4*random.NormFloat64())/4-2*hard // with ties
			if right {
				score += signal
			}
			out, scores = append(out, Judged{Problem: p, Right: right}), append(scores, score)
		}
	}
	return out, scores
}

// bruteArea counts pairs, of all problems or of one.
func bruteArea(answers []Judged, scores []float64, problem int) float64 {
	won, pairs := 0.0, 0.0
	for i, a := range answers {
		for k, b := range answers {
			if !a.Right || b.Right || problem >= 0 && (a.Problem != problem || b.Problem != problem) {
				continue
			}
			pairs++
			switch {
			case scores[i] > scores[k]:
				won++
			case scores[i] == scores[k]:
				won += 0.5
			}
		}
	}
	return won / pairs
}

// The areas are counts of pairs, and their intervals hold them; the same seed gives the same ones.
func TestMeasure_CountsPairs(t *testing.T) {
	answers, scores := judgedAnswers(30, 8, 1, 0.7)
	m := Measure(answers, scores, 1)
	if want := bruteArea(answers, scores, -1); math.Abs(float64(m.AUC.Value)-want) > 1e-12 || want < 0.8 {
		t.Errorf("area %v, of pairs %v", m.AUC.Value, want)
	}
	inside, n := 0.0, 0
	for p := range 30 {
		if area := bruteArea(answers, scores, p); !math.IsNaN(area) {
			inside, n = inside+area, n+1
		}
	}
	if m.AUCWithin == nil || math.Abs(float64(m.AUCWithin.Value)-inside/float64(n)) > 1e-12 || m.WithBoth != n || n == 30 {
		t.Fatalf("within a problem %+v over %d, of pairs %v over %d", m.AUCWithin, m.WithBoth, inside/float64(n), n)
	}
	for _, e := range []Estimate{m.AUC, *m.AUCWithin} {
		if !(e.CI95[0] < e.Value && e.Value < e.CI95[1] && e.CI95[1]-e.CI95[0] < 0.2) {
			t.Errorf("%+v", e)
		}
	}
	if again := Measure(answers, scores, 1); again.AUC != m.AUC || *again.AUCWithin != *m.AUCWithin {
		t.Errorf("the second time %+v", again)
	}
}

// Where scores say nothing of right or wrong, the interval holds one half; where they say only how hard the problem is, the area over
// all answers shows it and the one within a problem does not; with no problem that has both there is none within.
func TestMeasure_PromisesNothing(t *testing.T) {
	answers, scores := judgedAnswers(100, 8, 0, 0)
	if m := Measure(answers, scores, 1); !(m.AUC.CI95[0] < 0.5 && 0.5 < m.AUC.CI95[1]) {
		t.Errorf("noise: %+v", m.AUC)
	}
	answers, scores = judgedAnswers(200, 8, 0, 2)
	if m := Measure(answers, scores, 1); m.AUC.CI95[0] < 0.7 || !(m.AUCWithin.CI95[0] < 0.5 && 0.5 < m.AUCWithin.CI95[1]) {
		t.Errorf("hardness: %+v, within %+v", m.AUC, m.AUCWithin)
	}
	for i := range answers {
		answers[i].Right = answers[i].Problem%2 == 0
	}
	if m := Measure(answers, scores, 1); m.AUCWithin != nil || m.WithBoth != 0 {
		t.Errorf("no problem with both: %+v", m)
	}
}

// One of four problems is held out, with all answers to it. Answers that are all right or all wrong, to learn from or held out, are
// refused in words that help.
func TestSplit_NeedsBothKindsOfAnswer(t *testing.T) {
	answers, _ := judgedAnswers(16, 8, 0, 0)
	train, held, err := Split(answers, 5)
	if err != nil || SideOf(train) != (Side{12, 96, count(train)}) || SideOf(held) != (Side{4, 32, count(held)}) {
		t.Errorf("%+v %+v %v", SideOf(train), SideOf(held), err)
	}
	for _, a := range train {
		if slices.ContainsFunc(held, func(b Judged) bool { return a.Problem == b.Problem }) {
			t.Fatalf("problem %d is on both sides", a.Problem)
		}
	}
	out := func(a Judged) bool {
		return slices.ContainsFunc(held, func(b Judged) bool { return a.Problem == b.Problem })
	}
	for name, c := range map[string]struct {
		right func(a Judged) bool
		words string
	}{
		"all wrong":       {func(Judged) bool { return false }, "0 of the 96 answers to learn from (12 problems) are right"},
		"all right":       {func(Judged) bool { return true }, "96 of the 96 answers to learn from"},
		"held out wrong":  {func(a Judged) bool { return a.Right && !out(a) }, "0 of the 32 answers held out (4 problems)"},
		"held out right":  {func(a Judged) bool { return a.Right || out(a) }, "32 of the 32 answers held out"},
		"learned from no": {func(a Judged) bool { return a.Right && out(a) }, "0 of the 96"},
	} {
		changed := slices.Clone(answers)
		for i := range changed {
			changed[i].Right = c.right(answers[i])
		}
		if _, _, err := Split(changed, 5); record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), c.words) || !strings.Contains(err.Error(), "--problems") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A task with levels in turn, however many there are, has about as much of each level held out as learned from; another seed holds out
// other problems.
func TestSplit_TakesAllLevels(t *testing.T) {
	const problems = 2000
	answers, _ := judgedAnswers(problems, 2, 0, 0)
	first, held, err := Split(answers, 1)
	if err != nil || SideOf(held).Problems != problems/4 {
		t.Fatalf("%+v %v", SideOf(held), err)
	}
	for levels := 2; levels <= 8; levels++ {
		counts := make([]int, levels)
		for _, a := range held {
			counts[a.Problem%levels]++
		}
		for level, n := range counts { // four standard deviations
			if share := float64(len(held)) / float64(levels); math.Abs(float64(n)-share) > 4*math.Sqrt(2*share) {
				t.Errorf("of %d levels in turn, %d of the %d answers held out are of level %d", levels, n, len(held), level+1)
			}
		}
	}
	if again, _, _ := Split(answers, 1); !slices.EqualFunc(again, first, sameProblem) {
		t.Error("the same seed splits otherwise")
	}
	if other, _, _ := Split(answers, 2); slices.EqualFunc(other, first, sameProblem) {
		t.Error("another seed splits the same way")
	}
}

func sameProblem(a, b Judged) bool { return a.Problem == b.Problem }

func count(answers []Judged) (right int) {
	for _, a := range answers {
		if a.Right {
			right++
		}
	}
	return right
}
