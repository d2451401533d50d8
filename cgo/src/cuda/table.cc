// The one symbol that libtgo_cuda exports: the table of what libtgo calls.
#include <ATen/ops/empty.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>

#include <cstdio>

#include "../../tgo_stamp.h"
#include "engine.hh"
#include "kernels.hh"

namespace tgo::cuda {
namespace {

int32_t devices() { return c10::cuda::device_count(); }

void describe(int32_t device, tgo_cuda_info* out) {
  TORCH_CHECK(device >= 0 && device < devices(), "there is no device cuda:", device, ", only ",
              devices());
  const auto index = static_cast<c10::DeviceIndex>(device);
  const c10::cuda::CUDAGuard guard(index);
  cudaDeviceProp p{};
  C10_CUDA_CHECK(cudaGetDeviceProperties(&p, device));
  size_t free = 0, total = 0;
  C10_CUDA_CHECK(cudaMemGetInfo(&free, &total));
  *out = {};
  std::snprintf(out->name, sizeof out->name, "%.63s", p.name);
  out->major = p.major, out->minor = p.minor, out->processors = p.multiProcessorCount;
  out->free_bytes = static_cast<int64_t>(free), out->total_bytes = static_cast<int64_t>(total);
  if (c10::cuda::CUDACachingAllocator::get()->initialized()) {
    const auto stats = c10::cuda::CUDACachingAllocator::getDeviceStats(index);
    out->allocated_bytes = stats.allocated_bytes[0].current;
    out->peak_bytes = stats.allocated_bytes[0].peak;
    out->reserved_bytes = stats.reserved_bytes[0].peak;
  }
}

double flat_norm(const at::Tensor& flat) {
  const c10::cuda::CUDAGuard guard(flat.device());
  const at::Tensor parts = at::empty({kSumParts + 1}, flat.options().dtype(at::kDouble));
  double* data = parts.mutable_data_ptr<double>();
  const cudaStream_t stream = c10::cuda::getCurrentCUDAStream(flat.get_device()).stream();
  square_sums(flat.const_data_ptr<float>(), flat.numel(), data, stream);
  root_of_sum(data, data + kSumParts, stream);
  double out = 0;
  C10_CUDA_CHECK(
      cudaMemcpyAsync(&out, data + kSumParts, sizeof out, cudaMemcpyDeviceToHost, stream));
  C10_CUDA_CHECK(cudaStreamSynchronize(stream));
  return out;
}

}  // namespace
}  // namespace tgo::cuda

extern "C" TGO_API const tgo::cuda::Table* tgo_cuda_table() {
  static constexpr tgo::cuda::Table table{TGO_STAMP, tgo::cuda::devices, tgo::cuda::describe,
                                          tgo::cuda::flat_norm, tgo::cuda::make_engine};
  return &table;
}
