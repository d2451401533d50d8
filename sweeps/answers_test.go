package sweeps

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"plasticity/data/task"
	"plasticity/record"
)

// answeredStatus has base models of decays with these losses and one fine-tuned, evaluated model of each, which answers as many
// problems of the task right; last a never-pretrained one.
func answeredStatus(t *testing.T, folder string, base, tuned []float64, right []int) Status {
	t.Helper()
	set, err := task.Open(folder)
	if err != nil {
		t.Fatal(err)
	}
	var s Status
	add := func(c Cell, loss float64) int {
		c.Index = len(s.Rows)
		s.Rows = append(s.Rows, Row{Cell: c, State: record.StateDone, ValLoss: record.Float(loss)})
		return c.Index
	}
	for i, loss := range tuned {
		origin, lineage := none, []record.Axis(nil)
		if i < len(base) {
			lineage = []record.Axis{{Name: "optimizer.weight_decay", Value: fmt.Sprint(i)}}
			origin = add(Cell{Kind: Pretrain, Needs: none, Base: none}, base[i])
		}
		model := add(Cell{Kind: Finetune, Needs: origin, Base: origin, ID: fmt.Sprint("run", i), Task: "judge", Lineage: lineage}, loss)
		dir := t.TempDir()
		add(Cell{Kind: Evaluate, Needs: model, Base: origin, Task: "judge", Lineage: lineage, Dir: dir, Evaluation: &Evaluation{Task: folder}}, 0)
		var responses, samples bytes.Buffer
		for k, e := range set.Test() {
			fmt.Fprintf(&responses, "{\"id\":%q,\"greedy\":\"said by %d\"}\n", e.ID, i)
			fmt.Fprintf(&samples, "{\"id\":%q,\"greedy_correct\":%v}\n", e.ID, k < right[i])
		}
		if err := errors.Join(
			os.WriteFile(filepath.Join(dir, answersName), responses.Bytes(), 0o644),
			os.WriteFile(filepath.Join(dir, "samples_judge.jsonl"), samples.Bytes(), 0o644),
		); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func judgeTask(t *testing.T) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "judge")
	if _, err := task.Make(context.Background(), task.Options{Name: "judge", Out: folder, Seed: 1, Train: 5, Test: 9, Levels: []int{1}}); err != nil {
		t.Fatal(err)
	}
	return folder
}

func TestStatus_Answers(t *testing.T) {
	folder := judgeTask(t)
	for name, test := range map[string]struct {
		base, tuned []float64
		right       []int
		want        string // of the two: model and right; of the problem: its place, how many differ
	}{
		"two models":         {[]float64{2, 1, 3}, []float64{0.5, 0.4, 0.3, 0.9}, []int{4, 3, 7, 0}, "weight_decay 1 (best base model) 3, weight_decay 2 (best after fine-tuning) 7; problem 3, 4 differ"},
		"one is best twice":  {[]float64{2, 1}, []float64{0.5, 0.4, 0.1}, []int{4, 3, 9}, "weight_decay 1 (best base model) 3, never pretrained 9; problem 3, 6 differ"},
		"they agree":         {[]float64{1, 2}, []float64{0.5, 0.4}, []int{5, 5}, "weight_decay 0 (best base model) 5, weight_decay 1 (best after fine-tuning) 5; problem 0, 0 differ"},
		"nothing to compare": {[]float64{1}, []float64{0.5}, []int{2}, "weight_decay 0 (best base model) 2, weight_decay 0 2; problem 0, 0 differ"},
	} {
		t.Run(name, func(t *testing.T) {
			a, err := answeredStatus(t, folder, test.base, test.tuned, test.right).Answers("judge")
			if err != nil {
				t.Fatal(err)
			}
			if a.Problems != 9 {
				t.Errorf("%d problems", a.Problems)
			}
			got := fmt.Sprintf("%s %d, %s %d; problem %d, %d differ", a.Of[0].Model, a.Of[0].Right, a.Of[1].Model, a.Of[1].Right, place(t, a.ID), a.Differ)
			if got != test.want {
				t.Errorf("%s\nwant %s", got, test.want)
			}
			var out strings.Builder
			if err := a.Write(&out); err != nil || !strings.Contains(out.String(), a.Of[1].Text) || !strings.Contains(out.String(), "reference: ") {
				t.Errorf("%v: %s", err, &out)
			}
		})
	}
}

// place is the number in the id of a problem.
func place(t *testing.T, id string) (n int) {
	t.Helper()
	if _, err := fmt.Sscanf(id, "judge-test-%d", &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestStatus_AnswersRefuses(t *testing.T) {
	if _, err := (Status{}).Answers(""); record.CodeOf(err) != record.Usage {
		t.Errorf("no evaluation: %v", err)
	}
	s := answeredStatus(t, judgeTask(t), []float64{1}, []float64{1}, []int{0})
	if _, err := s.Answers("sums"); record.CodeOf(err) != record.Usage {
		t.Errorf("another task: %v", err)
	}
	path := filepath.Join(s.Rows[2].Cell.Dir, answersName)
	if err := os.WriteFile(path, []byte("{\"id\":1}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Answers(""); record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), path+":1") {
		t.Errorf("a damaged answer: %v", err)
	}
}
