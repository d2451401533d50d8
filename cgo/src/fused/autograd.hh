// Shared by the fused operations' autograd functions.
#pragma once

#include <torch/csrc/autograd/custom_function.h>

#include "../guard.hh"
#include "simd.hh"

namespace tgo {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// Calls f with typed null pointers standing for t's element type: float or BFloat16.
template <class F>
auto by_type(at::ScalarType type, const char* op, F&& f) {
  TORCH_CHECK(type == at::kFloat || type == at::kBFloat16, op, " takes float32 or bfloat16, not ",
              type);
  return type == at::kFloat ? f(static_cast<float*>(nullptr)) : f(static_cast<BFloat16*>(nullptr));
}

// True when autograd will want the gradient of one of the tensors.
template <class... Tensors>
bool wants_grad(const Tensors&... tensors) {
  return c10::GradMode::is_enabled() && (tensors.requires_grad() || ...);
}

// x as a contiguous matrix [N, last dimension].
inline at::Tensor as_matrix(const at::Tensor& x) {
  TORCH_CHECK(x.dim() >= 1, "a scalar has no last dimension");
  return x.contiguous().view({-1, x.size(-1)});
}

}  // namespace tgo
