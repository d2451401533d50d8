// RMSNorm: y = x · r · gain with r = 1/sqrt(mean(x²) + eps), one pass forward and one back.
//
// Backward, for a row of n elements, g = gain, h = x · r:
//   dgain = Σ rows dy · h
//   dx    = r · (dy · g − h · mean(dy · g · h))
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>

#include <cmath>

#include "autograd.hh"

namespace tgo {
namespace {

// The gain's gradient is summed in this many blocks of rows, so that its bits do not depend on the
// number of threads.
constexpr int64_t kBlocks = 32;

template <class X, class Y>
TGO_KERNEL void norm_rows(const X* x, const float* gain, Y* y, float* scale, int64_t rows,
                          int64_t n, float eps) {
  for (int64_t row = 0; row < rows; row++, x += n, y += n) {
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
      sum += load(x[i]) * load(x[i]);
    }
    const float r = 1.0F / std::sqrt(sum / static_cast<float>(n) + eps);
    scale[row] = r;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
      store(y[i], load(x[i]) * r * gain[i]);
    }
  }
}

template <class X, class Y>
TGO_KERNEL void norm_rows_back(const X* x, const float* gain, const float* scale, const Y* dy,
                               X* dx, float* dgain, int64_t rows, int64_t n) {
  for (int64_t row = 0; row < rows; row++, x += n, dy += n, dx += n) {
    const float r = scale[row];
    float sum = 0;
#pragma omp simd reduction(+ : sum)
    for (int64_t i = 0; i < n; i++) {
      const float h = load(x[i]) * r;
      dgain[i] += load(dy[i]) * h;
      sum += load(dy[i]) * gain[i] * h;
    }
    const float mean = sum / static_cast<float>(n);
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
      store(dx[i], r * (load(dy[i]) * gain[i] - load(x[i]) * r * mean));
    }
  }
}

class RMSNorm : public Function<RMSNorm> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& gain,
                            double eps, at::ScalarType type) {
    const at::Tensor matrix = as_matrix(x);
    const int64_t rows = matrix.size(0), n = matrix.size(1);
    TORCH_CHECK(gain.dim() == 1 && gain.size(0) == n && gain.scalar_type() == at::kFloat &&
                    gain.is_contiguous(),
                "rms_norm over ", n, " elements got a gain of shape ", gain.sizes());
    at::Tensor y = at::empty({rows, n}, type);
    at::Tensor scale = at::empty({rows}, at::kFloat);
    by_type(x.scalar_type(), "rms_norm", [&](auto* xt) {
      by_type(type, "rms_norm", [&](auto* yt) {
        using X = std::remove_pointer_t<decltype(xt)>;
        using Y = std::remove_pointer_t<decltype(yt)>;
        for_rows(rows, n, [&](int64_t first, int64_t last) {
          norm_rows(matrix.const_data_ptr<X>() + first * n, gain.const_data_ptr<float>(),
                    y.mutable_data_ptr<Y>() + first * n, scale.mutable_data_ptr<float>() + first,
                    last - first, n, static_cast<float>(eps));
        });
      });
    });
    ctx->save_for_backward({matrix, gain, scale});
    return y.view(x.sizes());
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &gain = saved[1], &scale = saved[2];
    const int64_t rows = x.size(0), n = x.size(1);
    const at::Tensor dy = as_matrix(grads[0]);
    at::Tensor dx = at::empty_like(x);
    at::Tensor partial = at::zeros({kBlocks, n}, at::kFloat);
    by_type(x.scalar_type(), "rms_norm", [&](auto* xt) {
      by_type(dy.scalar_type(), "rms_norm", [&](auto* yt) {
        using X = std::remove_pointer_t<decltype(xt)>;
        using Y = std::remove_pointer_t<decltype(yt)>;
        for_rows(kBlocks, rows * n / kBlocks, [&](int64_t first, int64_t last) {
          for (int64_t block = first; block < last; block++) {
            const int64_t from = rows * block / kBlocks, to = rows * (block + 1) / kBlocks;
            norm_rows_back(x.const_data_ptr<X>() + from * n, gain.const_data_ptr<float>(),
                           scale.const_data_ptr<float>() + from, dy.const_data_ptr<Y>() + from * n,
                           dx.mutable_data_ptr<X>() + from * n,
                           partial.mutable_data_ptr<float>() + block * n, to - from, n);
          }
        });
      });
    });
    return {dx.view(grads[0].sizes()), partial.sum(0), at::Tensor(), at::Tensor()};
  }
};

}  // namespace
}  // namespace tgo

tgo_status tgo_rms_norm(int32_t grad, const tgo_tensor* x, const tgo_tensor* gain, double eps,
                        int32_t dtype, tgo_out* out) noexcept {
  return tgo::guard_op(grad, out, [&] {
    return tgo::RMSNorm::apply(tgo::borrow(x), tgo::borrow(gain), eps, tgo::type_of(dtype));
  });
}
