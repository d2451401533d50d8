// The buffers of a pass: views of the flat weights and gradients, activations, scratch, tables.
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <c10/cuda/CUDACachingAllocator.h>

#include <cmath>
#include <cstring>

#include "step.hh"

namespace tgo::cuda {

Pass::Pass(const tgo_graph_options& options, const State& state, const tgo_graph_layer* layers,
           at::Device device)
    : options_(options),
      sizes_(options),
      state_(state),
      device_(device),
      head_tied_(options.tied != 0),
      side_(c10::cuda::getStreamFromPool(false, device.index())) {
  const int64_t d = sizes_.width, f = sizes_.ffn, e = sizes_.size;
  for (int32_t i = 0; i < options.layers; i++) {
    const tgo_graph_layer& from = layers[i];
    Layer l;
    l.qkv = weight(from.qkv, sizes_.qkv_width(), d);
    l.o = weight(from.o, d, sizes_.q_width());
    l.gate_up = weight(from.gate_up, 2 * f, d);
    l.down = weight(from.down, d, f);
    l.norm1 = gain(from.norm1, d);
    l.norm2 = gain(from.norm2, d);
    if (sizes_.olmo2) {
      l.q_norm = gain(from.q_norm, sizes_.heads * e);
      l.k_norm = gain(from.k_norm, sizes_.kv_heads * e);
    }
    layers_.push_back(std::move(l));
  }
  norm_ = gain(state.norm, d);
  head_ = weight(state.head, sizes_.vocab, d);
  allocate();
  lay_out_gains();
  build_rotary(options.rope_theta);
}

Weight Pass::weight(int64_t offset, int64_t out, int64_t in) const {
  TORCH_CHECK(offset >= 0 && offset + out * in <= state_.params.numel(), "a weight of ", out, " × ",
              in, " at ", offset, " is outside the ", state_.params.numel(), " parameters");
  const auto view = [&](const at::Tensor& flat) {
    return flat.narrow(0, offset, out * in).view({out, in});
  };
  return {view(state_.copy16), view(state_.grads)};
}

// The gain's partial sums get their place in lay_out_gains, when all are known.
Gain Pass::gain(int64_t offset, int64_t width) {
  TORCH_CHECK(offset >= 0 && offset + width <= state_.params.numel(), "a gain of ", width, " at ",
              offset, " is outside the ", state_.params.numel(), " parameters");
  float* grad = state_.grads.mutable_data_ptr<float>() + offset;
  gain_list_.push_back({nullptr, grad, width});
  widest_gain_ = std::max(widest_gain_, width);
  return {state_.params.const_data_ptr<float>() + offset, grad, nullptr};
}

void Pass::lay_out_gains() {
  int64_t total = 0;
  for (const GainSum& g : gain_list_) {
    total += g.width * kGainParts;
  }
  partials_ = at::empty({total}, at::TensorOptions(device_).dtype(at::kFloat));
  float* next = partials_.mutable_data_ptr<float>();
  size_t which = 0;
  const auto place = [&](Gain& g) {
    g.partial = next;
    gain_list_[which].partial = next;
    next += gain_list_[which++].width * kGainParts;
  };
  for (Layer& l : layers_) {
    place(l.norm1);
    place(l.norm2);
    if (sizes_.olmo2) {
      place(l.q_norm);
      place(l.k_norm);
    }
  }
  place(norm_);
  const auto bytes = static_cast<int64_t>(gain_list_.size() * sizeof(GainSum));
  gain_table_ = at::empty({bytes}, at::TensorOptions(device_).dtype(at::kByte));
  gain_table_.copy_(at::from_blob(gain_list_.data(), {bytes}, at::kByte));
}

void Pass::allocate() {
  const int64_t n = sizes_.rows, d = sizes_.width;
  const auto f32 = at::TensorOptions(device_).dtype(at::kFloat);
  const auto b16 = at::TensorOptions(device_).dtype(at::kBFloat16);
  for (Layer& l : layers_) {
    allocate_layer(l);
  }
  x_ = at::empty({n, d}, f32);
  rstd_ = at::empty({n}, f32);
  dx_ = at::empty({n, d}, f32);
  h_ = at::empty({n, d}, b16);
  proj_ = at::empty({n, d}, b16);
  const bool two = sizes_.streams == 2;
  for (size_t i = 0; i < 4; i++) {
    const size_t layer = i / 2, part = i % 2;
    dy_[layer][part] = two || i == 0 ? at::empty({n, d}, b16) : dy_[0][0];
    if (!sizes_.olmo2 && !sizes_.keep) {
      again_[layer][part] = two ? at::empty({n, d}, b16) : h_;
    }
  }
  act_[0] = at::empty({n, sizes_.ffn}, b16);
  act_[1] = two && !sizes_.keep ? at::empty({n, sizes_.ffn}, b16) : act_[0];
  dattn_ = at::empty({n, sizes_.q_width()}, b16);
  logits_ = at::empty({sizes_.chunk(), sizes_.vocab}, b16);
}

void Pass::allocate_layer(Layer& l) {
  const int64_t n = sizes_.rows, d = sizes_.width;
  const auto f32 = at::TensorOptions(device_).dtype(at::kFloat);
  const auto b16 = at::TensorOptions(device_).dtype(at::kBFloat16);
  l.qkv_rows = at::empty({n, sizes_.qkv_width()}, b16);
  l.gate_up_rows = at::empty({n, 2 * sizes_.ffn}, b16);
  if (sizes_.keep) {
    l.act = at::empty({n, sizes_.ffn}, b16);
  }
  l.rstd1 = at::empty({n}, f32);
  l.rstd2 = at::empty({n}, f32);
  if (!sizes_.olmo2) {
    l.stream_in = at::empty({n, d}, f32);
    l.stream_mid = at::empty({n, d}, f32);
    l.h1 = sizes_.keep ? at::empty({n, d}, b16) : at::Tensor();
    l.h2 = sizes_.keep ? at::empty({n, d}, b16) : at::Tensor();
    return;
  }
  for (at::Tensor* t : {&l.in, &l.mid, &l.y1, &l.y2}) {
    *t = at::empty({n, d}, b16);
  }
  l.rstd_qk = at::empty({n, 2}, f32);
  l.qk_rows = at::empty({n, sizes_.qk_width()}, b16);
}

// Rounded to float32 where model/attention.go rounds.
void Pass::build_rotary(double theta) {
  const int64_t half = sizes_.size / 2, time = sizes_.time;
  std::vector<float> cosine(static_cast<size_t>(time * half)), sine(cosine.size());
  for (int64_t i = 0; i < half; i++) {
    const float share = static_cast<float>(2 * i) / static_cast<float>(sizes_.size);
    const float frequency = 1.0F / static_cast<float>(std::pow(theta, static_cast<double>(share)));
    for (int64_t t = 0; t < time; t++) {
      const auto angle = static_cast<double>(static_cast<float>(t) * frequency);
      cosine[static_cast<size_t>(t * half + i)] = static_cast<float>(std::cos(angle));
      sine[static_cast<size_t>(t * half + i)] = static_cast<float>(std::sin(angle));
    }
  }
  const auto upload = [&](std::vector<float>& table) {
    return at::from_blob(table.data(), {time, half}, at::kFloat).to(device_);
  };
  cosine_ = upload(cosine);
  sine_ = upload(sine);
}

}  // namespace tgo::cuda
