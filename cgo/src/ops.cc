// Operations that are ATen's own, and the backward pass.
#include <ATen/ops/add.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/sub.h>
#include <ATen/ops/sum.h>
#include <torch/csrc/autograd/autograd.h>

#include "guard.hh"

using tgo::borrow;
using tgo::guard_op;

tgo_status tgo_add(int32_t grad, const tgo_tensor* a, const tgo_tensor* b, tgo_out* out) noexcept {
  return guard_op(grad, out, [&] { return at::add(borrow(a), borrow(b)); });
}

tgo_status tgo_sub(int32_t grad, const tgo_tensor* a, const tgo_tensor* b, tgo_out* out) noexcept {
  return guard_op(grad, out, [&] { return at::sub(borrow(a), borrow(b)); });
}

tgo_status tgo_mul(int32_t grad, const tgo_tensor* a, const tgo_tensor* b, tgo_out* out) noexcept {
  return guard_op(grad, out, [&] { return at::mul(borrow(a), borrow(b)); });
}

tgo_status tgo_scale(int32_t grad, const tgo_tensor* a, double factor, tgo_out* out) noexcept {
  return guard_op(grad, out, [&] { return at::mul(borrow(a), factor); });
}

tgo_status tgo_matmul(int32_t grad, const tgo_tensor* a, const tgo_tensor* b,
                      tgo_out* out) noexcept {
  return guard_op(grad, out, [&] { return at::matmul(borrow(a), borrow(b)); });
}

tgo_status tgo_reshape(int32_t grad, const tgo_tensor* t, const int64_t* dims, int32_t rank,
                       tgo_out* out) noexcept {
  return guard_op(grad, out, [&] { return borrow(t).reshape(tgo::dims_of(dims, rank)); });
}

tgo_status tgo_transpose(int32_t grad, const tgo_tensor* t, int32_t i, int32_t j,
                         tgo_out* out) noexcept {
  return guard_op(grad, out, [&] { return borrow(t).transpose(i, j); });
}

tgo_status tgo_narrow(int32_t grad, const tgo_tensor* t, int32_t dim, int64_t start, int64_t length,
                      tgo_out* out) noexcept {
  return guard_op(grad, out, [&] { return borrow(t).narrow(dim, start, length); });
}

tgo_status tgo_cat(int32_t grad, tgo_tensor* const* tensors, int64_t count, int32_t dim,
                   tgo_out* out) noexcept {
  return guard_op(grad, out, [&] {
    std::vector<at::Tensor> parts;
    for (int64_t i = 0; i < count; i++) {
      parts.push_back(borrow(tensors[i]));
    }
    return at::cat(parts, dim);
  });
}

tgo_status tgo_to_dtype(int32_t grad, const tgo_tensor* t, int32_t dtype, tgo_out* out) noexcept {
  return guard_op(grad, out, [&] { return borrow(t).to(tgo::type_of(dtype)); });
}

tgo_status tgo_sum(int32_t grad, const tgo_tensor* t, tgo_out* out) noexcept {
  return guard_op(grad, out, [&] { return at::sum(borrow(t), at::kFloat); });
}

tgo_status tgo_softmax(int32_t grad, const tgo_tensor* t, tgo_out* out) noexcept {
  return guard_op(grad, out, [&] { return at::softmax(borrow(t), -1, at::kFloat); });
}

tgo_status tgo_log_softmax(int32_t grad, const tgo_tensor* t, tgo_out* out) noexcept {
  return guard_op(grad, out, [&] { return at::log_softmax(borrow(t), -1, at::kFloat); });
}

tgo_status tgo_backward(const tgo_tensor* loss) noexcept {
  return tgo::guard([&] {
    TORCH_CHECK(borrow(loss).numel() == 1, "backward starts at one element, not ",
                borrow(loss).numel());
    torch::autograd::backward({borrow(loss)}, {});
  });
}
