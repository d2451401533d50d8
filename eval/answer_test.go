package eval

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"testing"

	"plasticity/config"
	"plasticity/data"
	"plasticity/data/task"
	"plasticity/eval/metric"
	"plasticity/record"
	"plasticity/torch"
)

// The example that does not fit is named as it is in its file, wherever it stands.
func TestAnswer_NamesTheExample(t *testing.T) {
	m, _, tokenizer := small(t, config.Llama2)
	g, err := NewGenerator(m, tokenizer, GeneratorOptions{Compute: Compute{Precision: torch.Float32, Threads: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	var examples []task.Example
	for i := range chunk + 2 {
		examples = append(examples, task.Example{ID: fmt.Sprint("one-", i), Instruction: "Wer?", Answer: "Viktor"})
	}
	last := &examples[chunk+1]
	last.Instruction = strings.Repeat("Zwölf ", 200)
	answered := 0
	err = g.Answer(context.Background(), examples, AnswerOptions{Samples: 1, MaxTokens: 1, Sampling: Sampling{Temperature: 1}}, func(metric.Problem) error {
		answered++
		return nil
	})
	if record.CodeOf(err) != record.BadData || !strings.Contains(err.Error(), last.ID) || !strings.Contains(err.Error(), "tokens") || answered != chunk {
		t.Errorf("%d answered, %v", answered, err)
	}
}

// diverged is a model whose losses are no numbers.
type diverged struct{ loss float64 }

func (diverged) Context() int                             { return 64 }
func (m diverged) SummedLoss(data.Batch) (float64, error) { return m.loss, nil }

func TestResponseLosses_RefusesWhatIsNoNumber(t *testing.T) {
	_, _, tokenizer := small(t, config.Llama2)
	one := []task.Example{{ID: "a", Instruction: "Who?", Response: "Viktor", Answer: "Viktor", Level: "1", Source: "test"}}
	dir := filepath.Join(t.TempDir(), "task")
	if _, err := task.Write(&task.Task{Name: "who", Kind: task.Word, Train: []task.Example{{ID: "b", Instruction: "And?", Response: "no", Answer: "no", Level: "1", Source: "test"}}, Test: one}, dir); err != nil {
		t.Fatal(err)
	}
	set, err := task.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	corpus, err := set.Encode(tokenizer, 64)
	if err != nil {
		t.Fatal(err)
	}
	for _, loss := range []float64{math.NaN(), math.Inf(1)} {
		if _, err := ResponseLosses(context.Background(), diverged{loss}, corpus); record.CodeOf(err) != record.NonFinite {
			t.Errorf("a loss of %v: %v", loss, err)
		}
	}
	if losses, err := ResponseLosses(context.Background(), diverged{2}, corpus); err != nil || len(losses) != 1 || losses[0].Nats != 2 {
		t.Errorf("%v %v", losses, err)
	}
}
