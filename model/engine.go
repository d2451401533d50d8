package model

import (
	"plasticity/config"
	"plasticity/torch"
)

// EngineModel is the shape of a model as torch.Engine takes it.
func EngineModel(cfg config.Model) torch.EngineModel {
	family := torch.EngineLlama2
	if cfg.Family == config.OLMo2 {
		family = torch.EngineOLMo2
	}
	return torch.EngineModel{
		Family: family, Tied: cfg.TieEmbeddings, Layers: int64(cfg.Layers), Width: int64(cfg.Width), Heads: int64(cfg.Heads),
		KVHeads: int64(cfg.KVHeads), FFN: int64(cfg.FFN), Vocab: int64(cfg.Vocab), Context: int64(cfg.Context),
		NormEps: cfg.NormEps, RopeTheta: cfg.RopeTheta,
	}
}

// NewEngine makes an engine for this model over its registry. The caller closes it before the model.
func (m *Transformer) NewEngine(o torch.EngineOptions) (*torch.Engine, error) {
	// Parameters are declared in the order in which the engine asks for them.
	params := m.registry.Params()
	offsets := make([]int64, len(params))
	for i, p := range params {
		offsets[i] = p.Offset
	}
	return torch.NewEngine(EngineModel(m.config), o, offsets)
}
