package config

// Preset is a named model shape.
type Preset struct {
	Name  string
	About string
	Model Model
}

// Presets lists every named shape, the small ones first. The Llama-2 shapes from 125m on and olmo2-1b are the paper's.
func Presets() []Preset {
	return []Preset{
		llama("llama2-s", "0.17M: seconds on a core", Model{Layers: 2, Width: 64, Heads: 2, KVHeads: 2, FFN: 176, Vocab: 512, Context: 128}),
		llama("llama2-1m", "0.94M: minutes on a core", Model{Layers: 4, Width: 128, Heads: 4, KVHeads: 4, FFN: 352, Vocab: 512, Context: 128}),
		llama("llama2-7m", "6.5M, grouped heads", Model{Layers: 6, Width: 256, Heads: 8, KVHeads: 4, FFN: 688, Vocab: 4096, Context: 256}),
		llama("llama2-34m", "31.6M, grouped heads", Model{Layers: 8, Width: 512, Heads: 8, KVHeads: 4, FFN: 1376, Vocab: 8192, Context: 512}),
		llama("llama2-125m", "the paper's code, scaled down", paperLlama(12, 768, 2176)),
		llama("llama2-250m", "the paper's code, scaled down", paperLlama(16, 1024, 2992)),
		llama("llama2-0.5b", "the paper's smallest", paperLlama(20, 1536, 3216)),
		llama("llama2-1b", "the paper's", paperLlama(22, 2048, 4896)),
		llama("llama2-2b", "the paper's code", paperLlama(26, 2816, 6180)),
		llama("llama2-4b", "the paper's largest", paperLlama(28, 4096, 7792)),
		olmo("olmo2-s", "0.17M: seconds on a core", Model{Layers: 2, Width: 64, Heads: 2, KVHeads: 2, FFN: 176, Vocab: 512, Context: 128}),
		olmo("olmo2-1m", "0.94M: minutes on a core", Model{Layers: 4, Width: 128, Heads: 4, KVHeads: 4, FFN: 352, Vocab: 512, Context: 128}),
		olmo("olmo2-7m", "6.9M", Model{Layers: 6, Width: 256, Heads: 8, KVHeads: 8, FFN: 688, Vocab: 4096, Context: 256}),
		olmo("olmo2-1b", "the paper's OLMo-2", Model{Layers: 16, Width: 2048, Heads: 16, KVHeads: 16, FFN: 8192, Vocab: 100352, Context: 4096}),
	}
}

// PresetByName finds a preset.
func PresetByName(name string) (Preset, bool) {
	for _, p := range Presets() {
		if p.Name == name {
			return p, true
		}
	}
	return Preset{}, false
}

func llama(name, about string, m Model) Preset {
	m.Family, m.Preset, m.RopeTheta, m.NormEps = Llama2, name, 10_000, 1e-5
	return Preset{Name: name, About: about, Model: m}
}

func olmo(name, about string, m Model) Preset {
	m.Family, m.Preset, m.RopeTheta, m.NormEps = OLMo2, name, 500_000, 1e-6
	return Preset{Name: name, About: about, Model: m}
}

// paperLlama is what the Llama-2 models of the paper have in common.
func paperLlama(layers, width, ffn int) Model {
	return Model{Layers: layers, Width: width, Heads: 32, KVHeads: 4, FFN: ffn, Vocab: 32_000, Context: 2048}
}
