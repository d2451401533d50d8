package sweeps

import (
	"bufio"
	"encoding/json"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"plasticity/data/task"
	"plasticity/record"
)

// Answers are those of two models to one problem, side by side.
type Answers struct {
	Task      string    `json:"task"`
	ID        string    `json:"id"` // of the problem
	Problem   string    `json:"problem"`
	Reference string    `json:"reference"`
	Of        [2]Answer `json:"of"`
	// Problems is how many were answered, Differ in how many of them one model is right and the other wrong.
	Problems int `json:"problems"`
	Differ   int `json:"differ"`
}

// Answer is what a fine-tuned model says.
type Answer struct {
	Model   string       `json:"model"` // for people
	Run     string       `json:"run"`
	Loss    record.Float `json:"response_loss"` // of the reference responses, in nats per token
	Right   int          `json:"right"`         // of the greedy answers to all problems
	Text    string       `json:"text"`
	Correct bool         `json:"correct"`
}

// judged is a greedy answer with what became of it.
type judged struct {
	text    string
	correct bool
}

// Answers compares, on a task ("": the first that has answers), the base model with the best loss and the one that is best
// after fine-tuning, by the means over seeds; where they are one, it and the never-pretrained model. Both are shown with their first
// seed and the same recipe, on the first problem that one of them gets right and the other wrong, else on the first.
func (s Status) Answers(name string) (Answers, error) {
	evaluations := s.evaluations(name)
	if len(evaluations) == 0 {
		return Answers{}, record.Fail(record.Usage, "%s: no evaluation of a task %q is done: start `plasticity sweep run` first", s.Dir, name)
	}
	first, second := s.contrast(evaluations)
	out := Answers{Task: first.row.Cell.Task}
	var said [2]map[string]judged
	for i, c := range []contender{first, second} {
		var err error
		if said[i], err = c.answers(); err != nil {
			return Answers{}, err
		}
		out.Of[i] = Answer{Model: c.name, Run: c.tuned.Cell.ID, Loss: c.tuned.ValLoss, Right: right(said[i])}
	}
	set, err := task.Open(first.row.Cell.Evaluation.Task)
	if err != nil {
		return Answers{}, err
	}
	for _, e := range set.Test() {
		a, there := said[0][e.ID]
		b, both := said[1][e.ID]
		if !there || !both {
			continue
		}
		out.Problems++
		differ := a.correct != b.correct
		if out.Problems == 1 || differ && out.Differ == 0 {
			out.ID, out.Problem, out.Reference = e.ID, e.Instruction, e.Response
			out.Of[0].Text, out.Of[0].Correct = a.text, a.correct
			out.Of[1].Text, out.Of[1].Correct = b.text, b.correct
		}
		if differ {
			out.Differ++
		}
	}
	if out.Problems == 0 {
		return Answers{}, record.Fail(record.BadData, "%s and %s have no problem of %s in common", first.row.Cell.Dir, second.row.Cell.Dir, set.Name())
	}
	return out, nil
}

// contender is a fine-tuned model that is compared.
type contender struct {
	name       string
	row, tuned Row // its evaluation and its run
}

// evaluations are the finished ones of a task by the first recipe, with their models.
func (s Status) evaluations(name string) []contender {
	var out []contender
	for _, row := range s.Rows {
		if row.Cell.Kind != Evaluate || row.State != record.StateDone || name != "" && row.Cell.Task != name {
			continue
		}
		if len(out) > 0 {
			first := out[0].row.Cell
			if row.Cell.Task != first.Task || !slices.Equal(row.Cell.Axes, first.Axes) {
				continue
			}
		}
		tuned := s.Rows[row.Cell.Needs]
		label := "never pretrained"
		if row.Cell.Base != none {
			label = lineageText(row.Cell)
		}
		out = append(out, contender{label, row, tuned})
	}
	return out
}

func lineageText(c Cell) string {
	var words []string
	for _, axis := range c.Lineage {
		words = append(words, printable(shortKey(axis.Name)+" "+axis.Value, 60))
	}
	return strings.Join(words, ", ")
}

// group are the contenders that differ in the seed alone, with their mean losses.
type group struct {
	first contender // of the first seed
	base  float64   // mean loss of the base models; NaN for a never-pretrained one
	tuned float64   // mean loss of the reference responses
	n     float64
}

