package trainer

import (
	"encoding/json"
	"fmt"

	"plasticity/data"
	"plasticity/record"
)

// dumpFile holds what is known of a step that was not finite.
const dumpFile = "nonfinite.json"

// dump is that file.
type dump struct {
	Step         int64        `json:"step"` // the update that was not made, counted from 0
	Epoch        int64        `json:"epoch"`
	Loss         record.Float `json:"loss"`
	GradNorm     record.Float `json:"grad_norm"`
	LearningRate record.Float `json:"learning_rate"`
	WeightDecay  record.Float `json:"weight_decay"`
	Inputs       []int32      `json:"inputs"` // the batch, row by row
}

// failedStep ends a run whose step failed. The last checkpoint is untouched; for a value that is
// not finite the batch is written down.
func (t *training) failedStep(b data.Batch, r StepResult, err error) error {
	if record.CodeOf(err) != record.NonFinite {
		return err
	}
	d := dump{
		Step: t.step, Epoch: b.Epoch, Loss: record.Float(r.Loss), GradNorm: record.Float(r.GradNorm),
		LearningRate: record.Float(t.config.LRAt(t.step)), WeightDecay: record.Float(t.config.WDAt(t.step)), Inputs: b.Inputs,
	}
	text, encodeErr := json.Marshal(d)
	if encodeErr == nil {
		encodeErr = record.WriteFileAtomic(t.fsys, t.run.Path(dumpFile), text)
	}
	if encodeErr != nil {
		return fmt.Errorf("step %d: %w (the batch could not be written down: %w)", t.step, err, encodeErr)
	}
	return fmt.Errorf("step %d: %w; the batch is in %s", t.step, err, t.run.Path(dumpFile))
}
