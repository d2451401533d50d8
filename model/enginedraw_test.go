package model_test

import (
	"math"
	"slices"
	"testing"

	"plasticity/torch"
	"plasticity/torch/nn"
	"plasticity/torch/torchtest"
)

// ends are rows that append all of every sequence, the first from where it shares another's tokens, and want so much of what follows.
func (d *decoder) ends(wanted int32) []torch.Row {
	d.t.Helper()
	d.share()
	var rows []torch.Row
	for b := range d.c.sequences {
		from := 0
		if b == 0 {
			from = d.c.time / 2
		}
		for p := from; p < d.c.time; p++ {
			rows = append(rows, torch.Row{Slot: int32(b), ID: d.ids[b*d.c.time+p]})
		}
		rows[len(rows)-1].Wanted = wanted
	}
	return rows
}

// weights are those of the tokens that may be drawn after a text, from its logits.
func weights(logits []float32, text []int32, d torch.Drawing) []float64 {
	seen := map[int32]bool{}
	for _, id := range text {
		seen[id] = true
	}
	out, top := make([]float64, d.Known), math.Inf(-1)
	for i := range out {
		l := logits[i]
		switch penalty := float32(d.Penalty); {
		case seen[int32(i)] && l > 0:
			l /= penalty
		case seen[int32(i)]:
			l *= penalty
		}
		out[i] = float64(l)
		top = math.Max(top, out[i])
	}
	for i, l := range out {
		switch {
		case d.Temperature > 0:
			out[i] = math.Exp((l - top) / d.Temperature)
		case l == top:
			out[i] = 1
		default:
			out[i] = 0
		}
	}
	return out
}

// drawnBy checks that a token is the one into whose weight a number falls.
func (d *decoder) drawnBy(number float64, token int32, how torch.Drawing, w []float64) {
	d.t.Helper()
	if token < 0 || int(token) >= len(w) {
		d.t.Fatalf("%s, %+v: token %d", d.c, how, token)
	}
	total, before := 0.0, 0.0
	for id, x := range w {
		total += x
		if id < int(token) {
			before += x
		}
	}
	if how.Temperature == 0 { // the first of the likeliest
		total, before = 1, before+1-w[token]
	}
	at := number * total
	if how.Temperature == 0 {
		at = 0
	}
	if slack := 1e-5 * total; before > at+slack || before+w[token] < at-slack {
		d.t.Errorf("%s, %+v: by %.3f of %g token %d is drawn, which is from %g to %g", d.c, how, number, total, token, before, before+w[token])
	}
}

// What is drawn by a number is the token into whose weight the number falls, with weights made of the logits that Decode gives.
func TestEngineDraw_IsInverseTransform(t *testing.T) {
	torchtest.NoLeaks(t)
	const draws = 19
	drawn := map[int32]bool{}
	for i, c := range engineCases() {
		if i%8 != 3 {
			continue
		}
		m := build(t, c.cfg, torch.Float32)
		params, v := m.Registry().Flat(nn.Params), c.cfg.Vocab
		var numbers []float64
		for range c.sequences {
			for k := range draws {
				numbers = append(numbers, float64(k)/draws)
			}
		}
		for _, isa := range isas(t) {
			for _, precision := range []torch.DType{torch.Float32, torch.BFloat16} {
				scores := newDecoder(t, c, m, precision, isa)
				logits := make([]float32, c.sequences*v)
				if err := scores.engine.Decode(params, scores.cache, scores.ends(1), logits); err != nil {
					t.Fatal(err)
				}
				scores.close()
				for _, how := range []torch.Drawing{
					{Temperature: 1, Penalty: 1, Known: v}, {Temperature: 0.1, Penalty: 3, Known: (v + 1) / 2}, {Penalty: 1.5, Known: v},
				} {
					d := newDecoder(t, c, m, precision, isa)
					tokens := make([]int32, len(numbers))
					if err := d.engine.Draw(params, d.cache, d.ends(draws), how, numbers, tokens); err != nil {
						t.Fatal(err)
					}
					d.close()
					for k, token := range tokens {
						b := k / draws
						d.drawnBy(numbers[k], token, how, weights(logits[b*v:(b+1)*v], d.ids[b*c.time:(b+1)*c.time], how))
						drawn[token] = true
					}
				}
			}
		}
	}
	if len(drawn) < 100 {
		t.Errorf("only %d different tokens were drawn", len(drawn))
	}
}

// Scores are scores however far below zero: padding is not likelier, and the likeliest is found.
func TestEngineDraw_FarBelowZero(t *testing.T) {
	torchtest.NoLeaks(t)
	const likeliest, huge = 5, 1e17
	for i, c := range engineCases() {
		if c.cfg.TieEmbeddings || i%5 != 0 || c.cfg.Vocab < 64 {
			continue
		}
		m := build(t, c.cfg, torch.Float32)
		v, width, last := c.cfg.Vocab, c.cfg.Width, c.time-1
		inputs, _ := c.tokens()
		sign := float32(1) // of what the output layer sees of the first text
		if hidden(t, m, inputs[:c.time])[last*width] < 0 {
			sign = -1
		}
		gain, head := make([]float32, width), make([]float32, v*width)
		gain[0] = huge
		for id := range v {
			head[id*width] = -sign * huge * float32(1+math.Abs(float64(id-likeliest)))
		}
		for name, values := range map[string][]float32{"model.norm.weight": gain, "lm_head.weight": head} {
			if err := m.Registry().Write(nn.Params, name, values); err != nil {
				t.Fatal(err)
			}
		}
		params := m.Registry().Flat(nn.Params)
		for _, isa := range isas(t) {
			d := newDecoder(t, c, m, torch.Float32, isa)
			logits := make([]float32, c.sequences*v)
			if err := d.engine.Decode(params, d.cache, d.ends(1), logits); err != nil {
				t.Fatal(err)
			}
			d.close()
			if top := slices.Max(logits[:v]); !(top < -1e31) || math.IsInf(float64(top), 0) {
				t.Fatalf("%s: the largest score is %g", c, top)
			}
			for _, how := range []torch.Drawing{{Penalty: 1, Known: v}, {Temperature: 1, Penalty: 1, Known: v - v%16}} {
				d := newDecoder(t, c, m, torch.Float32, isa)
				tokens := make([]int32, c.sequences)
				if err := d.engine.Draw(params, d.cache, d.ends(1), how, make([]float64, c.sequences), tokens); err != nil {
					t.Fatal(err)
				}
				d.close()
				if tokens[0] != likeliest {
					t.Errorf("%s, %s, %+v: token %d", c, isa, how, tokens[0])
				}
			}
		}
	}
}