// groups are the contenders by name, in the order of the plan.
func (s Status) groups(all []contender) []group {
	var out []group
	for _, c := range all {
		i := slices.IndexFunc(out, func(g group) bool { return g.first.name == c.name })
		if i < 0 {
			i = len(out)
			out = append(out, group{first: c})
		}
		base := math.NaN()
		if c.row.Cell.Base != none {
			base = float64(s.Rows[c.row.Cell.Base].ValLoss)
		}
		g := &out[i]
		g.n++
		g.base += (base - g.base) / g.n
		g.tuned += (float64(c.tuned.ValLoss) - g.tuned) / g.n
	}
	return out
}

// lowest is the index of the least value, −1 when there is none.
func lowest(of []group, value func(group) float64) int {
	found := -1
	for i, g := range of {
		if v := value(g); !math.IsNaN(v) && (found < 0 || v < value(of[found])) {
			found = i
		}
	}
	return found
}

// contrast chooses the two to compare.
func (s Status) contrast(all []contender) (first, second contender) {
	groups := s.groups(all)
	a := max(0, lowest(groups, func(g group) float64 { return g.base }))
	b := lowest(groups, func(g group) float64 { return g.tuned + 0*g.base }) // NaN for a never-pretrained model
	if b < 0 || b == a {
		b = slices.IndexFunc(groups, func(g group) bool { return g.first.row.Cell.Base == none })
	}
	if b < 0 {
		b = a
	}
	first, second = groups[a].first, groups[b].first
	if first.row.Cell.Base != none {
		first.name += " (best base model)"
	}
	if second.row.Cell.Base != none && b != a {
		second.name += " (best after fine-tuning)"
	}
	return first, second
}

// answers reads the greedy answers of an evaluation, by problem.
func (c contender) answers() (map[string]judged, error) {
	out := make(map[string]judged)
	err := eachLine(filepath.Join(c.row.Cell.Dir, answersName), func(line []byte) error {
		var r struct {
			ID     string `json:"id"`
			Greedy string `json:"greedy"`
		}
		err := json.Unmarshal(line, &r)
		out[r.ID] = judged{text: r.Greedy}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, eachLine(filepath.Join(c.row.Cell.Dir, "samples_"+c.row.Cell.Task+".jsonl"), func(line []byte) error {
		var r struct {
			ID      string `json:"id"`
			Correct *bool  `json:"greedy_correct"`
		}
		err := json.Unmarshal(line, &r)
		if j, ok := out[r.ID]; ok && r.Correct != nil {
			j.correct = *r.Correct
			out[r.ID] = j
		}
		return err
	})
}

func right(of map[string]judged) int {
	n := 0
	for _, j := range of {
		if j.correct {
			n++
		}
	}
	return n
}

// maxAnswerLine bounds a line of answers.
const maxAnswerLine = 64 << 20

// eachLine hands over the lines of a file.
func eachLine(path string, each func([]byte) error) error {
	file, err := os.Open(path)
	if err != nil {
		return record.Fail(record.BadData, "%w: the evaluation is marked as done; run it again into another folder", err)
	}
	defer file.Close() //nolint:errcheck // only read
	scanner := bufio.NewScanner(file)
	scanner.Buffer(nil, maxAnswerLine)
	for n := 1; scanner.Scan(); n++ {
		if err := each(scanner.Bytes()); err != nil {
			return record.Fail(record.BadData, "%s:%d: %w", path, n, err)
		}
	}
	if err := scanner.Err(); err != nil {
		return record.Fail(record.IO, "%s: %w", path, err)
	}
	return nil
}

// Write prints the answers for people.
func (a Answers) Write(w io.Writer) error {
	out := &stickyWriter{w: w}
	out.printf("%s, problem %s\n\n%s\n\nreference: %s\n", a.Task, printable(a.ID, 80), block(a.Problem), block(a.Reference))
	for _, of := range a.Of {
		verdict := "wrong"
		if of.Correct {
			verdict = "right"
		}
		out.printf("\n%s: response loss %s, %d of %d problems right\n%s: %s\n", of.Model, floatText(of.Loss, 3), of.Right, a.Problems, verdict, block(of.Text))
	}
	return out.err
}

// block makes a text of several lines safe to print.
func block(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i, line := range lines {
		lines[i] = printable(line, 400)
	}
	return strings.Join(lines, "\n")
}
