#include "attention.hh"

#include <ATen/Context.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/_scaled_dot_product_cudnn_attention.h>
#include <ATen/ops/_scaled_dot_product_cudnn_attention_backward.h>
#include <ATen/ops/_scaled_dot_product_flash_attention.h>
#include <ATen/ops/_scaled_dot_product_flash_attention_backward.h>
#include <ATen/ops/_softmax.h>
#include <ATen/ops/full.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/randn.h>
#include <c10/cuda/CUDAFunctions.h>

#include <cmath>
#include <limits>
#include <optional>

namespace tgo::cuda {
namespace {

// [B, H, T, E] lying as [B, T, H, E].
at::Tensor time_major(const at::Tensor& x) {
  return x.transpose(1, 2).contiguous().transpose(1, 2);
}

// A copy of each key or value head for every query head of its group.
at::Tensor repeated(const at::Tensor& x, int64_t heads) {
  const int64_t group = heads / x.size(1);
  if (group == 1) {
    return x;
  }
  return time_major(x.unsqueeze(2)
                        .expand({x.size(0), x.size(1), group, x.size(2), x.size(3)})
                        .reshape({x.size(0), heads, x.size(2), x.size(3)}));
}

// Fixed-order sums in what follows, for as long as this lives.
class Deterministic {
 public:
  Deterministic()
      : before_(context().deterministicAlgorithms()),
        warn_(context().deterministicAlgorithmsWarnOnly()),
        fill_(context().deterministicFillUninitializedMemory()) {
    context().setDeterministicFillUninitializedMemory(false);
    context().setDeterministicAlgorithms(true, /*warn_only=*/false);
  }
  ~Deterministic() {
    context().setDeterministicAlgorithms(before_, warn_);
    context().setDeterministicFillUninitializedMemory(fill_);
  }
  Deterministic(const Deterministic&) = delete;
  Deterministic& operator=(const Deterministic&) = delete;

 private:
  static at::Context& context() { return at::globalContext(); }
  bool before_, warn_, fill_;
};

// cuDNN's; with `repeat`, every query head gets its own keys and values.
class Cudnn : public Attention {
 public:
  explicit Cudnn(bool repeat) : repeat_(repeat) {}
  const char* name() const override { return repeat_ ? "cudnn with repeated keys" : "cudnn"; }

  Attended forward(const Qkv& x) const override {
    Attended a;
    const at::Tensor k = keys(x, x.k), v = keys(x, x.v);
    auto [out, lse, cq, ck, mq, mk, seed, offset, mask] = at::_scaled_dot_product_cudnn_attention(
        x.q, k, v, std::nullopt, /*compute_log_sumexp=*/true, 0.0, /*is_causal=*/true, false);
    a.out = out, a.log_sum_exp = lse, a.seed = seed, a.offset = offset;
    a.cumulative_q = cq, a.cumulative_k = ck;
    a.longest_q = mq.expect_int(), a.longest_k = mk.expect_int();
    return a;
  }

  QkvGradients backward(const at::Tensor& dout, const Qkv& x, const Attended& a) const override {
    auto [q, k, v] = at::_scaled_dot_product_cudnn_attention_backward(
        dout, x.q, keys(x, x.k), keys(x, x.v), a.out, a.log_sum_exp, a.seed, a.offset, at::Tensor(),
        a.cumulative_q, a.cumulative_k, a.longest_q, a.longest_k, 0.0, /*is_causal=*/true);
    return {q, k, v};
  }

 private:
  at::Tensor keys(const Qkv& x, const at::Tensor& t) const {
    return repeat_ ? repeated(t, x.q.size(1)) : t;
  }
  bool repeat_;
};

class Flash : public Attention {
 public:
  explicit Flash(bool deterministic) : deterministic_(deterministic) {}
  const char* name() const override { return deterministic_ ? "flash, deterministic" : "flash"; }

  Attended forward(const Qkv& x) const override {
    Attended a;
    auto [out, lse, cq, ck, mq, mk, seed, offset, mask] =
        at::_scaled_dot_product_flash_attention(x.q, x.k, x.v, 0.0, /*is_causal=*/true, false);
    a.out = out, a.log_sum_exp = lse, a.seed = seed, a.offset = offset;
    a.cumulative_q = cq, a.cumulative_k = ck;
    a.longest_q = mq.expect_int(), a.longest_k = mk.expect_int();
    return a;
  }

  QkvGradients backward(const at::Tensor& dout, const Qkv& x, const Attended& a) const override {
    const std::optional<Deterministic> order =
        deterministic_ ? std::optional<Deterministic>(std::in_place) : std::nullopt;
    auto [q, k, v] = at::_scaled_dot_product_flash_attention_backward(
        dout, x.q, x.k, x.v, a.out, a.log_sum_exp, a.cumulative_q, a.cumulative_k, a.longest_q,
        a.longest_k, 0.0, /*is_causal=*/true, a.seed, a.offset);
    return {q, k, v};
  }

 private:
  bool deterministic_;
};

// Plain products in float32, with all scores in memory: for sizes that nothing else takes.
class Math : public Attention {
 public:
  const char* name() const override { return "math"; }

