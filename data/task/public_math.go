package task

import (
	"regexp"
	"strings"
)

// Filters of the tasks of mathematics.
const (
	dropEmpty  = "no instruction or no response"
	dropNoBox  = "no boxed answer in the attempt"
	dropNoGold = "no gold answer in the solution of a test problem"
	dropLevel  = "a test problem without a level from 1 to 5"
)

// Names of the test sets of mathematics; the hardest level of MATH has a name of its own.
const (
	levelGSM8K = "gsm8k"
	levelHard  = "hard"
)

// loadMetaMath reads MetaMathQA. All of it is kept.
func loadMetaMath(l *loader) error {
	err := l.each(0, func(r row) error {
		v, err := r.texts("query", "response")
		if err != nil {
			return err
		}
		if v[0] == "" || v[1] == "" {
			l.drop(dropEmpty)
			return nil
		}
		answer, ok := afterLast(v[1], "The answer is:")
		if !ok {
			answer, _ = boxed(v[1])
		}
		l.train = append(l.train, Example{ID: l.id("metamathqa"), Instruction: v[0], Response: v[1], Answer: answer, Source: r.dataset})
		return nil
	})
	if err != nil {
		return err
	}
	return loadMathTests(l)
}

// loadSimpleScaling reads the attempts, which are final solutions; those without a boxed answer are left out.
func loadSimpleScaling(l *loader) error {
	err := l.each(0, func(r row) error {
		v, err := r.texts("question", "attempt")
		if err != nil {
			return err
		}
		if v[0] == "" || v[1] == "" {
			l.drop(dropEmpty)
			return nil
		}
		answer, ok := boxed(v[1])
		if !ok {
			l.drop(dropNoBox)
			return nil
		}
		l.train = append(l.train, Example{ID: l.id("simplescaling"), Instruction: v[0], Response: v[1], Answer: answer, Source: r.dataset})
		return nil
	})
	if err != nil {
		return err
	}
	return loadMathTests(l)
}

// calculator finds the notes of a calculator in GSM8K's answers.
var calculator = regexp.MustCompile(`<<[^<>]*>>`)

// loadMathTests reads the two test sets of both tasks of mathematics.
func loadMathTests(l *loader) error {
	err := l.each(1, func(r row) error {
		v, err := r.texts("question", "answer")
		if err != nil {
			return err
		}
		steps, answer, ok := strings.Cut(v[1], "####")
		answer = strings.ReplaceAll(strings.TrimSpace(answer), ",", "")
		if v[0] == "" || !ok || answer == "" {
			l.drop(dropNoGold)
			return nil
		}
		steps = strings.TrimSpace(calculator.ReplaceAllString(steps, ""))
		l.test = append(l.test, Example{
			ID: l.id(levelGSM8K), Instruction: v[0], Response: strings.TrimSpace(steps + "\nThe answer is: " + answer), Answer: answer,
			Level: levelGSM8K, Source: r.dataset,
		})
		return nil
	})
	if err != nil {
		return err
	}
	return l.each(2, func(r row) error {
		v, err := r.texts("problem", "solution", "level")
		if err != nil {
			return err
		}
		level, ok := mathLevel(v[2])
		if !ok {
			l.drop(dropLevel)
			return nil
		}
		answer, ok := boxed(v[1])
		if v[0] == "" || !ok {
			l.drop(dropNoGold)
			return nil
		}
		l.test = append(l.test, Example{ID: l.id("math"), Instruction: v[0], Response: v[1], Answer: answer, Level: level, Source: r.dataset})
		return nil
	})
}

// mathLevel names a level of MATH.
func mathLevel(s string) (string, bool) {
	n, ok := strings.CutPrefix(s, "Level ")
	switch {
	case !ok || len(n) != 1 || n < "1" || n > "5":
		return "", false
	case n == "5":
		return levelHard, true
	}
	return "level" + n, true
}
