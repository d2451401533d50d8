package model_test

import (
	"os"
	"testing"

	"plasticity/model"
	"plasticity/model/source"
	"plasticity/record"
	"plasticity/record/recordtest"
	"plasticity/torch/nn"
)

func FuzzReadHFConfig(f *testing.F) {
	f.Add([]byte(`{"model_type":"llama","hidden_size":8,"num_attention_heads":2,"num_hidden_layers":1,"intermediate_size":4,"vocab_size":9}`))
	f.Add([]byte(`{"model_type":"olmo2","architectures":["Olmo2ForCausalLM"],"rope_parameters":{"rope_theta":1e4,"rope_type":"default"},"eos_token_id":[1,2]}`))
	f.Add([]byte(`{"rope_scaling":{"type":"linear"},"layer_types":["x"],"head_dim":1e3}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		fsys := recordtest.NewMemFS()
		if err := fsys.MkdirAll("/m", 0o755); err != nil {
			t.Fatal(err)
		}
		file, err := fsys.OpenFile("/m/config.json", os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.Write(text); err != nil {
			t.Fatal(err)
		}
		h, err := source.ReadHFConfig(fsys, "/m", source.ToCompute)
		if err != nil {
			if record.CodeOf(err) != record.BadData {
				t.Fatalf("not bad data: %v", err)
			}
			return
		}
		cfg := h.Config
		if cfg.Layers > 64 {
			return
		}
		r := nn.NewRegistry()
		model.Declare(r, cfg)
		if r.NumParams() != cfg.Parameters() || r.NumParams() < 1 {
			t.Fatalf("%d parameters of %+v", r.NumParams(), cfg)
		}
	})
}
