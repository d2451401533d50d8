package eval

import (
	"plasticity/model"
	"plasticity/torch"
	"plasticity/torch/nn"
)

// sequences continues many sequences, each in a slot, with the weights of a model. Tokens are appended all at once; those of a
// slot lie one behind the other, and the scores of what follows the last of each slot are written to logits, one row of the
// vocabulary after another. What a sequence gets does not depend on the other ones.
type sequences interface {
	begin(slot int) error
	// share begins a sequence that goes on from all tokens of another slot, which begins anew only after it.
	share(slot, from int) error
	append(rows []torch.Row, logits []float32) error
	close()
}

// newSequences makes slots with room for capacity tokens each; without an engine the reference continues them.
func newSequences(e *torch.Engine, m *model.Transformer, slots, capacity int) (sequences, error) {
	if e == nil {
		return newReferenceSequences(m, slots), nil
	}
	return newEngineSequences(e, m, slots, capacity)
}

// drawer is sequences that choose tokens themselves, from the whole vocabulary: for each row as many as it wants, by a number from
// 0 to 1 each. A token is −1 where the scores are not numbers.
type drawer interface {
	draw(rows []torch.Row, d torch.Drawing, numbers []float64, tokens []int32) error
}

// engineSequences are those of the CPU engine: one crossing for all rows.
type engineSequences struct {
	engine *torch.Engine // of the generator
	cache  *torch.EngineCache
	params *torch.Flat
	length []int
}

func newEngineSequences(e *torch.Engine, m *model.Transformer, slots, capacity int) (*engineSequences, error) {
	cache, err := e.NewCache(slots, capacity)
	if err != nil {
		return nil, err
	}
	return &engineSequences{engine: e, cache: cache, params: m.Registry().Flat(nn.Params), length: make([]int, slots)}, nil
}

func (s *engineSequences) close() { s.cache.Close() }

func (s *engineSequences) begin(slot int) error {
	s.length[slot] = 0
	return s.cache.Begin(slot)
}

func (s *engineSequences) share(slot, from int) error {
	s.length[slot] = s.length[from]
	return s.cache.Share(slot, from, s.length[from])
}

func (s *engineSequences) append(rows []torch.Row, logits []float32) error {
	if err := s.engine.Decode(s.params, s.cache, rows, logits); err != nil {
		return err
	}
	s.appended(rows)
	return nil
}

func (s *engineSequences) draw(rows []torch.Row, d torch.Drawing, numbers []float64, tokens []int32) error {
	if err := s.engine.Draw(s.params, s.cache, rows, d, numbers, tokens); err != nil {
		return err
	}
	s.appended(rows)
	return nil
}

func (s *engineSequences) appended(rows []torch.Row) {
	for _, r := range rows {
		s.length[r.Slot]++
	}
}

// referenceSequences are those of the reference, operation by operation and one sequence after another.
type referenceSequences struct {
	model    *model.Transformer
	capacity int
	caches   []*model.Cache // of slots that have begun
	ids      [][]int32
}

func newReferenceSequences(m *model.Transformer, slots int) *referenceSequences {
	return &referenceSequences{model: m, capacity: m.Config().Context, caches: make([]*model.Cache, slots), ids: make([][]int32, slots)}
}

func (s *referenceSequences) close() {
	for _, c := range s.caches {
		if c != nil {
			c.Close()
		}
	}
}

func (s *referenceSequences) begin(slot int) error {
	s.ids[slot] = s.ids[slot][:0]
	if s.caches[slot] != nil {
		s.caches[slot].Truncate(0)
		return nil
	}
	var err error
	s.caches[slot], err = s.model.NewCache(1, s.capacity)
	return err
}

// share runs the other slot's tokens again.
func (s *referenceSequences) share(slot, from int) error {
	if err := s.begin(slot); err != nil {
		return err
	}
	_, err := s.extend(slot, s.ids[from])
	return err
}

func (s *referenceSequences) extend(slot int, ids []int32) ([]float32, error) {
	scope := torch.NewScope(torch.NoGrad)
	defer scope.Close()
	out := scope.Float32s(s.model.Decode(scope, scope.FromInt32(ids, 1, len(ids)), s.caches[slot]))
	s.ids[slot] = append(s.ids[slot], ids...)
	return out, scope.Err()
}

func (s *referenceSequences) append(rows []torch.Row, logits []float32) error {
	var ids []int32
	for i, r := range rows {
		ids = append(ids, r.ID)
		if i+1 < len(rows) && rows[i+1].Slot == r.Slot {
			continue
		}
		out, err := s.extend(int(r.Slot), ids)
		if err != nil {
			return err
		}
		logits = logits[copy(logits, out):]
		ids = ids[:0]
	}
	return nil
}
