package plots

import (
	"testing"

	"plasticity/record"
)

func TestDescribeDecay_NamesWhatAloneIsDecayed(t *testing.T) {
	t.Parallel()
	all := []string{
		"model.embed_tokens.weight", "model.layers.0.input_layernorm.weight", "model.layers.0.self_attn.q_proj.weight", "model.layers.0.self_attn.k_proj.weight",
		"model.layers.0.self_attn.v_proj.weight", "model.layers.0.self_attn.o_proj.weight", "model.layers.0.mlp.gate_proj.weight", "model.norm.weight", "lm_head.weight",
	}
	for want, decayed := range map[string][]string{
		"only keys and queries decayed":              {all[2], all[3]},
		"only attention output and values decayed":   {all[4], all[5]},
		"only feed-forward decayed":                  {all[6]},
		"only embedding and head decayed":            {all[0], all[8]},
		"norm gains exempt from decay":               {all[0], all[2], all[3], all[4], all[5], all[6], all[8]},
		"8 of 9 parameter tensors exempt from decay": {all[1]}, // one of two gains
	} {
		on, off := record.DecayGroup{WeightDecay: 1}, record.DecayGroup{}
		for _, name := range all {
			group := &off
			for _, d := range decayed {
				if d == name {
					group = &on
				}
			}
			group.Parameters = append(group.Parameters, name)
		}
		if got := describeDecay([]record.DecayGroup{on, off}); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
