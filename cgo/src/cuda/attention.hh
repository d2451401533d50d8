// Causal attention forward and backward through one of ATen's implementations, chosen by name.
#pragma once

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>
#include <vector>

#include "../../tgo.h"

namespace tgo::cuda {

// Dimensions: B batch, H heads, G key/value heads, T time, E head size. Any strides, the last
// one 1.
struct Qkv {
  at::Tensor q;     // [B, H, T, E]
  at::Tensor k, v;  // [B, G, T, E]
};

// What backward needs of a forward pass.
struct Attended {
  at::Tensor out;  // [B, H, T, E], lying as [B, T, H, E]
  at::Tensor log_sum_exp, seed, offset, cumulative_q, cumulative_k;
  int64_t longest_q = 0, longest_k = 0;
};

struct QkvGradients {
  at::Tensor q, k, v;  // lying as [B, T, heads, E]; k and v have H heads when they were repeated
};

class Attention {
 public:
  virtual ~Attention() = default;
  virtual const char* name() const = 0;
  virtual Attended forward(const Qkv& x) const = 0;
  virtual QkvGradients backward(const at::Tensor& dout, const Qkv& x, const Attended& a) const = 0;
};

// The implementations in the order in which they are tried on a device of compute capability
// major.x. cuDNN's backward adds in no fixed order, so where `deterministic` asks for one it is
// passed over.
std::vector<std::unique_ptr<Attention>> attention_candidates(const tgo_graph_options& options,
                                                             int major);

// Why `a` cannot be used for these sizes, or nothing. Runs it on a short sequence and compares with
// plain products in float32.
std::string refusal(const Attention& a, int64_t heads, int64_t kv_heads, int64_t size, int64_t time,
                    at::Device device);

}  // namespace tgo::cuda
