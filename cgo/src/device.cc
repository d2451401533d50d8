// What the library and the machine are: versions, threads, features, product rate.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/randn.h>
#include <malloc.h>
#include <torch/csrc/api/include/torch/version.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <limits>

#include "../tgo_stamp.h"
#include "engine/features.hh"
#include "guard.hh"

namespace {

// Freed blocks up to this size stay with the process: the largest that glibc allows.
constexpr int kLargestKeptBlock = 32 << 20;

template <size_t N>
void copy_text(char (&to)[N], const std::string& from) {
  std::snprintf(to, N, "%s", from.c_str());
}

}  // namespace

const char* tgo_stamp() noexcept { return TGO_STAMP; }

tgo_status tgo_describe(tgo_info* out) noexcept {
  return tgo::guard([&] {
    tgo_info info{};
    copy_text(info.torch_version, TORCH_VERSION);
    copy_text(info.cpu_capability, at::get_cpu_capability());
    info.threads = at::get_num_threads();
    const tgo::engine::Features f = tgo::engine::features();
    info.avx2 = f.avx2;
    info.avx512 = f.avx512;
    info.avx512_bf16 = f.avx512_bf16;
    info.amx_bf16 = f.amx_bf16;
    *out = info;
  });
}

tgo_status tgo_set_threads(int32_t threads) noexcept {
  return tgo::guard([&] {
    TORCH_CHECK(threads >= 1, "threads must be at least 1, not ", threads);
    at::set_num_threads(threads);
    // Every step asks for the same large blocks: given back to the kernel each time, they cost a
    // page fault for every 4 KiB. Only the main arena can keep blocks of any size.
    mallopt(M_ARENA_MAX, 1);
    mallopt(M_MMAP_THRESHOLD, kLargestKeptBlock);
    mallopt(M_TRIM_THRESHOLD, std::numeric_limits<int>::max());
    // The control word belongs to a thread: visit each of the pool, with one chunk of work each.
    at::parallel_for(0, threads, 1,
                     [](int64_t, int64_t) { at::globalContext().setFlushDenormal(true); });
    at::globalContext().setFlushDenormal(true);
  });
}

tgo_status tgo_product_gflops(int32_t dtype, int64_t n, int32_t repeats, double* out) noexcept {
  return tgo::guard([&] {
    TORCH_CHECK(n >= 1 && n <= 16384 && repeats >= 1, "n must be in 1 … 16384, repeats at least 1");
    c10::AutoGradMode mode(false);
    using clock = std::chrono::steady_clock;
    const at::Tensor a = at::randn({n, n}).to(tgo::type_of(dtype));
    const at::Tensor b = at::randn({n, n}).to(tgo::type_of(dtype));
    at::mm(a, b);
    double best = std::numeric_limits<double>::infinity();
    for (int32_t i = 0; i < repeats; i++) {
      const auto start = clock::now();
      at::mm(a, b);
      best = std::min(best, std::chrono::duration<double>(clock::now() - start).count());
    }
    *out =
        2.0 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n) / best / 1e9;
  });
}
