#include "step.hh"

#include <ATen/ops/addmm.h>
#include <ATen/ops/mm.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAGuard.h>

namespace tgo::cuda {
namespace {

bf16* half_of(const at::Tensor& t) {
  return reinterpret_cast<bf16*>(t.mutable_data_ptr<c10::BFloat16>());
}

float* float_of(const at::Tensor& t) { return t.mutable_data_ptr<float>(); }

}  // namespace

std::string Pass::choose_attention(const tgo_graph_options& options, int major) {
  std::string passed_over;
  for (std::unique_ptr<Attention>& a : attention_candidates(options, major)) {
    const std::string why =
        refusal(*a, sizes_.heads, sizes_.kv_heads, sizes_.size, sizes_.time, device_);
    if (why.empty()) {
      attention_ = std::move(a);
      return attention_->name() + (passed_over.empty() ? "" : " (" + passed_over + ")");
    }
    passed_over += (passed_over.empty() ? "" : "; ") + std::string("not ") + a->name() + ": " + why;
  }
  TORCH_CHECK(false, "no implementation of attention works: ", passed_over);
}

// ---- products ---------------------------------------------------------------------------------

// out [N, out] = x [N, in] · wᵀ.
void Pass::product(const at::Tensor& out, const at::Tensor& x, const Weight& w) const {
  at::Tensor to = out;
  at::mm_out(to, x, w.value.t());
}

// dx [N, in] = dy [N, out] · w.
void Pass::product_back(const at::Tensor& dx, const at::Tensor& dy, const Weight& w) const {
  at::Tensor to = dx;
  at::mm_out(to, dy, w.value);
}

// dw [out, in] (+)= dyᵀ · x, in float32.
void Pass::weight_gradient(const Weight& w, const at::Tensor& dy, const at::Tensor& x,
                           bool first) const {
  at::Tensor to = w.grad;
  if (first) {
    at::mm_out(to, dy.t(), x, at::kFloat);
  } else {
    at::addmm_out(to, to, dy.t(), x, at::kFloat, 1, 1);
  }
}

// ---- shapes -----------------------------------------------------------------------------------

void Pass::set_rows(const Tokens& tokens) {
  TORCH_CHECK(tokens.sequences >= 1 && tokens.sequences * sizes_.time <= sizes_.rows,
              tokens.sequences, " sequences in buffers for ", sizes_.rows / sizes_.time);
  tokens_ = tokens;
  rows_ = tokens.sequences * sizes_.time;
  stream_ = c10::cuda::getCurrentCUDAStream(device_.index()).stream();
}

Norm Pass::norm_of(const Gain& g, const at::Tensor& rstd, int64_t width) const {
  return {g.value, float_of(rstd), rows_, width, static_cast<float>(options_.norm_eps)};
}

Heads Pass::heads_of() const {
  return {rows_,
          sizes_.time,
          static_cast<int>(sizes_.heads),
          static_cast<int>(sizes_.kv_heads),
          static_cast<int>(sizes_.size),
          float_of(cosine_),
          float_of(sine_)};
}

// q, k, v as attention reads them: [B, heads, T, E] views of rows.
Qkv Pass::qkv_of(const Layer& l) const {
  const int64_t b = tokens_.sequences, t = sizes_.time, e = sizes_.size;
  const auto view = [&](const at::Tensor& rows, int64_t first, int64_t heads) {
    const int64_t stride = rows.size(1);
    return rows.as_strided({b, heads, t, e}, {t * stride, e, stride, 1}, first * e);
  };
  const at::Tensor& turned = sizes_.olmo2 ? l.qk_rows : l.qkv_rows;
  return {view(turned, 0, sizes_.heads), view(turned, sizes_.heads, sizes_.kv_heads),
          view(l.qkv_rows, sizes_.heads + sizes_.kv_heads, sizes_.kv_heads)};
}

// ---- forward ----------------------------------------------------------------------------------

void Pass::train(const Tokens& tokens, double* losses, bool first) {
  set_rows(tokens);
  forward(true);
  head(losses, true, first);
  backward(first);
}

void Pass::evaluate(const Tokens& tokens, double* losses) {
  set_rows(tokens);
  forward(false);
  head(losses, false, false);
}

void Pass::forward(bool keep) {
  const int64_t d = sizes_.width;
  const float* table = state_.params.const_data_ptr<float>() + state_.embedding;
  Layer& bottom = layers_.front();
  if (sizes_.olmo2) {
    embed(table, tokens_.ids, float_of(x_), half_of(bottom.in), rows_, d, stream_);
  } else {
    embed(table, tokens_.ids, float_of(bottom.stream_in), nullptr, rows_, d, stream_);
    norm(norm_of(bottom.norm1, bottom.rstd1, d), float_of(bottom.stream_in), nullptr, nullptr,
         half_of(sizes_.keep ? bottom.h1 : h_), stream_);
  }
  for (size_t i = 0; i < layers_.size(); i++) {
    if (sizes_.olmo2) {
      forward_olmo(i);
    } else {
      forward_llama(i);
    }
    if (!keep) {
      layers_[i].attended = {};
    }
  }
  if (sizes_.olmo2) {
    norm(norm_of(norm_, rstd_, d), float_of(x_), nullptr, nullptr, half_of(h_), stream_);
  }
}

// Each norm's result goes to h_, or is kept: the next norm is the next layer's, or the last one.
void Pass::forward_llama(size_t i) {
  Layer& l = layers_[i];
  const bool last = i + 1 == layers_.size();
  const int64_t d = sizes_.width;
  const at::Tensor &h1 = sizes_.keep ? l.h1 : h_, &h2 = sizes_.keep ? l.h2 : h_;
  product(rows_of(l.qkv_rows), rows_of(h1), l.qkv);
  rotate(heads_of(), half_of(l.qkv_rows), stream_);
  l.attended = attention_->forward(qkv_of(l));
  product(rows_of(proj_), l.attended.out.transpose(1, 2).reshape({rows_, sizes_.q_width()}), l.o);
  norm(norm_of(l.norm2, l.rstd2, d), float_of(l.stream_in), half_of(proj_), float_of(l.stream_mid),
       half_of(h2), stream_);
  product(rows_of(l.gate_up_rows), rows_of(h2), l.gate_up);
  swiglu(half_of(l.gate_up_rows), half_of(act_of(i)), rows_, sizes_.ffn, stream_);
  product(rows_of(proj_), rows_of(act_of(i)), l.down);
  const Norm next =
      last ? norm_of(norm_, rstd_, d) : norm_of(layers_[i + 1].norm1, layers_[i + 1].rstd1, d);
  norm(next, float_of(l.stream_mid), half_of(proj_), float_of(last ? x_ : layers_[i + 1].stream_in),
       half_of(sizes_.keep && !last ? layers_[i + 1].h1 : h_), stream_);
}

// x_ is the stream; a layer's in is its copy in bfloat16.
void Pass::forward_olmo(size_t i) {
  Layer& l = layers_[i];
  const bool last = i + 1 == layers_.size();
  const int64_t d = sizes_.width;
  product(rows_of(l.qkv_rows), rows_of(l.in), l.qkv);
  norm_rotate(
      heads_of(),
      {l.q_norm.value, l.k_norm.value, float_of(l.rstd_qk), static_cast<float>(options_.norm_eps)},
      half_of(l.qkv_rows), half_of(l.qk_rows), stream_);
  l.attended = attention_->forward(qkv_of(l));
  product(rows_of(l.y1), l.attended.out.transpose(1, 2).reshape({rows_, sizes_.q_width()}), l.o);
  post_norm(norm_of(l.norm1, l.rstd1, d), half_of(l.y1), float_of(x_), half_of(l.mid), stream_);
  product(rows_of(l.gate_up_rows), rows_of(l.mid), l.gate_up);
  swiglu(half_of(l.gate_up_rows), half_of(act_of(i)), rows_, sizes_.ffn, stream_);
  product(rows_of(l.y2), rows_of(act_of(i)), l.down);
  post_norm(norm_of(l.norm2, l.rstd2, d), half_of(l.y2), float_of(x_),
            half_of(last ? h_ : layers_[i + 1].in), stream_);
}

// The output layer in chunks of rows: logits become their gradient in place. dh ends up in proj_.
void Pass::head(double* losses, bool grad, bool first) {
  const CrossEntropy ce{grad ? static_cast<float>(options_.z_loss) : 0.0F,
                        grad ? tokens_.inverse_divisor : nullptr};
  for (int64_t from = 0; from < rows_; from += sizes_.chunk()) {
    const int64_t n = std::min(sizes_.chunk(), rows_ - from);
    const at::Tensor logits = logits_.narrow(0, 0, n), h = h_.narrow(0, from, n);
    if (from > 0 && grad) {
      join(layers_.size());  // the chunk before is read by its weight gradient
    }
    product(logits, h, head_);
    cross_entropy(ce, half_of(logits), tokens_.targets + from, losses + from, n, sizes_.vocab,
                  stream_);
    if (grad) {
      product_back(proj_.narrow(0, from, n), logits, head_);
      beside([&] { weight_gradient(head_, logits, h, first && from == 0); });
      finished(layers_.size());
    }
  }
}

// ---- backward ---------------------------------------------------------------------------------

// Runs `work` on the side stream once what was launched so far is done; with one stream, at once.
void Pass::beside(const std::function<void()>& work) {
  if (sizes_.streams != 2) {
    work();
    return;
  }
  fork_.record(stream_);
  fork_.hold(side_);
  const c10::cuda::CUDAStreamGuard guard(side_);
  work();
}

// Marks the end of a layer's work on the side stream; the head counts as the layer above the last.
void Pass::finished(size_t layer) {
  if (sizes_.streams == 2) {
    done_[layer % 2].record(side_);
  }
}

// Waits for it: what it read may be overwritten.
void Pass::join(size_t layer) {
  if (sizes_.streams == 2) {
    done_[layer % 2].hold(stream_);
  }
  if (layer < layers_.size()) {
    layers_[layer].attended = {};
  }
}

void Pass::backward(bool first) {
  const int64_t d = sizes_.width;
  const size_t top = layers_.size();
  norm_backward(norm_of(norm_, rstd_, d), float_of(x_), half_of(proj_), false, float_of(dx_),
                half_of(dy_[(top - 1) % 2][0]), nullptr, norm_.partial, stream_);
  for (size_t i = top; i-- > 0;) {
    if (sizes_.olmo2) {
      backward_olmo(i, first);
    } else {
      backward_llama(i, first);
    }
    finished(i);
  }
  if (sizes_.olmo2) {
    add(half_of(proj_), float_of(dx_), rows_ * d, stream_);
  }
  float* table = float_of(state_.grads) + state_.embedding;
  if (first && !head_tied_) {
    const auto bytes = static_cast<size_t>(sizes_.vocab * d) * sizeof(float);
    C10_CUDA_CHECK(cudaMemsetAsync(table, 0, bytes, stream_));
  }
  embed_backward(float_of(dx_), tokens_.ids, tokens_.order, table, rows_, d, stream_);
  sum_gains(reinterpret_cast<const GainSum*>(gain_table_.const_data_ptr()),
            static_cast<int64_t>(gain_list_.size()), widest_gain_, !first, stream_);
  join(0);
}

// From dy, the gradient of what the sub-layer gave, to proj_, that of what its products read. The
// weight gradient of gate_up needs h and is the caller's.
void Pass::backward_feed_forward(size_t i, bool first) {
  Layer& l = layers_[i];
  const at::Tensor dy = rows_of(dy_[i % 2][0]), dact = rows_of(act_[i % 2]);
  product_back(dact, dy, l.down);
  swiglu_backward(half_of(l.gate_up_rows), half_of(dact), !sizes_.keep, rows_, sizes_.ffn, stream_);
  beside([&] { weight_gradient(l.down, dy, rows_of(act_of(i)), first); });
  product_back(rows_of(proj_), rows_of(l.gate_up_rows), l.gate_up);
}

// Likewise; qkv_rows become their gradient.
void Pass::backward_attention(size_t i, bool first) {
  Layer& l = layers_[i];
  const at::Tensor dy = rows_of(dy_[i % 2][1]), dattn = rows_of(dattn_);
  beside([&] {
    weight_gradient(l.o, dy, l.attended.out.transpose(1, 2).reshape({rows_, sizes_.q_width()}),
                    first);
  });
  product_back(dattn, dy, l.o);
  const at::Tensor dout =
      dattn.view({tokens_.sequences, sizes_.time, sizes_.heads, sizes_.size}).transpose(1, 2);
  QkvGradients g = attention_->backward(dout, qkv_of(l), l.attended);
  for (at::Tensor* t : {&g.q, &g.k, &g.v}) {
    *t = t->transpose(1, 2).contiguous();
  }
  const HeadGradients d{half_of(g.q), half_of(g.k), half_of(g.v), static_cast<int>(g.k.size(2))};
  if (sizes_.olmo2) {
    norm_rotate_backward(heads_of(),
                         {l.q_norm.value, l.k_norm.value, float_of(l.rstd_qk),
                          static_cast<float>(options_.norm_eps)},
                         d, half_of(l.qkv_rows), l.q_norm.partial, l.k_norm.partial, stream_);
  } else {
    rotate_backward(heads_of(), d, half_of(l.qkv_rows), stream_);
  }
  product_back(rows_of(proj_), rows_of(l.qkv_rows), l.qkv);
}

// dx_ and its copy in dy_ are the gradient of the layer's result, then of its input. The norms'
// results are kept or computed again.
void Pass::backward_llama(size_t i, bool first) {
  Layer& l = layers_[i];
  const int64_t d = sizes_.width;
  const auto& again = again_[i % 2];
  const at::Tensor &h1 = sizes_.keep ? l.h1 : again[1], &h2 = sizes_.keep ? l.h2 : again[0];
  bf16 *again1 = sizes_.keep ? nullptr : half_of(h1), *again2 = sizes_.keep ? nullptr : half_of(h2);
  backward_feed_forward(i, first);
  norm_backward(norm_of(l.norm2, l.rstd2, d), float_of(l.stream_mid), half_of(proj_), true,
                float_of(dx_), half_of(dy_[i % 2][1]), again2, l.norm2.partial, stream_);
  beside([&] { weight_gradient(l.gate_up, rows_of(l.gate_up_rows), rows_of(h2), first); });
  backward_attention(i, first);
  join(i + 1);
  norm_backward(norm_of(l.norm1, l.rstd1, d), float_of(l.stream_in), half_of(proj_), true,
                float_of(dx_), half_of(dy_[(i + 1) % 2][0]), again1, l.norm1.partial, stream_);
  beside([&] { weight_gradient(l.qkv, rows_of(l.qkv_rows), rows_of(h1), first); });
}

// proj_ comes from the layer above as what is still to be added to dx_, and leaves likewise.
void Pass::backward_olmo(size_t i, bool first) {
  Layer& l = layers_[i];
  const int64_t d = sizes_.width;
  const bf16* dh = i + 1 == layers_.size() ? nullptr : half_of(proj_);
  post_norm_backward(norm_of(l.norm2, l.rstd2, d), half_of(l.y2), dh, float_of(dx_),
                     half_of(dy_[i % 2][0]), l.norm2.partial, stream_);
  backward_feed_forward(i, first);
  beside([&] { weight_gradient(l.gate_up, rows_of(l.gate_up_rows), rows_of(l.mid), first); });
  post_norm_backward(norm_of(l.norm1, l.rstd1, d), half_of(l.y1), half_of(proj_), float_of(dx_),
                     half_of(dy_[i % 2][1]), l.norm1.partial, stream_);
  backward_attention(i, first);
  beside([&] { weight_gradient(l.qkv, rows_of(l.qkv_rows), rows_of(l.in), first); });
  join(i + 1);
}

}  // namespace tgo::cuda