  Attended forward(const Qkv& x) const override {
    const int64_t heads = x.q.size(1);
    Attended a;
    const at::Tensor p = probabilities(x);
    a.out = time_major(at::matmul(p, repeated(x.v, heads).to(at::kFloat)).to(x.q.scalar_type()));
    return a;
  }

  QkvGradients backward(const at::Tensor& dout, const Qkv& x, const Attended& a) const override {
    const int64_t heads = x.q.size(1);
    const double scale = 1.0 / std::sqrt(static_cast<double>(x.q.size(3)));
    const at::Tensor p = probabilities(x), d = dout.to(at::kFloat);
    const at::Tensor dv = at::matmul(p.transpose(-2, -1), d);
    const at::Tensor dp = at::matmul(d, repeated(x.v, heads).to(at::kFloat).transpose(-2, -1));
    const at::Tensor mean = (d * a.out.to(at::kFloat)).sum(-1, /*keepdim=*/true);
    const at::Tensor ds = p * (dp - mean) * scale;
    const at::Tensor dq = at::matmul(ds, repeated(x.k, heads).to(at::kFloat));
    const at::Tensor dk = at::matmul(ds.transpose(-2, -1), x.q.to(at::kFloat));
    const auto type = x.q.scalar_type();
    return {time_major(dq.to(type)), time_major(dk.to(type)), time_major(dv.to(type))};
  }

 private:
  static at::Tensor probabilities(const Qkv& x) {
    const int64_t time = x.q.size(2);
    const double scale = 1.0 / std::sqrt(static_cast<double>(x.q.size(3)));
    at::Tensor scores =
        at::matmul(x.q.to(at::kFloat), repeated(x.k, x.q.size(1)).to(at::kFloat).transpose(-2, -1));
    const at::Tensor mask =
        at::full({time, time}, -std::numeric_limits<float>::infinity(), scores.options()).triu(1);
    return at::_softmax(scores * scale + mask, -1, false);
  }
};

// Contexts up to this many tokens are short.
constexpr int32_t kShort = 512;

double distance(const at::Tensor& got, const at::Tensor& want) {
  const at::Tensor w = want.to(at::kFloat), g = got.to(at::kFloat);
  return ((g - w).norm() / w.norm()).item<double>();
}

at::Tensor folded(const at::Tensor& x, int64_t kv_heads) {
  return x.to(at::kFloat)
      .reshape({x.size(0), kv_heads, x.size(1) / kv_heads, x.size(2), x.size(3)})
      .sum(2);
}

// The largest relative difference of result and gradients from plain products.
double error_of(const Attention& a, const Qkv& x, const at::Tensor& dout) {
  const Math reference;
  const Attended want = reference.forward(x), got = a.forward(x);
  const QkvGradients dw = reference.backward(dout, x, want), dg = a.backward(dout, x, got);
  const int64_t g = x.k.size(1);
  return std::max({distance(got.out, want.out), distance(dg.q, dw.q),
                   distance(folded(dg.k, g), folded(dw.k, g)),
                   distance(folded(dg.v, g), folded(dw.v, g))});
}

}  // namespace

std::vector<std::unique_ptr<Attention>> attention_candidates(const tgo_graph_options& options,
                                                             int major) {
  std::vector<std::unique_ptr<Attention>> out;
  const int32_t wanted = options.attention;
  const bool any = wanted == TGO_ATTENTION_AUTO;
  // At short lengths the fixed order costs nothing, and flash is the faster one on every device.
  const bool fixed = options.deterministic != 0 || (any && options.context <= kShort);
  if (wanted == TGO_ATTENTION_CUDNN || (any && major >= 9 && !fixed)) {
    out.push_back(std::make_unique<Cudnn>(false));
    out.push_back(std::make_unique<Cudnn>(true));
  }
  if (wanted == TGO_ATTENTION_FLASH || any) {
    out.push_back(std::make_unique<Flash>(fixed));
  }
  out.push_back(std::make_unique<Math>());
  return out;
}

std::string refusal(const Attention& a, int64_t heads, int64_t kv_heads, int64_t size, int64_t time,
                    at::Device device) {
  constexpr int64_t kProbe = 256;  // longest sequence that is compared
  constexpr double kTolerance = 0.03;
  const int64_t t = std::min(time, kProbe), width = heads + 2 * kv_heads;
  try {
    const auto options = at::TensorOptions(device).dtype(at::kBFloat16);
    const at::Tensor rows = at::randn({2, t, width, size}, options);  // as the fused product lies
    const at::Tensor turned = rows.transpose(1, 2);
    const Qkv x{turned.narrow(1, 0, heads), turned.narrow(1, heads, kv_heads),
                turned.narrow(1, heads + kv_heads, kv_heads)};
    const at::Tensor dout = at::randn({2, t, heads, size}, options).transpose(1, 2);
    const double error = error_of(a, x, dout);
    c10::cuda::device_synchronize();
    if (!(error < kTolerance)) {
      return "its result differs by " + std::to_string(error);
    }
  } catch (const c10::Error& e) {
    std::string text(e.what_without_backtrace());
    return text.substr(0, std::min<size_t>(text.find('\n'), 100));
  }
  return "";
}

}  // namespace tgo::cuda
