package sweeps

import (
	"fmt"
	"io"
	"strings"

	"plasticity/record"
)

// Processor is what operations are turned into hours with.
type Processor struct {
	Name        string       `json:"name"`
	FLOPS       record.Float `json:"flops"`       // the most it is said to do in a second: dense products in bfloat16
	Utilisation float64      `json:"utilisation"` // the part of that which training reaches
}

// GPUs lists the processors that a cost can be told for, by the makers' numbers.
func GPUs() []Processor {
	return []Processor{
		{Name: "a100", FLOPS: 312e12},
		{Name: "h100", FLOPS: 989.5e12},
		{Name: "h200", FLOPS: 989.5e12},
	}
}

// Cost is what a whole grid costs, whatever of it is done already.
type Cost struct {
	Models      int `json:"models"`
	Finetunings int `json:"finetunings"`
	Evaluations int `json:"evaluations"`
	Analyses    int `json:"analyses"` // their operations are few beside the others' and not counted
	// Tokens that the loss is over, those of a task that is not there as if it were over the whole context; Answers are tokens to generate.
	PretrainTokens int64        `json:"pretrain_tokens"`
	FinetuneTokens int64        `json:"finetune_tokens"`
	AnswerTokens   int64        `json:"answer_tokens"`
	FLOPs          record.Float `json:"flops"`
	On             Processor    `json:"on"`
	Hours          record.Float `json:"hours"` // on one such processor
	// Checkpoints is the disk that runs hold at the end: values and two moments in float32 for each that is kept.
	Checkpoints int64 `json:"checkpoint_bytes"`
}

// cost adds up the cells of a grid.
func (s Status) cost(on Processor) Cost {
	c := Cost{On: on}
	flops := 0.0
	for _, row := range s.Rows {
		cell := row.Cell
		if row.Stale {
			continue
		}
		flops += float64(cell.FLOPs)
		if cell.trains() {
			c.Checkpoints += int64(cell.Run.Checkpoint.Keep) * (12*cell.Parameters + 1<<20) // as trainer writes them
		}
		switch cell.Kind {
		case Pretrain:
			c.Models++
			c.PretrainTokens += cell.Tokens
		case Finetune:
			c.Finetunings++
			c.FinetuneTokens += cell.Tokens
		case Evaluate:
			c.Evaluations++
			c.AnswerTokens += cell.Tokens
		case Analyze:
			c.Analyses++
		}
	}
	c.FLOPs = record.Float(flops)
	c.Hours = record.Float(flops / (float64(on.FLOPS) * on.Utilisation) / 3600)
	return c
}

// String says the cost in a line.
func (c Cost) String() string {
	parts := []string{fmt.Sprintf("%d models on %s tokens", c.Models, countText(c.PretrainTokens))}
	if c.Finetunings > 0 {
		parts = append(parts, fmt.Sprintf("%d fine-tunings on %s", c.Finetunings, countText(c.FinetuneTokens)))
	}
	if c.Evaluations > 0 {
		parts = append(parts, fmt.Sprintf("%d evaluations of %s", c.Evaluations, countText(c.AnswerTokens)))
	}
	if c.Analyses > 0 {
		parts = append(parts, fmt.Sprintf("%d analyses", c.Analyses))
	}
	return fmt.Sprintf("%s: %s FLOPs", strings.Join(parts, ", "), floatText(c.FLOPs, 3))
}

// Write prints the plan with its cost, and what it rests on.
func (f Forecast) Write(w io.Writer) error {
	if err := f.WritePlan(w); err != nil {
		return err
	}
	out := &stickyWriter{w: w}
	c := f.Cost
	out.printf("\ncost: %s\n", c)
	out.printf("      %s hours of one %s at %.0f %% of %.4g TFLOP/s (dense products in bfloat16); %sB of checkpoints\n",
		hoursText(c.Hours), c.On.Name, 100*c.On.Utilisation, float64(c.On.FLOPS)/1e12, countText(c.Checkpoints))
	if len(f.Absent) > 0 {
		out.printf("not there: %s\n", strings.Join(f.Absent, ", "))
		out.printf("so ids are unknown, and this goes by the configuration, the sizes that tasks are known to have and answers as long as allowed; nothing can be run yet\n")
	}
	return out.err
}

// hoursText prints hours for people: 0.0123, 4.56, 123, 12.3k.
func hoursText(h record.Float) string {
	if float64(h) >= 1000 {
		return countText(int64(h))
	}
	return floatText(h, 3)
}
