package trainer

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"
)

// The engine in bfloat16 learns what the reference in float32 learns: over three seeds of a model with a million parameters and a
// thousand steps on real text, the final validation losses differ by less than the seeds do. It takes long, so it
// asks for its shards: PLASTICITY_LEARNING is the folder that `make learning` prepares.
func TestLearning_EngineInBfloat16(t *testing.T) {
	prepared := os.Getenv("PLASTICITY_LEARNING")
	if prepared == "" {
		t.Skip("a long test: run make learning")
	}
	final := func(seed int, how ...string) float64 {
		sets := append([]string{
			"name=learning", fmt.Sprint("seed=", seed), "model.preset=llama2-1m", "data.train=" + prepared + "/train", "data.val=" + prepared + "/val",
			"batch.sequences=16", "budget.steps=1000", "optimizer.lr=3e-3", `optimizer.no_decay=["*norm*"]`,
			"eval.every_steps=0", "eval.tokens=131072", "checkpoint.every_steps=0", "metrics.log_every_steps=100",
		}, how...)
		result, err := train(t, filepath.Join(folder(t), "run"), sets)
		if err != nil {
			t.Fatal(err)
		}
		return result.ValLoss
	}
	lowest, highest, furthest := math.Inf(1), math.Inf(-1), 0.0
	for seed := 1; seed <= 3; seed++ {
		engine, reference := final(seed, "precision=bf16", "step=engine"), final(seed, "precision=f32", "step=reference")
		lowest, highest = math.Min(lowest, reference), math.Max(highest, reference)
		furthest = math.Max(furthest, math.Abs(engine-reference))
		t.Logf("seed %d: validation loss %.4f nats per token with the engine in bf16, %.4f with the reference in f32: %+.4f", seed, engine, reference, engine-reference)
	}
	t.Logf("largest difference %.4f, spread of the seeds %.4f", furthest, highest-lowest)
	if !(furthest < highest-lowest) {
		t.Errorf("engine and reference differ by %v, the seeds by %v", furthest, highest-lowest)
	}
}
