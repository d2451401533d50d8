// SwiGLU's elementwise half: y = silu(g) · u, silu(g) = g · σ(g).
// Backward: du = dy · silu(g), dg = dy · u · σ(g) · (1 + g · (1 − σ(g))).
#include <ATen/ops/empty_like.h>

#include "autograd.hh"

namespace tgo {
namespace {

template <class X>
TGO_KERNEL void swiglu(const X* gate, const X* up, X* y, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) {
    const float g = load(gate[i]);
    store(y[i], g * sigmoid(g) * load(up[i]));
  }
}

template <class X>
TGO_KERNEL void swiglu_back(const X* gate, const X* up, const X* dy, X* dgate, X* dup, int64_t n) {
#pragma omp simd
  for (int64_t i = 0; i < n; i++) {
    const float g = load(gate[i]), s = sigmoid(g), d = load(dy[i]);
    store(dgate[i], d * load(up[i]) * s * (1.0F + g * (1.0F - s)));
    store(dup[i], d * g * s);
  }
}

class SwiGLU : public Function<SwiGLU> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& gate, const at::Tensor& up) {
    TORCH_CHECK(gate.sizes() == up.sizes() && gate.scalar_type() == up.scalar_type(),
                "swiglu of a gate ", gate.sizes(), " and an up projection ", up.sizes());
    const at::Tensor g = gate.contiguous(), u = up.contiguous();
    at::Tensor y = at::empty_like(g);
    by_type(g.scalar_type(), "swiglu", [&](auto* t) {
      using X = std::remove_pointer_t<decltype(t)>;
      for_rows(g.numel(), 1, [&](int64_t first, int64_t last) {
        swiglu(g.const_data_ptr<X>() + first, u.const_data_ptr<X>() + first,
               y.mutable_data_ptr<X>() + first, last - first);
      });
    });
    ctx->save_for_backward({g, u});
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor &g = saved[0], &u = saved[1], dy = grads[0].contiguous();
    at::Tensor dg = at::empty_like(g), du = at::empty_like(u);
    by_type(g.scalar_type(), "swiglu", [&](auto* t) {
      using X = std::remove_pointer_t<decltype(t)>;
      for_rows(g.numel(), 1, [&](int64_t first, int64_t last) {
        swiglu_back(g.const_data_ptr<X>() + first, u.const_data_ptr<X>() + first,
                    dy.const_data_ptr<X>() + first, dg.mutable_data_ptr<X>() + first,
                    du.mutable_data_ptr<X>() + first, last - first);
      });
    });
    return {dg, du};
  }
};

}  // namespace
}  // namespace tgo

tgo_status tgo_swiglu(int32_t grad, const tgo_tensor* gate, const tgo_tensor* up,
                      tgo_out* out) noexcept {
  return tgo::guard_op(grad, out,
                       [&] { return tgo::SwiGLU::apply(tgo::borrow(gate), tgo::borrow(up)); });
}
