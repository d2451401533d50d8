// Flat buffers: norms, the rounded copy, and AdamW over all parameters in one call.
#include <cmath>

#include "cuda.hh"
#include "fused/simd.hh"
#include "guard.hh"

namespace tgo {
namespace {

// Sums run over blocks of this many elements in double and are added up in order, so that no
// thread count reaches the bits.
constexpr int64_t kBlock = 1 << 14;

void check_flat(const at::Tensor& t, at::ScalarType type, int64_t count, const char* what) {
  TORCH_CHECK(t.dim() == 1 && t.is_contiguous() && t.scalar_type() == type &&
                  (count < 0 || t.numel() == count),
              what, " must be a flat ", type, " tensor",
              count < 0 ? "" : " as long as the parameters");
}

TGO_KERNEL double sum_of_squares(const float* x, int64_t n) {
  double sum = 0;
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < n; i++) {
    sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  }
  return sum;
}

TGO_KERNEL void round_all(const float* from, BFloat16* to, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) {
    store(to[i], from[i]);
  }
}

// The numbers of one update, as the inner loop wants them.
struct Update {
  float shrink;  // 1 − lr·λ
  float rate;    // lr / (1 − β1ᵗ)
  float root;    // 1 / √(1 − β2ᵗ)
  float beta1, beta2, eps, scale;
};

TGO_KERNEL void adamw(float* p, const float* g, float* m, float* v, int64_t n, Update u) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) {
    const float gradient = g[i] * u.scale;
    m[i] = u.beta1 * m[i] + (1.0F - u.beta1) * gradient;
    v[i] = u.beta2 * v[i] + (1.0F - u.beta2) * gradient * gradient;
    p[i] = p[i] * u.shrink - u.rate * m[i] / (__builtin_sqrtf(v[i]) * u.root + u.eps);
  }
}

Update update_of(const tgo_adamw& o, double weight_decay) {
  const auto step = static_cast<double>(o.step);
  return {static_cast<float>(1.0 - o.lr * weight_decay),
          static_cast<float>(o.lr / (1.0 - std::pow(o.beta1, step))),
          static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(o.beta2, step))),
          static_cast<float>(o.beta1),
          static_cast<float>(o.beta2),
          static_cast<float>(o.eps),
          static_cast<float>(o.grad_scale)};
}

}  // namespace
}  // namespace tgo

tgo_status tgo_flat_norm(const tgo_tensor* flat, double* out) noexcept {
  return tgo::guard([&] {
    const at::Tensor& x = tgo::borrow(flat);
    tgo::check_flat(x, at::kFloat, -1, "the buffer");
    if (x.is_cuda()) {
      *out = tgo::cuda::table().norm(x);
      return;
    }
    const int64_t n = x.numel(), blocks = (n + tgo::kBlock - 1) / tgo::kBlock;
    std::vector<double> sums(static_cast<size_t>(blocks));
    const float* data = x.const_data_ptr<float>();
    tgo::for_rows(blocks, tgo::kBlock, [&](int64_t first, int64_t last) {
      for (int64_t b = first; b < last; b++) {
        const int64_t from = b * tgo::kBlock;
        sums[static_cast<size_t>(b)] =
            tgo::sum_of_squares(data + from, std::min(tgo::kBlock, n - from));
      }
    });
    double total = 0;
    for (const double sum : sums) {
      total += sum;
    }
    *out = std::sqrt(total);
  });
}

tgo_status tgo_flat_round(const tgo_tensor* values, tgo_tensor* copy16) noexcept {
  return tgo::guard([&] {
    const at::Tensor &from = tgo::borrow(values), &to = tgo::borrow(copy16);
    tgo::check_flat(from, at::kFloat, -1, "the buffer");
    tgo::check_flat(to, at::kBFloat16, from.numel(), "the copy");
    if (from.is_cuda()) {
      to.copy_(from);
      return;
    }
    tgo::for_rows(from.numel(), 1, [&](int64_t first, int64_t last) {
      tgo::round_all(from.const_data_ptr<float>() + first,
                     to.mutable_data_ptr<c10::BFloat16>() + first, last - first);
    });
  });
}

tgo_status tgo_adamw_step(tgo_tensor* params, const tgo_tensor* grads, tgo_tensor* m, tgo_tensor* v,
                          tgo_tensor* copy16, const tgo_segment* segments, int64_t count,
                          tgo_adamw options) noexcept {
  return tgo::guard([&] {
    const at::Tensor& p = tgo::borrow(params);
    tgo::check_flat(p, at::kFloat, -1, "the parameters");
    for (const tgo_tensor* t :
         {grads, static_cast<const tgo_tensor*>(m), static_cast<const tgo_tensor*>(v)}) {
      tgo::check_flat(tgo::borrow(t), at::kFloat, p.numel(), "gradients and moments");
    }
    const at::Tensor copy = tgo::borrow_optional(copy16);
    if (copy.defined()) {
      tgo::check_flat(copy, at::kBFloat16, p.numel(), "the copy");
    }
    TORCH_CHECK(p.is_cpu(), "the parameters must be in host memory");
    TORCH_CHECK(options.step >= 1, "the first update is step 1, not ", options.step);
    for (int64_t i = 0; i < count; i++) {
      const tgo_segment& s = segments[i];
      TORCH_CHECK(s.offset >= 0 && s.length >= 0 && s.length <= p.numel() - s.offset, "segment ",
                  s.offset, " + ", s.length, " of ", p.numel(), " parameters");
    }
    for (int64_t i = 0; i < count; i++) {
      const int64_t at = segments[i].offset;
      const tgo::Update u = tgo::update_of(options, segments[i].weight_decay);
      tgo::for_rows(segments[i].length, 4, [&](int64_t first, int64_t last) {
        const int64_t from = at + first, n = last - first;
        float* values = p.mutable_data_ptr<float>() + from;
        tgo::adamw(values, grads->value.const_data_ptr<float>() + from,
                   m->value.mutable_data_ptr<float>() + from,
                   v->value.mutable_data_ptr<float>() + from, n, u);
        if (copy.defined()) {
          tgo::round_all(values, copy.mutable_data_ptr<c10::BFloat16>() + from, n);
        }
      });
    }
  });
}
