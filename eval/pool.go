package eval

import (
	"context"
	"slices"

	"plasticity/model"
	"plasticity/record"
	"plasticity/torch"
)

// Pooler computes the last hidden states of texts: what a head that reads a whole text sees. It is used by one goroutine at a time.
type Pooler struct {
	trunk    *model.Transformer // as model.Transformer.Trunk makes it
	engine   *torch.Engine      // nil: the reference
	fallback string
	batch    int // texts at once; 0: as many as there is room for
}

// NewPooler makes a pooler of a trunk, in float32 whatever c says: rewards are compared with each other. The caller closes it before
// the trunk.
func NewPooler(trunk *model.Transformer, c Compute) (*Pooler, error) {
	c.Precision = torch.Float32
	p := &Pooler{trunk: trunk}
	var err error
	p.engine, p.fallback, err = c.newEngine(trunk, 1)
	return p, err
}

// Close frees what the pooler has, not the trunk. Closing twice is harmless.
func (p *Pooler) Close() {
	if p.engine != nil {
		p.engine.Close()
	}
}

// Fallback says why the reference computes although the engine was wanted; empty where it does not.
func (p *Pooler) Fallback() string { return p.fallback }

// Pool returns the hidden state [D], behind the last norm, of the last token of each text. A text has one token at least and at most
// the trunk's context. What a text gets does not depend on the others, to the bit. The error is a record.Failure, or the context's.
func (p *Pooler) Pool(ctx context.Context, texts [][]int32) ([][]float32, error) {
	longest := 1
	for i, ids := range texts {
		if len(ids) == 0 || len(ids) > p.trunk.Context() {
			return nil, record.Fail(record.Internal, "text %d has %d tokens, from 1 to %d are possible", i, len(ids), p.trunk.Context())
		}
		longest = max(longest, len(ids))
	}
	slots := p.batch
	if slots == 0 {
		slots = slotsFor(p.trunk.Config(), longest)
	}
	if slots = min(slots, len(texts)); slots == 0 {
		return nil, nil
	}
	s, err := newSequences(p.engine, p.trunk, slots, longest)
	if err != nil {
		return nil, err
	}
	defer s.close()
	states := make([][]float32, 0, len(texts))
	for some := range slices.Chunk(texts, slots) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if states, err = p.add(states, s, some); err != nil {
			return nil, err
		}
	}
	return states, nil
}

// add runs texts through the trunk, each in a slot of its own.
func (p *Pooler) add(states [][]float32, s sequences, texts [][]int32) ([][]float32, error) {
	var rows []torch.Row
	for slot, ids := range texts {
		if err := s.begin(slot); err != nil {
			return nil, err
		}
		for _, id := range ids {
			rows = append(rows, torch.Row{Slot: int32(slot), ID: id})
		}
		rows[len(rows)-1].Wanted = 1
	}
	vocab, width := p.trunk.Config().Vocab, p.trunk.Config().Width
	logits := make([]float32, len(texts)*vocab)
	if err := s.append(rows, logits); err != nil {
		return nil, err
	}
	for i := range texts {
		state := slices.Clone(logits[i*vocab : i*vocab+width])
		for _, x := range state {
			if err := finiteState(float64(x)); err != nil {
				return nil, err
			}
		}
		states = append(states, state)
	}
	return states, nil
}
