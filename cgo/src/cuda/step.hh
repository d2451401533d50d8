// Forward and backward of a Llama-2 or OLMo-2, written out: static buffers, products by cuBLAS
// through ATen, everything between them by the kernels. Every call only launches, on the current
// stream.
//
// Letters: N rows (tokens) of a micro-batch, B sequences, T time, D width, H heads, G key/value
// heads, E head size, F feed-forward width, V vocabulary, S = (H + 2G)·E.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/cuda/CUDAStream.h>

#include <array>
#include <functional>
#include <memory>
#include <vector>

#include "../cuda.hh"
#include "../graph_plan.hh"
#include "attention.hh"
#include "event.hh"
#include "kernels.hh"

namespace tgo::cuda {

// The token ids of one pass, on the device.
struct Tokens {
  const int32_t *ids, *targets;
  const int32_t* order;           // rows with a gradient, equal ids as neighbours; then −1
  const double* inverse_divisor;  // 1 / targets of the step that count
  int64_t sequences;
};

// A product's weight as it is used, [out, in], and its gradient.
struct Weight {
  at::Tensor value, grad;
};

// A gain and where its gradient goes: partial sums first.
struct Gain {
  const float* value;
  float *grad, *partial;
};

class Pass {
 public:
  Pass(const tgo_graph_options& options, const State& state, const tgo_graph_layer* layers,
       at::Device device);

  // Losses of the rows go to `losses`; gradients are those of Σ losses over the step's divisor. The
  // first pass of a step overwrites gradients, later ones add to theirs.
  void train(const Tokens& tokens, double* losses, bool first);
  // Losses only.
  void evaluate(const Tokens& tokens, double* losses);

  // Tries implementations of attention until one fits; says which, and why not an earlier one.
  std::string choose_attention(const tgo_graph_options& options, int major);

 private:
  struct Layer {
    Weight qkv, o, gate_up, down;
    Gain norm1, norm2, q_norm, k_norm;
    // Kept from forward to backward.
    at::Tensor stream_in, stream_mid;  // [N, D] f32: Llama-2's norms read them
    at::Tensor in, mid;                // [N, D] bf16: what OLMo-2's products read
    at::Tensor y1, y2;                 // [N, D] bf16: what OLMo-2's norms read
    at::Tensor rstd1, rstd2, rstd_qk;  // [N], [N], [N, 2]
    at::Tensor qkv_rows;               // [N, S]
    at::Tensor qk_rows;                // [N, (H+G)·E]: OLMo-2's after norm and rotation
    at::Tensor gate_up_rows;           // [N, 2F]
    at::Tensor act, h1, h2;            // [N, F], [N, D]: kept when there is room, Llama-2's h
    Attended attended;
  };

  void allocate();
  void allocate_layer(Layer& l);
  void lay_out_gains();
  void build_rotary(double theta);
  Weight weight(int64_t offset, int64_t out, int64_t in) const;
  Gain gain(int64_t offset, int64_t width);

  void set_rows(const Tokens& tokens);
  void forward(bool keep);
  void forward_llama(size_t i);
  void forward_olmo(size_t i);
  void head(double* losses, bool grad, bool first);
  void backward(bool first);
  void backward_feed_forward(size_t i, bool first);
  void backward_attention(size_t i, bool first);
  void backward_llama(size_t i, bool first);
  void backward_olmo(size_t i, bool first);
  void beside(const std::function<void()>& work);
  void finished(size_t layer);
  void join(size_t layer);
  const at::Tensor& act_of(size_t i) const { return sizes_.keep ? layers_[i].act : act_[i % 2]; }

  Norm norm_of(const Gain& g, const at::Tensor& rstd, int64_t width) const;
  Heads heads_of() const;
  Qkv qkv_of(const Layer& l) const;
  at::Tensor rows_of(const at::Tensor& buffer) const { return buffer.narrow(0, 0, rows_); }
  void product(const at::Tensor& out, const at::Tensor& x, const Weight& w) const;
  void product_back(const at::Tensor& dx, const at::Tensor& dy, const Weight& w) const;
  void weight_gradient(const Weight& w, const at::Tensor& dy, const at::Tensor& x,
                       bool first) const;

  tgo_graph_options options_;
  GraphSizes sizes_;
  State state_;
  at::Device device_;
  cudaStream_t stream_ = nullptr;  // the current one, as of set_rows
  std::unique_ptr<Attention> attention_;

  std::vector<Layer> layers_;
  Weight head_;
  Gain norm_;
  bool head_tied_;
  std::vector<GainSum> gain_list_;
  at::Tensor partials_, gain_table_;  // [gains, kGainParts, width], the list on the device
  int64_t widest_gain_ = 0;

  // Scratch that every layer uses again.
  at::Tensor x_;         // [N, D] f32: the residual stream's end, OLMo-2's whole
  at::Tensor dx_;        // [N, D] f32: its gradient
  at::Tensor h_, proj_;  // [N, D] bf16
  at::Tensor dattn_;     // [N, H·E] bf16
  // Read by weight gradients, which may still run while the next layer does: of even and odd
  // layers.
  std::array<std::array<at::Tensor, 2>, 2> dy_,
      again_;                      // [N, D] bf16; feed-forward's and attention's
  std::array<at::Tensor, 2> act_;  // [N, F] bf16
  at::Tensor rstd_;                // [N]: of the last norm
  at::Tensor logits_;              // [chunk, V] bf16
  at::Tensor cosine_, sine_;       // [T, E/2] f32

  Tokens tokens_{};
  int64_t rows_ = 0;
  c10::cuda::CUDAStream side_;  // where weight gradients run when there are two streams
  Event fork_;
  std::array<Event, 2> done_;  // weight gradients of an even and an odd layer
};

}  // namespace tgo::cuda
