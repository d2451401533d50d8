package eval

import (
	"cmp"
	"context"
	"math"
	"slices"

	"plasticity/model"
	"plasticity/record"
	"plasticity/torch"
)

// stateTokens bounds what runs through the layers at once.
const stateTokens = 4096

// StatesOptions says what States returns.
type StatesOptions struct {
	Layers []int          // of model.Transformer.States: 0 is the embedding, n what is behind the n-th layer
	Mean   bool           // the mean over a text's tokens; else the last token's
	Report func(done int) // is told from time to time how many texts are done
}

// States returns hidden states of texts, one of each asked layer for each text: for each layer [texts, D], row by row. They are computed by the
// reference, in batches of texts of about one length; what fills up a batch lies behind a text's tokens, which do not see it. A text
// has one token at least and at most the context. The error is a record.Failure.
func States(ctx context.Context, m *model.Transformer, texts [][]int32, o StatesOptions) ([][]float32, error) {
	order := make([]int, len(texts))
	for i, ids := range texts {
		if len(ids) == 0 || len(ids) > m.Context() {
			return nil, record.Fail(record.Internal, "text %d has %d tokens, from 1 to %d are possible", i, len(ids), m.Context())
		}
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(len(texts[a]), len(texts[b])) })
	width := m.Config().Width
	out := make([][]float32, len(o.Layers))
	for k := range out {
		out[k] = make([]float32, len(texts)*width)
	}
	for done := 0; done < len(order); {
		if err := ctx.Err(); err != nil {
			return nil, record.FailIO(err, "compute hidden states")
		}
		n := 1
		for done+n < len(order) && (n+1)*len(texts[order[done+n]]) <= stateTokens {
			n++
		}
		if err := stateBatch(m, texts, order[done:done+n], o, out); err != nil {
			return nil, err
		}
		done += n
		if o.Report != nil {
			o.Report(done)
		}
	}
	return out, nil
}

// stateBatch computes the states of some texts, the last of which is the longest.
func stateBatch(m *model.Transformer, texts [][]int32, batch []int, o StatesOptions, out [][]float32) error {
	time, width := len(texts[batch[len(batch)-1]]), m.Config().Width
	ids := make([]int32, len(batch)*time)
	for row, i := range batch {
		copy(ids[row*time:], texts[i])
	}
	s := torch.NewScope(torch.NoGrad)
	defer s.Close()
	states := m.States(s, s.FromInt32(ids, len(batch), time))
	for k, layer := range o.Layers {
		values := s.Float32s(states[layer])
		if err := s.Err(); err != nil {
			return err
		}
		for row, i := range batch {
			tokens := values[row*time*width:][:len(texts[i])*width]
			if !o.Mean {
				tokens = tokens[len(tokens)-width:]
			}
			if err := pool(tokens, out[k][i*width:(i+1)*width]); err != nil {
				return err
			}
		}
	}
	return nil
}

// pool writes the mean of states [T, D], added up in float64.
func pool(tokens, into []float32) error {
	width := len(into)
	n := float64(len(tokens) / width)
	for j := range into {
		sum := 0.0
		for t := j; t < len(tokens); t += width {
			sum += float64(tokens[t])
		}
		if err := finiteState(sum); err != nil {
			return err
		}
		into[j] = float32(sum / n)
	}
	return nil
}

// finiteState refuses a hidden state, or a sum of some, that is not a finite number.
func finiteState(x float64) error {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return record.Fail(record.NonFinite, "a hidden state is not finite: the weights are damaged or diverged in training")
	}
	return nil
}
