// The small vocabulary the fused kernels are written in: loops the compiler turns into vectors,
// compiled once per instruction set and chosen at load time.
#pragma once

#include <ATen/Parallel.h>
#include <c10/util/BFloat16.h>

#include <algorithm>
#include <bit>
#include <cstdint>

// Marks a function (or template) that is compiled for AVX-512, AVX2 and the baseline; the loader
// picks one by what the CPU has. Sanitizer builds run the baseline: their instrumentation and the
// loader's early choice do not go together.
#ifdef TGO_SANITIZE
#define TGO_KERNEL
#else
#define TGO_KERNEL __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#endif
#define TGO_INLINE inline __attribute__((always_inline))

namespace tgo {

using c10::BFloat16;

TGO_INLINE float load(const float& x) { return x; }
TGO_INLINE float load(const BFloat16& x) {
  return std::bit_cast<float>(static_cast<uint32_t>(x.x) << 16);
}

TGO_INLINE void store(float& to, float x) { to = x; }
// Rounds to nearest, ties to even; a NaN stays one.
TGO_INLINE void store(BFloat16& to, float x) {
  const auto bits = std::bit_cast<uint32_t>(x);
  const uint32_t rounded = (bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16;
  to.x = static_cast<uint16_t>(x != x ? 0x7fc0U : rounded);
}

// e^x to about 2 units in the last place, 0 below −87: 2^n by the exponent bits times a polynomial
// of e^r, |r| ≤ ln(2)/2.
TGO_INLINE float exp_(float x) {
  x = std::min(std::max(x, -87.0F), 88.0F);
  const float n = __builtin_rintf(x * 1.44269504F);
  float r = x - n * 0.693359375F;
  r = r + n * 2.12194440e-4F;
  float p = 1.9875691500e-4F;
  p = p * r + 1.3981999507e-3F;
  p = p * r + 8.3334519073e-3F;
  p = p * r + 4.1665795894e-2F;
  p = p * r + 1.6666665459e-1F;
  p = p * r + 5.0000001201e-1F;
  p = p * r * r + r + 1.0F;
  return p * std::bit_cast<float>((static_cast<int32_t>(n) + 127) << 23);
}

TGO_INLINE float sigmoid(float x) { return 1.0F / (1.0F + exp_(-x)); }

// Runs body(first, last) over rows on libtorch's threads, a few tens of microseconds to a chunk.
// Rows never depend on each other, so the split does not reach the result.
template <class Body>
void for_rows(int64_t rows, int64_t elements_per_row, const Body& body) {
  constexpr int64_t kElementsPerChunk = 1 << 15;
  at::parallel_for(0, rows,
                   std::max<int64_t>(1, kElementsPerChunk / std::max<int64_t>(1, elements_per_row)),
                   body);
}

}  // namespace tgo
