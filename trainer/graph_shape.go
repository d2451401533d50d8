package trainer

import (
	"slices"

	"plasticity/config"
	"plasticity/data"
	"plasticity/record"
)

// graphShape is what every step of a graph has, for its buffers are static.
type graphShape struct{ sequences, time int }

// graphUnit is what the length of sequences is a multiple of where the context has room for it: attention and products
// have no edges to treat then.
const graphUnit = 64

// shapeOf is the shape of a config's steps. Of a task it has room for the longest example of either side and no more, however
// long the model's context is.
func shapeOf(c config.Resolved) graphShape {
	return graphShape{c.Batch.Sequences, min(c.Model.Context, (c.Window+graphUnit-1)/graphUnit*graphUnit)}
}

// pad gives a batch so many sequences of the shape's length. What it adds are zeros whose targets do not count: attention is
// causal, so that they change neither losses nor gradients. A sequence may lose what stands behind its last target that
// counts, and nothing else: that is an Internal failure, as are more sequences than there is room for.
func (s graphShape) pad(b data.Batch, sequences int) (data.Batch, error) {
	rows := b.Sequences()
	if b.Time == s.time && rows == sequences {
		return b, nil
	}
	if rows > sequences {
		return b, record.Fail(record.Internal, "a batch of %d sequences, the step has %d", rows, sequences)
	}
	out := data.NewBatch(sequences, s.time)
	out.Step, out.Epoch = b.Step, b.Epoch
	for i := range out.Targets {
		out.Targets[i] = -1
	}
	n := min(b.Time, s.time)
	for row := range rows {
		inputs, targets := b.Inputs[row*b.Time:(row+1)*b.Time], b.Targets[row*b.Time:(row+1)*b.Time]
		if slices.ContainsFunc(targets[n:], func(id int32) bool { return id >= 0 }) {
			return b, record.Fail(record.Internal, "sequence %d of a batch counts targets behind the %d tokens of the step", row, s.time)
		}
		copy(out.Inputs[row*s.time:], inputs[:n])
		copy(out.Targets[row*s.time:], targets[:n])
	}
	return out, nil
}
