// Package model holds the language models: one [Transformer] for both families, Llama-2 and OLMo-2, written so that it reads
// like the papers. llama2.go and olmo2.go have what differs, attention.go and block.go what does not; hf.go writes
// Hugging Face folders; package source finds a model wherever it lies and says what its folder says.
//
//	m, err := model.New(cfg, torch.BFloat16, nn.Training)
//	defer m.Close()
//	err = m.Initialize(seed)
//
//	s := torch.NewScope()
//	defer s.Close()
//	loss := m.Loss(s, s.FromInt32(inputs, b, t), s.FromInt32(targets, b, t), zLoss, divisor)
//	s.Backward(loss) // gradients are added up in m.Registry()
//	err = s.Err()
//
// Generation decodes with a cache, in a scope with torch.NoGrad for each step:
//
//	cache, err := m.NewCache(batch, prompt+new)
//	defer cache.Close()
//	logits := m.Decode(s, s.FromInt32(prompts, batch, prompt), cache) // [B, V], of the last position
//	logits = m.Decode(s, s.FromInt32(chosen, batch, 1), cache)
//
// Weights: [Transformer.Save] and [Transformer.Load] for checkpoints, [SaveHF] for a Hugging Face folder, [Open] for a
// run, a checkpoint or a Hugging Face folder, [Declare] for names and shapes without any memory behind them.
//
// In float32 everything is float32. In bfloat16 the masters, the residual stream, softmax and loss stay float32; products
// read rounded copies of the weights and what the norms give, and their results are bfloat16.
//
// The package may import torch and its subpackages, model/source, config, data and record.
package model
