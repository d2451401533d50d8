package source

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"plasticity/config"
	"plasticity/record"
)

// Limits on a model's shape, so that sizes and their products stay far from overflow.
const (
	maxDim     = 1 << 20 // width, heads, ffn, context
	maxVocab   = 1 << 24
	maxLayers  = 1 << 12
	sizeAdvice = "choose a preset or change the fields under model"
)

// Check refuses a model that cannot be built. config refuses more, with paths and lines; this holds for imports too.
func Check(c config.Model) error { return check(c, ToCompute) }

func check(c config.Model, use Use) error {
	if err := checkShape(c); err != nil {
		return err
	}
	switch {
	case use == ToInspect:
	case c.HeadSize()%2 != 0:
		return record.Fail(record.Usage, "model.width %d over %d heads gives no even head size, which rotary embedding needs: %s", c.Width, c.Heads, sizeAdvice)
	case !(c.RopeTheta > 0 && c.RopeTheta <= math.MaxFloat32) || !(c.NormEps > 0 && c.NormEps < 1):
		return record.Fail(record.Usage, "model.rope_theta %v and norm_eps %v must be above 0, norm_eps below 1: %s", c.RopeTheta, c.NormEps, sizeAdvice)
	}
	return nil
}

// checkShape refuses sizes that are impossible or do not go together.
func checkShape(c config.Model) error {
	if c.Family != config.Llama2 && c.Family != config.OLMo2 {
		return record.Fail(record.Usage, "model.family %q is not known: %s or %s", c.Family, config.Llama2, config.OLMo2)
	}
	for _, f := range []struct {
		name         string
		value, limit int
	}{
		{"layers", c.Layers, maxLayers},
		{"width", c.Width, maxDim},
		{"heads", c.Heads, maxDim},
		{"kv_heads", c.KVHeads, maxDim},
		{"ffn", c.FFN, maxDim},
		{"vocab", c.Vocab, maxVocab},
		{"context", c.Context, maxDim},
	} {
		if f.value < 1 || f.value > f.limit {
			return record.Fail(record.Usage, "model.%s is %d, from 1 to %d are possible: %s", f.name, f.value, f.limit, sizeAdvice)
		}
	}
	if c.Width%c.Heads != 0 {
		return record.Fail(record.Usage, "model.width %d over %d heads gives no whole head size: %s", c.Width, c.Heads, sizeAdvice)
	}
	if c.Heads%c.KVHeads != 0 {
		return record.Fail(record.Usage, "model.heads %d is no multiple of kv_heads %d: %s", c.Heads, c.KVHeads, sizeAdvice)
	}
	return nil
}

// Finite refuses NaN and infinity among the values of a tensor: the error is a record.Failure with BadData.
func Finite(path, tensor string, values []float32) error {
	for i, x := range values {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return record.Fail(record.BadData, "%s: tensor %s: element %d is %v: these weights come from a run that diverged or a file that is damaged; use an earlier checkpoint",
				path, tensor, i, x)
		}
	}
	return nil
}

// maxDifferences is how many differences a message shows.
const maxDifferences = 50

// Join puts a list of differences into one line of text, cut off where nobody reads on.
func Join(list []string) string {
	if more := len(list) - maxDifferences; more > 0 {
		list = append(slices.Clone(list[:maxDifferences]), fmt.Sprintf("and %d more", more))
	}
	return strings.Join(list, "; ")
}
