// Package nn holds parameters and layers: plain structs with Forward(scope, x).
//
// Parameters are declared in a [Registry] in the order in which a model is built, under their
// Hugging Face names. Build lays them out one behind the other in four flat float32 buffers —
// values, gradients and the two moments of Adam — with, for bfloat16 products, a rounded copy of
// the values; a registry for another [Use] than training by autograd does without what nobody reads
// there. A parameter is a named view of them. So an optimizer passes over everything once, a
// checkpoint reads ranges, and a step written by hand works on the buffers directly.
//
// The package may import torch and record. It knows nothing of configs or models.
package nn
