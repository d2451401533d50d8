package model_test

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"plasticity/model"
	"plasticity/torch"
	"plasticity/torch/nn"
	"plasticity/torch/torchtest"
)

// What logits may differ by, relative to the norm of a row of them.
const (
	decodeF32  = 2e-5
	decodeBF16 = 4e-2
)

// whole are the logits of every position [sequences × time × vocab], without a cache.
func (c engineCase) whole(t testing.TB, m *model.Transformer) []float32 {
	t.Helper()
	inputs, _ := c.tokens()
	s := torch.NewScope(torch.NoGrad)
	defer s.Close()
	out := s.Float32s(m.Logits(s, s.FromInt32(inputs, c.sequences, c.time)))
	if err := s.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// decoder appends tokens to the slots of an engine and keeps the logits by sequence and position.
type decoder struct {
	t      testing.TB
	c      engineCase
	m      *model.Transformer
	engine *torch.Engine
	cache  *torch.EngineCache
	ids    []int32
	logits []float32
}

func newDecoder(t testing.TB, c engineCase, m *model.Transformer, precision torch.DType, isa string) *decoder {
	t.Helper()
	e, err := m.NewEngine(torch.EngineOptions{Precision: precision, Threads: c.threads, Sequences: int64(c.sequences), ISA: isa})
	if err != nil {
		t.Fatal(err)
	}
	// A slot for each sequence, and one whose positions the first sequence shares.
	cache, err := e.NewCache(c.sequences+1, c.time)
	if err != nil {
		t.Fatal(err)
	}
	inputs, _ := c.tokens()
	return &decoder{t: t, c: c, m: m, engine: e, cache: cache, ids: inputs, logits: make([]float32, len(inputs)*c.cfg.Vocab)}
}

func (d *decoder) close() {
	d.cache.Close()
	d.engine.Close()
}

// append appends positions from to to of the sequences, in their order in the list, to the slots of the same numbers.
func (d *decoder) append(sequences []int, from, to int) {
	d.t.Helper()
	var rows []torch.Row
	for _, b := range sequences {
		for p := from; p < to; p++ {
			rows = append(rows, torch.Row{Slot: int32(b), ID: d.ids[b*d.c.time+p], Wanted: 1})
		}
	}
	if len(rows) == 0 {
		return
	}
	v := d.c.cfg.Vocab
	out := make([]float32, len(rows)*v)
	if err := d.engine.Decode(d.m.Registry().Flat(nn.Params), d.cache, rows, out); err != nil {
		d.t.Fatal(err)
	}
	for i, b := range sequences {
		n := (to - from) * v
		copy(d.logits[(b*d.c.time+from)*v:], out[i*n:(i+1)*n])
	}
}

// share appends half of the first sequence to the spare slot and lets the first go on from there.
func (d *decoder) share() {
	d.t.Helper()
	half, spare := d.c.time/2, d.c.sequences
	if half == 0 {
		return
	}
	d.ids = append(d.ids, d.ids[:d.c.time]...)
	d.logits = append(d.logits, make([]float32, d.c.time*d.c.cfg.Vocab)...)
	d.append([]int{spare}, 0, half)
	if err := d.cache.Share(0, spare, half); err != nil {
		d.t.Fatal(err)
	}
	copy(d.logits[:half*d.c.cfg.Vocab], d.logits[spare*d.c.time*d.c.cfg.Vocab:])
}

// inPieces appends everything: halves of all sequences at once, then token by token.
func (d *decoder) inPieces() []float32 {
	d.t.Helper()
	d.share()
	all := make([]int, d.c.sequences)
	for i := range all {
		all[i] = i
	}
	half := d.c.time / 2
	d.append(all[1:], 0, half)
	for p := half; p < d.c.time; p++ {
		d.append(all, p, p+1)
	}
	return d.logits[:d.c.sequences*d.c.time*d.c.cfg.Vocab]
}

// apart appends one sequence alone, its first half at once.
func (d *decoder) apart(sequence int) []float32 {
	d.t.Helper()
	half, v := d.c.time/2, d.c.cfg.Vocab
	d.append([]int{sequence}, 0, half)
	for p := half; p < d.c.time; p++ {
		d.append([]int{sequence}, p, p+1)
	}
	return d.logits[sequence*d.c.time*v : (sequence+1)*d.c.time*v]
}

// Logits of continued sequences are those of whole passes of the reference, whether tokens come alone or together, from an own
// slot or from a shared one; and a sequence gets the same bits whoever is continued beside it.
func TestEngineDecode_IsTheReferences(t *testing.T) {
	sets, count := isas(t), 0
	worst := map[string]float64{}
	for _, c := range engineCases() {
		t.Run(c.String(), func(t *testing.T) {
			torchtest.NoLeaks(t)
			m := build(t, c.cfg, torch.Float32)
			want, v := c.whole(t, m), c.cfg.Vocab
			for _, isa := range sets {
				for _, p := range []struct {
					name      string
					precision torch.DType
					most      float64
				}{{"f32", torch.Float32, decodeF32}, {"bf16", torch.BFloat16, decodeBF16}} {
					d := newDecoder(t, c, m, p.precision, isa)
					got := d.inPieces()
					d.close()
					largest := 0.0
					for i := 0; i < len(want); i += v {
						difference := make([]float32, v)
						for k := range difference {
							difference[k] = got[i+k] - want[i+k]
						}
						if e := norm32(difference) / norm32(want[i:i+v]); !(e <= largest) {
							largest = e
						}
					}
					key := isa + " " + p.name
					worst[key] = math.Max(worst[key], largest)
					count++
					if !(largest <= p.most) {
						t.Errorf("%s: logits differ by %.2e", key, largest)
					}
					last := c.sequences - 1
					if last == 0 {
						continue
					}
					d = newDecoder(t, c, m, p.precision, isa)
					alone := d.apart(last)
					d.close()
					if !slices.Equal(alone, got[last*c.time*v:(last+1)*c.time*v]) {
						t.Errorf("%s: the last sequence has other logits when it is continued alone", key)
					}
				}
			}
		})
	}
	text := fmt.Sprintf("%d shapes, %d comparisons; largest relative difference of a row of logits from the float32 reference\n", len(engineCases()), count)
	for _, isa := range sets {
		text += fmt.Sprintf("%-12s f32 %.2e  bf16 %.2e\n", isa, worst[isa+" f32"], worst[isa+" bf16"])
	}
	t.Log(text)
}
