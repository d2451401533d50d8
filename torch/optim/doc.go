// Package optim holds the optimizer: decoupled AdamW over the flat buffers of an nn.Registry, and
// the groups that say which parameters decay and by how much.
//
// Groups are data, never code: ordered globs over parameter names, every parameter in exactly one
// group, a glob that matches nothing an error. Learning rate and weight decay are arguments of
// every step, so that schedules stay pure functions elsewhere.
//
// The package may import torch, torch/nn and record.
package optim
