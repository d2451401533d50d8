// The one place where exceptions stop. Every exported function that can fail runs its body through
// guard(), which turns whatever is thrown into an owned tgo_status.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/GradMode.h>
#include <c10/util/Exception.h>

#include <array>
#include <vector>

#include "../tgo.h"

struct tgo_tensor {
  at::Tensor value;
};

namespace tgo {

tgo_status ok() noexcept;
// Classifies the exception being handled. Only called inside a catch block.
tgo_status from_current_exception() noexcept;
// Throws when tgo_fail_after() has armed this call.
void fail_if_armed();

template <class Body>
tgo_status guard(Body&& body) noexcept {
  try {
    fail_if_armed();
    body();
    return ok();
  } catch (...) {
    return from_current_exception();
  }
}

// guard() for an operation that autograd may record.
template <class Body>
tgo_status guard_op(int32_t grad, tgo_out* out, Body&& body);

// Counts handles that were handed out, or with a negative change came back (tgo_live).
void count_handles(int64_t change) noexcept;

// Hands a tensor to the caller: allocates the handle, counts it and fills in its shape.
void give(at::Tensor value, tgo_out* out);

inline const at::Tensor& borrow(const tgo_tensor* t) {
  TORCH_CHECK(t != nullptr, "no tensor given");
  return t->value;
}

inline at::Tensor borrow_optional(const tgo_tensor* t) {
  return t == nullptr ? at::Tensor() : t->value;
}

inline at::IntArrayRef dims_of(const int64_t* dims, int32_t rank) {
  TORCH_CHECK(rank >= 0 && rank <= TGO_MAX_RANK, "rank ", rank, " is not in 0 … ", TGO_MAX_RANK);
  return {dims, static_cast<size_t>(rank)};
}

at::ScalarType type_of(int32_t dtype);
int32_t dtype_of(at::ScalarType type);

template <class Body>
tgo_status guard_op(int32_t grad, tgo_out* out, Body&& body) {
  return guard([&] {
    c10::AutoGradMode mode(grad != 0);
    give(body(), out);
  });
}

}  // namespace tgo
