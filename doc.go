// Package plasticity is the front page of the module; it has no code.
//
// The module pretrains language models over a grid of weight decays and shows what the decay does
// to the model that comes after fine-tuning. Two programs are built from it: cmd/plasticity, pure
// Go, is the user's; it starts cmd/plasticity-worker, which links libtorch, once for each run.
//
// Imports go down, and from the native side across to the leaves; never from pure to native:
//
//	native side: links libtorch              pure side: builds without C
//	cmd/plasticity-worker                    cmd/plasticity
//	trainer   eval                           sweeps   serve   plots
//	model                                    analyze/…   model/source
//	torch/optim   torch/nn                   data/task
//	torch                                    eval/answer   eval/metric
//	cgo → libtgo (C++) → libtorch            config   data   record   torch/safetensors
//
// The test beside this file holds the house to that. docs/architecture.md says what each room is
// for.
package plasticity
