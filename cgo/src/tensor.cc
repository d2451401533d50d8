// Tensors: creation, copies in and out, views of flat buffers.
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>

#include <cstring>

#include "guard.hh"

using tgo::borrow;
using tgo::dims_of;
using tgo::give;
using tgo::guard;

namespace {

void check_count(const at::Tensor& t, int64_t count) {
  TORCH_CHECK(t.numel() == count, "the tensor has ", t.numel(), " elements, the buffer ", count);
}

// The elements [offset, offset + count) of a contiguous tensor.
at::Tensor flat_range(const at::Tensor& t, int64_t offset, int64_t count) {
  TORCH_CHECK(t.is_contiguous(), "the tensor is not contiguous");
  TORCH_CHECK(offset >= 0 && count >= 0 && count <= t.numel() - offset, "elements ", offset, " … ",
              offset + count, " of a tensor of ", t.numel());
  return t.detach().view({-1}).narrow(0, offset, count);
}

at::Tensor flat_view(const at::Tensor& flat, int64_t offset, at::IntArrayRef dims) {
  TORCH_CHECK(flat.dim() == 1, "a flat tensor has one dimension, not ", flat.dim());
  return flat_range(flat, offset, c10::multiply_integers(dims)).view(dims);
}

}  // namespace

tgo_status tgo_zeros(int32_t dtype, const int64_t* dims, int32_t rank, tgo_out* out) noexcept {
  return guard([&] { give(at::zeros(dims_of(dims, rank), tgo::type_of(dtype)), out); });
}

tgo_status tgo_from_float32(const float* data, const int64_t* dims, int32_t rank,
                            tgo_out* out) noexcept {
  return guard([&] {
    at::Tensor t = at::empty(dims_of(dims, rank), at::kFloat);
    std::copy_n(data, t.numel(), t.mutable_data_ptr<float>());
    give(std::move(t), out);
  });
}

tgo_status tgo_from_ids(const int32_t* data, int64_t low, int64_t high, const int64_t* dims,
                        int32_t rank, tgo_out* out) noexcept {
  return guard([&] {
    at::Tensor t = at::empty(dims_of(dims, rank), at::kLong);
    int64_t* to = t.mutable_data_ptr<int64_t>();
    for (int64_t i = 0; i < t.numel(); i++) {
      TORCH_CHECK(data[i] >= low && data[i] < high, "id ", data[i], " at position ", i,
                  " is not in ", low, " … ", high - 1);
      to[i] = data[i];
    }
    give(std::move(t), out);
  });
}

tgo_status tgo_to_float32(const tgo_tensor* t, float* data, int64_t count) noexcept {
  return guard([&] {
    const at::Tensor source = borrow(t).detach();
    check_count(source, count);
    at::from_blob(data, source.sizes(), at::kFloat).copy_(source);
  });
}

tgo_status tgo_to_int64(const tgo_tensor* t, int64_t* data, int64_t count) noexcept {
  return guard([&] {
    const at::Tensor source = borrow(t).detach();
    check_count(source, count);
    TORCH_CHECK(source.scalar_type() == at::kLong, "the tensor holds ", source.scalar_type());
    at::from_blob(data, source.sizes(), at::kLong).copy_(source);
  });
}

tgo_status tgo_write_float32(tgo_tensor* t, int64_t offset, const float* data,
                             int64_t count) noexcept {
  return guard([&] {
    at::Tensor to = flat_range(borrow(t), offset, count);
    // from_blob wants a mutable pointer; copy_ only reads it.
    to.copy_(at::from_blob(const_cast<float*>(data), {count}, at::kFloat));
  });
}

tgo_status tgo_read_float32(const tgo_tensor* t, int64_t offset, float* data,
                            int64_t count) noexcept {
  return guard([&] {
    at::from_blob(data, {count}, at::kFloat).copy_(flat_range(borrow(t), offset, count));
  });
}

tgo_status tgo_fill(tgo_tensor* t, double value) noexcept {
  return guard([&] { borrow(t).detach().fill_(value); });
}

tgo_status tgo_flat_view(const tgo_tensor* flat, int64_t offset, const int64_t* dims, int32_t rank,
                         tgo_out* out) noexcept {
  return guard([&] { give(flat_view(borrow(flat), offset, dims_of(dims, rank)), out); });
}

tgo_status tgo_flat_leaf(const tgo_tensor* values, const tgo_tensor* grads, int64_t offset,
                         const int64_t* dims, int32_t rank, tgo_out* out) noexcept {
  return guard([&] {
    at::Tensor leaf = flat_view(borrow(values), offset, dims_of(dims, rank)).detach();
    leaf.set_requires_grad(true);
    // Autograd adds into a gradient that is there already: it lands in the flat buffer.
    leaf.mutable_grad() = flat_view(borrow(grads), offset, dims_of(dims, rank));
    give(std::move(leaf), out);
  });
}

tgo_status tgo_copy_slice(tgo_tensor* dst, int32_t dim, int64_t start,
                          const tgo_tensor* src) noexcept {
  return guard([&] {
    const at::Tensor from = borrow(src).detach();
    at::Tensor to = borrow(dst).detach();
    TORCH_CHECK(dim >= 0 && dim < from.dim(), "dimension ", dim, " of a tensor of rank ",
                from.dim());
    to.narrow(dim, start, from.size(dim)).copy_(from);
  });
}
