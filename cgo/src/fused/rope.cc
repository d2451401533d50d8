// Rotary position embedding in the half-split ("rotate half") layout of Hugging Face: element i of
// the first half of a head turns with element i of the second by the angle t · base^(−2i/E).
// Backward is the rotation by the opposite angle.
#include <ATen/ops/empty_like.h>

#include "autograd.hh"

namespace tgo {
namespace {

// One position: `heads` heads of 2 · half elements each, sign +1 forward and −1 back.
template <class X>
TGO_KERNEL void rotate(const X* x, X* y, const float* cosine, const float* sine, int64_t heads,
                       int64_t half, float sign) {
  for (int64_t head = 0; head < heads; head++, x += 2 * half, y += 2 * half) {
#pragma omp simd
    for (int64_t i = 0; i < half; i++) {
      const float a = load(x[i]), b = load(x[i + half]), s = sign * sine[i];
      store(y[i], a * cosine[i] - b * s);
      store(y[i + half], b * cosine[i] + a * s);
    }
  }
}

at::Tensor rotate_all(const at::Tensor& x, const at::Tensor& cosine, const at::Tensor& sine,
                      int64_t offset, float sign) {
  const at::Tensor from = x.contiguous();
  const int64_t time = x.size(1), heads = x.size(2), half = x.size(3) / 2;
  at::Tensor y = at::empty_like(from);
  by_type(x.scalar_type(), "rope", [&](auto* xt) {
    using X = std::remove_pointer_t<decltype(xt)>;
    const X* source = from.const_data_ptr<X>();
    X* target = y.mutable_data_ptr<X>();
    for_rows(x.size(0) * time, heads * 2 * half, [&](int64_t first, int64_t last) {
      for (int64_t row = first; row < last; row++) {
        const int64_t angle = (offset + row % time) * half, at = row * heads * 2 * half;
        rotate(source + at, target + at, cosine.const_data_ptr<float>() + angle,
               sine.const_data_ptr<float>() + angle, heads, half, sign);
      }
    });
  });
  return y;
}

class Rope : public Function<Rope> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& cosine,
                            const at::Tensor& sine, int64_t offset) {
    TORCH_CHECK(x.dim() == 4 && x.size(3) % 2 == 0, "rope takes [B, T, H, E] with even E, not ",
                x.sizes());
    for (const at::Tensor& table : {cosine, sine}) {
      TORCH_CHECK(table.dim() == 2 && table.size(1) == x.size(3) / 2 && offset >= 0 &&
                      table.size(0) >= offset + x.size(1) && table.is_contiguous() &&
                      table.scalar_type() == at::kFloat,
                  "rope of ", x.sizes(), " from position ", offset, " got a table of shape ",
                  table.sizes());
    }
    ctx->save_for_backward({cosine, sine});
    ctx->saved_data["offset"] = offset;
    return rotate_all(x, cosine, sine, offset, 1.0F);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const int64_t offset = ctx->saved_data["offset"].toInt();
    return {rotate_all(grads[0], saved[0], saved[1], offset, -1.0F), at::Tensor(), at::Tensor(),
            at::Tensor()};
  }
};

}  // namespace
}  // namespace tgo

tgo_status tgo_rope(int32_t grad, const tgo_tensor* x, const tgo_tensor* cosine,
                    const tgo_tensor* sine, int64_t offset, tgo_out* out) noexcept {
  return tgo::guard_op(grad, out, [&] {
    return tgo::Rope::apply(tgo::borrow(x), tgo::borrow(cosine), tgo::borrow(sine), offset);
  });
}
