package trainer

import (
	"math/rand/v2"
	"testing"

	"plasticity/torch/torchtest"
)

// Milliseconds of a step by size, streams and what is kept.
func BenchmarkGraph(b *testing.B) {
	torchtest.RequireCUDA(b)
	for name, sets := range map[string][]string{
		"7M":                  {"model.layers=6", "model.width=256", "model.heads=8", "model.kv_heads=4", "model.ffn=688", "model.vocab=4096", "model.context=256", "batch.sequences=32"},
		"1B, 6 of its layers": {"model.layers=6", "model.width=2048", "model.heads=32", "model.kv_heads=4", "model.ffn=5632", "model.vocab=32000", "model.context=2048", "batch.sequences=8"},
	} {
		for how, choice := range map[string]graphChoice{
			"one stream": {streams: 1}, "two streams": {streams: 2}, "recompute": {streams: 1, recompute: true}, "deterministic": {deterministic: true},
		} {
			b.Run(name+" "+how, func(b *testing.B) {
				c := resolved(b, append(sets, "model.family=llama2")...)
				c.Init = ""
				g, err := buildGraph(c, 0, choice)
				if err != nil {
					b.Fatal(err)
				}
				defer g.Close()
				bench := &Bench{Config: c, stepper: g, random: rand.New(rand.NewPCG(1, 2))}
				if _, err := bench.Run(3); err != nil {
					b.Fatal(err)
				}
				b.ResetTimer()
				if _, err := bench.Run(b.N); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}
