package trainer

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"plasticity/analyze/lowrank"
	"plasticity/config"
	"plasticity/record"
	"plasticity/torch/nn"
)

// atOnce bounds how many matrices are truncated at the same time: in float64, and with what the decomposition needs, each takes about
// twelve times the memory that its values have.
const atOnce = 8

// matrix is one that is truncated.
type matrix struct {
	kind  string // as its name says: q_proj
	name  string
	share float64

	shape  []int
	values []float32
	done   lowrank.Truncation
}

// truncated lists the matrices of attention whose ranks config.init_truncate lowers.
func truncated(c config.Run) []*matrix {
	var out []*matrix
	for _, kind := range []struct {
		name  string
		share float64
	}{
		{"q_proj", c.InitTruncate.QueryKey},
		{"k_proj", c.InitTruncate.QueryKey},
		{"v_proj", c.InitTruncate.ValueOutput},
		{"o_proj", c.InitTruncate.ValueOutput},
	} {
		for layer := range c.Model.Layers {
			if kind.share > 0 {
				out = append(out, &matrix{kind: kind.name, name: fmt.Sprintf("model.layers.%d.self_attn.%s.weight", layer, kind.name), share: kind.share})
			}
		}
	}
	return out
}

// truncate lowers the ranks of the weights that a run starts from, as its config says, and tells which ranks they have then; without
// a word in the config it does nothing and tells nothing. The registry is read and written by this goroutine alone.
func truncate(ctx context.Context, c config.Run, r *nn.Registry) (string, error) {
	matrices := truncated(c)
	if len(matrices) == 0 {
		return "", nil
	}
	for some := range slices.Chunk(matrices, min(Threads(c), atOnce)) {
		if err := ctx.Err(); err != nil {
			return "", record.FailIO(err, "lower the ranks of init")
		}
		if err := truncateSome(some, r); err != nil {
			return "", err
		}
	}
	return ranksInWords(matrices), r.Round()
}

// truncateSome truncates matrices in parallel.
func truncateSome(some []*matrix, r *nn.Registry) error {
	var group errgroup.Group
	for _, m := range some {
		p := r.Param(m.name)
		if p == nil {
			return record.Fail(record.Internal, "init_truncate: there is no parameter %s", m.name)
		}
		var err error
		if m.values, err = r.Read(nn.Params, m.name); err != nil {
			return err
		}
		m.shape = p.Shape
		group.Go(func() error {
			var err error
			m.done, err = lowrank.Truncate(m.values, m.shape[0], m.shape[1], m.share)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for _, m := range some {
		if err := r.Write(nn.Params, m.name, m.values); err != nil {
			return err
		}
		m.values = nil
	}
	return nil
}

// ranksInWords says which ranks the matrices of each kind have now: "q_proj to rank 5–9 of 16".
func ranksInWords(matrices []*matrix) string {
	var parts []string
	for at := 0; at < len(matrices); {
		first := matrices[at]
		low, high := first.done.Rank, first.done.Rank
		for at < len(matrices) && matrices[at].kind == first.kind {
			low, high = min(low, matrices[at].done.Rank), max(high, matrices[at].done.Rank)
			at++
		}
		ranks := fmt.Sprint(low)
		if high > low {
			ranks = fmt.Sprintf("%d–%d", low, high)
		}
		parts = append(parts, fmt.Sprintf("%s to rank %s of %d (share %v)", first.kind, ranks, first.done.Full, first.share))
	}
	return "init truncated: " + strings.Join(parts, ", ")
}
