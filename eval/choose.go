package eval

import (
	"math"
	"slices"

	"plasticity/record"
	"plasticity/torch"
)

// step appends rows and lets samples choose what follows: as many of them, in order, from the scores of a row as it wants.
func (r *generating) step(rows []torch.Row, samples []*sample) error {
	choose := r.choose
	if r.drawer != nil {
		choose = r.draw
	}
	if err := choose(rows, samples); err != nil {
		return err
	}
	for _, s := range samples {
		if err := r.take(s); err != nil {
			return err
		}
	}
	return nil
}

// known is how many tokens may be chosen: the rows that pad a vocabulary stand for nothing.
func (r *generating) known() int {
	if r.g.tokenizer != nil {
		return r.g.tokenizer.Vocab()
	}
	return r.g.model.Config().Vocab
}

// number is what a sample's next token is chosen by.
func (r *generating) number(s *sample) float64 {
	return uniform(r.o.Seed, r.prompts[s.prompt].stream+uint64(s.index), uint64(len(s.tokens)))
}

// draw leaves the choice to those who have the scores.
func (r *generating) draw(rows []torch.Row, samples []*sample) error {
	r.numbers = slices.Grow(r.numbers[:0], len(samples))[:len(samples)]
	r.drawn = slices.Grow(r.drawn[:0], len(samples))[:len(samples)]
	for i, s := range samples {
		r.numbers[i] = r.number(s)
	}
	if err := r.drawer.draw(rows, r.o.Sampling.drawing(r.known()), r.numbers, r.drawn); err != nil {
		return err
	}
	for i, s := range samples {
		if s.next = r.drawn[i]; s.next < 0 {
			return finite(float32(math.NaN()))
		}
	}
	return nil
}

// choose takes the scores and chooses on as many goroutines as there are threads.
func (r *generating) choose(rows []torch.Row, samples []*sample) error {
	v := r.g.model.Config().Vocab
	var from []int // by sample: the row of scores
	wanted := 0
	for i := range rows {
		if rows[i].Wanted == 0 {
			continue
		}
		from = append(from, slices.Repeat([]int{wanted}, int(rows[i].Wanted))...)
		rows[i].Wanted = 1
		wanted++
	}
	r.logits = slices.Grow(r.logits[:0], wanted*v)[:wanted*v]
	if err := r.sequences.append(rows, r.logits); err != nil {
		return err
	}
	known := r.known()
	return parallel(len(samples), len(r.pickers), func(worker, i int) error {
		s, p := samples[i], &r.pickers[worker]
		row := p.penalised(r.o.Sampling, r.logits[from[i]*v:from[i]*v+known], s.list)
		var err error
		s.next, err = p.pick(r.o.Sampling, row, r.number(s))
		return err
	})
}

// take adds the chosen token to a sample and sees whether that ends it.
func (r *generating) take(s *sample) error {
	if slices.Contains(r.ends, s.next) {
		s.finish = FinishEnd
		return s.text.finish()
	}
	s.tokens = append(s.tokens, s.next)
	s.see(s.next)
	stopped, err := s.text.add(s.next)
	switch length := len(r.prompts[s.prompt].ids) + len(s.tokens); {
	case err != nil:
		return err
	case stopped:
		s.finish = FinishStop
	case len(s.tokens) == r.o.MaxTokens:
		s.finish = FinishLength
	case length > r.g.model.Config().Context:
		s.finish = FinishContext
	default:
		return nil
	}
	return s.text.finish()
}

// finite refuses scores that are not numbers, of which the largest is one.
func finite(largest float32) error {
	if math.IsNaN(float64(largest)) {
		return record.Fail(record.NonFinite, "the model's scores are not numbers: its weights are damaged or it diverged in training")
	}
	return nil
}
