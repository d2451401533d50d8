// What the kernel files share: vectors of elements, sums over a row's threads, launch checks.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include "kernels.hh"

namespace tgo::cuda {

constexpr int kThreads = 256;  // of every block

// W neighbouring elements as floats; W elements of the source are one aligned access.
template <int W>
struct Vec {
  float v[W];
};

template <int W>
__device__ inline Vec<W> load(const float* p) {
  Vec<W> out;
  if constexpr (W % 4 == 0) {
#pragma unroll
    for (int i = 0; i < W; i += 4) {
      const float4 x = *reinterpret_cast<const float4*>(p + i);
      out.v[i] = x.x, out.v[i + 1] = x.y, out.v[i + 2] = x.z, out.v[i + 3] = x.w;
    }
  } else {
#pragma unroll
    for (int i = 0; i < W; i++) out.v[i] = p[i];
  }
  return out;
}

template <int W>
__device__ inline Vec<W> load(const bf16* p) {
  Vec<W> out;
  if constexpr (W == 8) {
    const uint4 raw = *reinterpret_cast<const uint4*>(p);
    const auto* pairs = reinterpret_cast<const __nv_bfloat162*>(&raw);
#pragma unroll
    for (int i = 0; i < 4; i++) {
      const float2 f = __bfloat1622float2(pairs[i]);
      out.v[2 * i] = f.x, out.v[2 * i + 1] = f.y;
    }
  } else if constexpr (W == 4) {
    const uint2 raw = *reinterpret_cast<const uint2*>(p);
    const auto* pairs = reinterpret_cast<const __nv_bfloat162*>(&raw);
#pragma unroll
    for (int i = 0; i < 2; i++) {
      const float2 f = __bfloat1622float2(pairs[i]);
      out.v[2 * i] = f.x, out.v[2 * i + 1] = f.y;
    }
  } else {
#pragma unroll
    for (int i = 0; i < W; i++) out.v[i] = __bfloat162float(p[i]);
  }
  return out;
}

template <int W>
__device__ inline void store(float* p, const Vec<W>& x) {
  if constexpr (W % 4 == 0) {
#pragma unroll
    for (int i = 0; i < W; i += 4) {
      *reinterpret_cast<float4*>(p + i) = make_float4(x.v[i], x.v[i + 1], x.v[i + 2], x.v[i + 3]);
    }
  } else {
#pragma unroll
    for (int i = 0; i < W; i++) p[i] = x.v[i];
  }
}

template <int W>
__device__ inline void store(bf16* p, const Vec<W>& x) {
  if constexpr (W == 8 || W == 4) {
    uint32_t raw[W / 2];
#pragma unroll
    for (int i = 0; i < W / 2; i++) {
      const __nv_bfloat162 pair = __floats2bfloat162_rn(x.v[2 * i], x.v[2 * i + 1]);
      raw[i] = *reinterpret_cast<const uint32_t*>(&pair);
    }
    if constexpr (W == 8) {
      *reinterpret_cast<uint4*>(p) = make_uint4(raw[0], raw[1], raw[2], raw[3]);
    } else {
      *reinterpret_cast<uint2*>(p) = make_uint2(raw[0], raw[1]);
    }
  } else {
#pragma unroll
    for (int i = 0; i < W; i++) p[i] = __float2bfloat16_rn(x.v[i]);
  }
}

// The value as bfloat16 holds it.
__device__ inline float rounded(float x) { return __bfloat162float(__float2bfloat16_rn(x)); }

template <class X>
__device__ inline X warp_sum(X x) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) x += __shfl_xor_sync(0xffffffffU, x, step);
  return x;
}

// Sum over the P threads (a multiple of 32 that divides kThreads) that share a row. All threads of
// the block call it. `scratch` has kThreads / 32 elements.
template <int P, class X>
__device__ inline X row_sum(X x, X* scratch) {
  x = warp_sum(x);
  if constexpr (P == 32) return x;
  const int warp = threadIdx.x / 32, first = threadIdx.x / P * (P / 32);
  __syncthreads();  // the scratch may still be read from a sum before
  if (threadIdx.x % 32 == 0) scratch[warp] = x;
  __syncthreads();
  X sum = 0;
#pragma unroll
  for (int i = 0; i < P / 32; i++) sum += scratch[first + i];
  return sum;
}

inline void check_launch(const char* what) {
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess) {
    throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(error));
  }
}

inline bool aligned(std::initializer_list<const void*> pointers) {
  for (const void* p : pointers) {
    if (reinterpret_cast<uintptr_t>(p) % 16 != 0) return false;
  }
  return true;
}

inline int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace tgo::cuda
