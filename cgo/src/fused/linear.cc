// Products with a weight: the embedding's gather and the linear layer.
//
// A linear layer computes x · wᵀ in the weight's precision. With a bfloat16 copy w16, x and the
// incoming gradient are rounded to bfloat16 and so is the result; the weight's gradient arrives in
// float32, where it is added to those of other micro-batches.
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>

#include "autograd.hh"

namespace tgo {
namespace {

class Linear : public Function<Linear> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& w,
                            const std::optional<at::Tensor>& w16) {
    const at::Tensor& weight = w16.has_value() ? *w16 : w;
    TORCH_CHECK(w.dim() == 2 && x.size(-1) == w.size(1) && weight.sizes() == w.sizes(),
                "linear of ", x.sizes(), " with a weight ", w.sizes());
    const at::Tensor matrix = as_matrix(x).to(weight.scalar_type());
    std::vector<int64_t> dims = x.sizes().vec();
    dims.back() = w.size(0);
    ctx->save_for_backward({matrix, weight});
    ctx->saved_data["type"] = x.scalar_type();
    return at::mm(matrix, weight.t()).view(dims);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1];
    const at::Tensor dy = as_matrix(grads[0]).to(weight.scalar_type());
    at::Tensor dx, dw;
    if (ctx->needs_input_grad(0)) {
      std::vector<int64_t> dims = grads[0].sizes().vec();
      dims.back() = weight.size(1);
      dx = at::mm(dy, weight).view(dims).to(ctx->saved_data["type"].toScalarType());
    }
    if (ctx->needs_input_grad(1)) {
      dw = at::mm(dy.t(), x).to(at::kFloat);
    }
    return {dx, dw, at::Tensor()};
  }
};

// Adds each row of dy into the row of its id, in the rows' order, for a stretch of columns.
TGO_KERNEL void scatter_columns(const int64_t* ids, const float* dy, float* table, int64_t rows,
                                int64_t width, int64_t first, int64_t last) {
  for (int64_t row = 0; row < rows; row++) {
    const float* from = dy + row * width;
    float* to = table + ids[row] * width;
#pragma omp simd
    for (int64_t i = first; i < last; i++) {
      to[i] += from[i];
    }
  }
}

class Embedding : public Function<Embedding> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& ids, const at::Tensor& table) {
    TORCH_CHECK(
        ids.scalar_type() == at::kLong && table.dim() == 2 && table.scalar_type() == at::kFloat,
        "embedding takes int64 ids and a float32 table, not ", ids.scalar_type(), " and ",
        table.sizes());
    const at::Tensor flat = ids.contiguous().view({-1});
    std::vector<int64_t> dims = ids.sizes().vec();
    dims.push_back(table.size(1));
    ctx->save_for_backward({flat});
    ctx->saved_data["rows"] = table.size(0);
    return at::index_select(table, 0, flat).view(dims);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const at::Tensor ids = ctx->get_saved_variables()[0];
    const at::Tensor dy = as_matrix(grads[0]).to(at::kFloat);
    const int64_t width = dy.size(1);
    at::Tensor table = at::zeros({ctx->saved_data["rows"].toInt(), width}, at::kFloat);
    for_rows(width, dy.size(0), [&](int64_t first, int64_t last) {
      scatter_columns(ids.const_data_ptr<int64_t>(), dy.const_data_ptr<float>(),
                      table.mutable_data_ptr<float>(), dy.size(0), width, first, last);
    });
    return {at::Tensor(), table};
  }
};

}  // namespace
}  // namespace tgo

tgo_status tgo_embedding(int32_t grad, const tgo_tensor* ids, const tgo_tensor* table,
                         tgo_out* out) noexcept {
  return tgo::guard_op(grad, out,
                       [&] { return tgo::Embedding::apply(tgo::borrow(ids), tgo::borrow(table)); });
}

tgo_status tgo_linear(int32_t grad, const tgo_tensor* x, const tgo_tensor* w, const tgo_tensor* w16,
                      tgo_out* out) noexcept {
  return tgo::guard_op(grad, out, [&] {
    const std::optional<at::Tensor> copy =
        w16 == nullptr ? std::nullopt : std::optional<at::Tensor>(w16->value);
    return tgo::Linear::apply(tgo::borrow(x), tgo::borrow(w), copy);
  });
}
