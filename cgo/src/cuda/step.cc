#include "step.hh"

#include <ATen/ops/addmm.h>
#include <ATen/ops/mm.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>

namespace tgo::cuda {
namespace {

bf16* half_of(const at::Tensor& t) {
  return reinterpret_cast<bf16*>(t.mutable_data_ptr<c10::BFloat16>());
}

float* float_of(const at::Tensor& t) { return t.mutable_data_ptr<float>(); }

}  // namespace

std::string Pass::choose_attention(int32_t wanted, int major) {
  std::string passed_over;
  for (std::unique_ptr<Attention>& a : attention_candidates(wanted, major)) {
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
  TORCH_CHECK(tokens.sequences >= 1 && tokens.sequences * sizes_.time <= sizes_.rows, tokens.sequences,
              " sequences in buffers for ", sizes_.rows / sizes_.time);
  tokens_ = tokens;
  rows_ = tokens.sequences * sizes_.time;
  stream_ = c10::cuda::getCurrentCUDAStream(device_.index()).stream();
}

Norm Pass::norm_of(const Gain& g, const at::Tensor& rstd, int64_t width) const {
  return {g.value, float_of(rstd), rows_, width, static_cast<float>(options_.norm_eps)};
}

Heads Pass::heads_of() const {
  return {rows_, sizes_.time, static_cast<int>(sizes_.heads), static_cast<int>(sizes_.kv_heads),
          static_cast<int>(sizes_.size), float_of(cosine_), float_of(sine_)};
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
         half_of(h_), stream_);
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

// In: h_ holds the normed stream. Out: h_ holds that of the next layer, or the last norm's result.
void Pass::forward_llama(size_t i) {
  Layer& l = layers_[i];
  const bool last = i + 1 == layers_.size();
  const int64_t d = sizes_.width;
  product(rows_of(l.qkv_rows), rows_of(h_), l.qkv);
  rotate(heads_of(), half_of(l.qkv_rows), stream_);
  l.attended = attention_->forward(qkv_of(l));
  product(rows_of(proj_), l.attended.out.transpose(1, 2).reshape({rows_, sizes_.q_width()}), l.o);
  norm(norm_of(l.norm2, l.rstd2, d), float_of(l.stream_in), half_of(proj_), float_of(l.stream_mid),
       half_of(h_), stream_);
  product(rows_of(l.gate_up_rows), rows_of(h_), l.gate_up);
  swiglu(half_of(l.gate_up_rows), half_of(act_), rows_, sizes_.ffn, stream_);
  product(rows_of(proj_), rows_of(act_), l.down);
  const Norm next = last ? norm_of(norm_, rstd_, d)
                         : norm_of(layers_[i + 1].norm1, layers_[i + 1].rstd1, d);
  norm(next, float_of(l.stream_mid), half_of(proj_),
       float_of(last ? x_ : layers_[i + 1].stream_in), half_of(h_), stream_);
}

// x_ is the stream; a layer's in is its copy in bfloat16.
void Pass::forward_olmo(size_t i) {
  Layer& l = layers_[i];
  const bool last = i + 1 == layers_.size();
  const int64_t d = sizes_.width;
  product(rows_of(l.qkv_rows), rows_of(l.in), l.qkv);
  norm_rotate(heads_of(),
              {l.q_norm.value, l.k_norm.value, float_of(l.rstd_qk), static_cast<float>(options_.norm_eps)},
              half_of(l.qkv_rows), half_of(l.qk_rows), stream_);
  l.attended = attention_->forward(qkv_of(l));
  product(rows_of(l.y1), l.attended.out.transpose(1, 2).reshape({rows_, sizes_.q_width()}), l.o);
  post_norm(norm_of(l.norm1, l.rstd1, d), half_of(l.y1), float_of(x_), half_of(l.mid), stream_);
  product(rows_of(l.gate_up_rows), rows_of(l.mid), l.gate_up);
  swiglu(half_of(l.gate_up_rows), half_of(act_), rows_, sizes_.ffn, stream_);
  product(rows_of(l.y2), rows_of(act_), l.down);
  post_norm(norm_of(l.norm2, l.rstd2, d), half_of(l.y2), float_of(x_),
            half_of(last ? h_ : layers_[i + 1].in), stream_);
}

// The output layer in chunks of rows: logits become their gradient in place. dh ends up in proj_.
void Pass::head(double* losses, bool grad, bool first) {
  const CrossEntropy ce{grad ? static_cast<float>(options_.z_loss) : 0.0F,
                        static_cast<float>(1.0 / static_cast<double>(divisor_)), grad};
  for (int64_t from = 0; from < rows_; from += sizes_.chunk()) {
    const int64_t n = std::min(sizes_.chunk(), rows_ - from);
    const at::Tensor logits = logits_.narrow(0, 0, n), h = h_.narrow(0, from, n);
    product(logits, h, head_);
    cross_entropy(ce, half_of(logits), tokens_.targets + from, losses + from, n, sizes_.vocab, stream_);
    if (grad) {
      product_back(proj_.narrow(0, from, n), logits, head_);
      weight_gradient(head_, logits, h, first && from == 0);
    }
  }
}

// ---- backward ---------------------------------------------------------------------------------

void Pass::backward(bool first) {
  const int64_t d = sizes_.width;
  norm_backward(norm_of(norm_, rstd_, d), float_of(x_), half_of(proj_), false, float_of(dx_),
                half_of(dy_), nullptr, norm_.partial, stream_);
  for (size_t i = layers_.size(); i-- > 0;) {
    if (sizes_.olmo2) {
      backward_olmo(layers_[i], i + 1 == layers_.size() ? nullptr : half_of(proj_), first);
    } else {
      backward_llama(layers_[i], first);
    }
    layers_[i].attended = {};
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
}

// From dy, the gradient of what the sub-layer gave, to proj_, that of what its products read. The
// weight gradient of gate_up needs h and is the caller's.
void Pass::backward_feed_forward(Layer& l, const at::Tensor& dy, bool first) {
  product_back(rows_of(act_), dy, l.down);
  swiglu_backward(half_of(l.gate_up_rows), half_of(act_), rows_, sizes_.ffn, stream_);
  weight_gradient(l.down, dy, rows_of(act_), first);
  product_back(rows_of(proj_), rows_of(l.gate_up_rows), l.gate_up);
}

// Likewise; qkv_rows become their gradient.
void Pass::backward_attention(Layer& l, const at::Tensor& dy, bool first) {
  const at::Tensor dattn = rows_of(dattn_);
  product_back(dattn, dy, l.o);
  weight_gradient(l.o, dy, l.attended.out.transpose(1, 2).reshape({rows_, sizes_.q_width()}), first);
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

// dx_ and its copy dy_ are the gradient of the layer's result, then of its input. The norms' results
// are computed again, into h_.
void Pass::backward_llama(Layer& l, bool first) {
  const int64_t d = sizes_.width;
  backward_feed_forward(l, rows_of(dy_), first);
  norm_backward(norm_of(l.norm2, l.rstd2, d), float_of(l.stream_mid), half_of(proj_), true,
                float_of(dx_), half_of(dy_), half_of(h_), l.norm2.partial, stream_);
  weight_gradient(l.gate_up, rows_of(l.gate_up_rows), rows_of(h_), first);
  backward_attention(l, rows_of(dy_), first);
  norm_backward(norm_of(l.norm1, l.rstd1, d), float_of(l.stream_in), half_of(proj_), true,
                float_of(dx_), half_of(dy_), half_of(h_), l.norm1.partial, stream_);
  weight_gradient(l.qkv, rows_of(l.qkv_rows), rows_of(h_), first);
}

// dx_ + dh is the gradient of the layer's result; proj_ leaves as what the layer below adds to dx_.
void Pass::backward_olmo(Layer& l, const bf16* dh, bool first) {
  const int64_t d = sizes_.width;
  post_norm_backward(norm_of(l.norm2, l.rstd2, d), half_of(l.y2), dh, float_of(dx_), half_of(dy_),
                     l.norm2.partial, stream_);
  backward_feed_forward(l, rows_of(dy_), first);
  weight_gradient(l.gate_up, rows_of(l.gate_up_rows), rows_of(l.mid), first);
  post_norm_backward(norm_of(l.norm1, l.rstd1, d), half_of(l.y1), half_of(proj_), float_of(dx_),
                     half_of(dy_), l.norm1.partial, stream_);
  backward_attention(l, rows_of(dy_), first);
  weight_gradient(l.qkv, rows_of(l.qkv_rows), rows_of(l.in), first);
}

}  // namespace tgo::cuda
