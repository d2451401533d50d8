// The vocabulary of every kernel: 16 floats at a time (Vec), loads and stores from float32 and
// bfloat16, and the few functions that kernels need. With AVX-512 a Vec is one register, with AVX2
// two; nothing above this file knows which. Each instruction set compiles it in a namespace of its
// own (TGO_ISA), so that no function of one can be linked in place of another's.
#ifndef TGO_ENGINE_VEC_HH
#define TGO_ENGINE_VEC_HH

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "types.hh"

#ifndef TGO_ISA
#error "define TGO_ISA before including the kernels"
#endif

namespace tgo::engine::TGO_ISA {

#define TGO_INLINE [[gnu::always_inline]] inline

constexpr int kLanes = 16;

TGO_INLINE int at_most(int a, int b) { return a < b ? a : b; }
TGO_INLINE int at_least(int a, int b) { return a > b ? a : b; }

#if defined(__AVX512F__)

using Vec = __m512;

TGO_INLINE Vec set1(float a) { return _mm512_set1_ps(a); }
TGO_INLINE Vec load(const float* p) { return _mm512_loadu_ps(p); }
TGO_INLINE void store(float* p, Vec a) { _mm512_storeu_ps(p, a); }
// The first n lanes, 0 beyond; n from 0 to 16.
TGO_INLINE __mmask16 first(int n) { return static_cast<__mmask16>((1U << n) - 1); }
TGO_INLINE Vec load_n(const float* p, int n) { return _mm512_maskz_loadu_ps(first(n), p); }
TGO_INLINE void store_n(float* p, Vec a, int n) { _mm512_mask_storeu_ps(p, first(n), a); }
// The first n lanes of a, `other` beyond; and 0 for the first n lanes, a beyond.
TGO_INLINE Vec keep_first(Vec a, int n, float other) {
  return _mm512_mask_blend_ps(first(n), set1(other), a);
}
TGO_INLINE Vec drop_first(Vec a, int n) {
  return _mm512_maskz_mov_ps(static_cast<__mmask16>(~first(n)), a);
}
TGO_INLINE Vec fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
TGO_INLINE Vec max(Vec a, Vec b) { return _mm512_max_ps(a, b); }
TGO_INLINE Vec sqrt(Vec a) { return _mm512_sqrt_ps(a); }
TGO_INLINE float sum(Vec a) { return _mm512_reduce_add_ps(a); }
TGO_INLINE float largest(Vec a) { return _mm512_reduce_max_ps(a); }
// a − ⌊a⌋, and a · 2^⌊x⌋.
TGO_INLINE Vec fraction(Vec a) { return _mm512_reduce_ps(a, 9); }
TGO_INLINE Vec scale2(Vec a, Vec x) { return _mm512_scalef_ps(a, x); }
// x = 2^exponent · mantissa, 1 ≤ mantissa < 2; x ≥ 2^−126.
TGO_INLINE Vec exponent(Vec x) { return _mm512_getexp_ps(x); }
TGO_INLINE Vec mantissa(Vec x) {
  return _mm512_getmant_ps(x, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src);
}
// r[i] of 16 folded into lane i: op of all its lanes.
template <class Op>
TGO_INLINE Vec fold16(const Vec* r, const Op& op) {
  Vec pairs[8], fours[4], halves[2];
  for (int i = 0; i < 8; i++) {
    pairs[i] =
        op(_mm512_unpacklo_ps(r[2 * i], r[2 * i + 1]), _mm512_unpackhi_ps(r[2 * i], r[2 * i + 1]));
  }
  for (int i = 0; i < 4; i++) {
    const __m512d a = _mm512_castps_pd(pairs[2 * i]), b = _mm512_castps_pd(pairs[2 * i + 1]);
    fours[i] =
        op(_mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), _mm512_castpd_ps(_mm512_unpackhi_pd(a, b)));
  }
  for (int i = 0; i < 2; i++) {
    halves[i] = op(_mm512_shuffle_f32x4(fours[2 * i], fours[2 * i + 1], 0x88),
                   _mm512_shuffle_f32x4(fours[2 * i], fours[2 * i + 1], 0xdd));
  }
  return op(_mm512_shuffle_f32x4(halves[0], halves[1], 0x88),
            _mm512_shuffle_f32x4(halves[0], halves[1], 0xdd));
}
TGO_INLINE Vec sums(const Vec* r) {
  return fold16(r, [](Vec a, Vec b) { return a + b; });
}
TGO_INLINE Vec largests(const Vec* r) {
  return fold16(r, [](Vec a, Vec b) { return max(a, b); });
}
// 1 / a to 14 bits.
TGO_INLINE Vec about_inverse(Vec a) { return _mm512_rcp14_ps(a); }

TGO_INLINE Vec widen(__m256i a) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(a), 16));
}
TGO_INLINE Vec load(const bf16* p) {
  return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
// To the nearest bfloat16, ties to even, as libtorch rounds; NaN stays NaN.
TGO_INLINE __m256i narrow(Vec a) {
#if defined(__AVX512BF16__)
  return (__m256i)_mm512_cvtneps_pbh(a);
#else
  __m512i bits = _mm512_castps_si512(a);
  __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  __mmask16 nan = _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
  rounded = _mm512_mask_mov_epi32(rounded, nan, _mm512_set1_epi32(0x7fc00000));
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
#endif
}
TGO_INLINE void store(bf16* p, Vec a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow(a));
}

#else  // AVX2

struct Vec {
  __m256 lo, hi;
};

TGO_INLINE Vec operator+(Vec a, Vec b) {
  return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}
TGO_INLINE Vec operator-(Vec a, Vec b) {
  return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}
TGO_INLINE Vec operator*(Vec a, Vec b) {
  return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}
TGO_INLINE Vec operator/(Vec a, Vec b) {
  return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}
TGO_INLINE Vec& operator+=(Vec& a, Vec b) { return a = a + b; }
TGO_INLINE Vec set1(float a) { return {_mm256_set1_ps(a), _mm256_set1_ps(a)}; }
TGO_INLINE Vec load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
TGO_INLINE void store(float* p, Vec a) {
  _mm256_storeu_ps(p, a.lo);
  _mm256_storeu_ps(p + 8, a.hi);
}
TGO_INLINE __m256i first8(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
TGO_INLINE Vec load_n(const float* p, int n) {
  return {_mm256_maskload_ps(p, first8(n)), _mm256_maskload_ps(p + 8, first8(n - 8))};
}
TGO_INLINE void store_n(float* p, Vec a, int n) {
  _mm256_maskstore_ps(p, first8(n), a.lo);
  _mm256_maskstore_ps(p + 8, first8(n - 8), a.hi);
}
TGO_INLINE Vec keep_first(Vec a, int n, float other) {
  __m256 o = _mm256_set1_ps(other);
  return {_mm256_blendv_ps(o, a.lo, _mm256_castsi256_ps(first8(n))),
          _mm256_blendv_ps(o, a.hi, _mm256_castsi256_ps(first8(n - 8)))};
}
TGO_INLINE Vec drop_first(Vec a, int n) {
  return {_mm256_andnot_ps(_mm256_castsi256_ps(first8(n)), a.lo),
          _mm256_andnot_ps(_mm256_castsi256_ps(first8(n - 8)), a.hi)};
}
TGO_INLINE Vec fma(Vec a, Vec b, Vec c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
TGO_INLINE Vec max(Vec a, Vec b) { return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)}; }
TGO_INLINE Vec sqrt(Vec a) { return {_mm256_sqrt_ps(a.lo), _mm256_sqrt_ps(a.hi)}; }
TGO_INLINE float sum(Vec a) {
  __m256 s = _mm256_add_ps(a.lo, a.hi);
  __m128 q = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  q = _mm_add_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_add_ss(q, _mm_shuffle_ps(q, q, 1)));
}
TGO_INLINE float largest(Vec a) {
  __m256 s = _mm256_max_ps(a.lo, a.hi);
  __m128 q = _mm_max_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
  q = _mm_max_ps(q, _mm_movehl_ps(q, q));
  return _mm_cvtss_f32(_mm_max_ss(q, _mm_shuffle_ps(q, q, 1)));
}
// r[i] of 16 folded into lane i.
TGO_INLINE Vec sums(const Vec* r) {
  alignas(32) float out[kLanes];
  for (int i = 0; i < kLanes; i++) {
    out[i] = sum(r[i]);
  }
  return load(out);
}
TGO_INLINE Vec largests(const Vec* r) {
  alignas(32) float out[kLanes];
  for (int i = 0; i < kLanes; i++) {
    out[i] = largest(r[i]);
  }
  return load(out);
}
TGO_INLINE Vec fraction(Vec a) {
  return {_mm256_sub_ps(a.lo, _mm256_floor_ps(a.lo)), _mm256_sub_ps(a.hi, _mm256_floor_ps(a.hi))};
}
TGO_INLINE __m256 scale2_half(__m256 a, __m256 x) {
  // 2^⌊x⌋ in two factors, so that results far below 1 fade to 0 instead of wrapping.
  __m256i n = _mm256_cvtps_epi32(
      _mm256_floor_ps(_mm256_max_ps(_mm256_min_ps(x, _mm256_set1_ps(250)), _mm256_set1_ps(-250))));
  __m256i half = _mm256_srai_epi32(n, 1), bias = _mm256_set1_epi32(127);
  __m256i first = _mm256_slli_epi32(_mm256_add_epi32(half, bias), 23);
  __m256i second = _mm256_slli_epi32(_mm256_add_epi32(_mm256_sub_epi32(n, half), bias), 23);
  return _mm256_mul_ps(_mm256_mul_ps(a, _mm256_castsi256_ps(first)), _mm256_castsi256_ps(second));
}
TGO_INLINE Vec scale2(Vec a, Vec x) { return {scale2_half(a.lo, x.lo), scale2_half(a.hi, x.hi)}; }
TGO_INLINE __m256 exponent_half(__m256 x) {
  return _mm256_cvtepi32_ps(
      _mm256_sub_epi32(_mm256_srli_epi32(_mm256_castps_si256(x), 23), _mm256_set1_epi32(127)));
}
TGO_INLINE Vec exponent(Vec x) { return {exponent_half(x.lo), exponent_half(x.hi)}; }
TGO_INLINE __m256 mantissa_half(__m256 x) {
  return _mm256_or_ps(_mm256_and_ps(x, _mm256_castsi256_ps(_mm256_set1_epi32(0x7fffff))),
                      _mm256_set1_ps(1));
}
TGO_INLINE Vec mantissa(Vec x) { return {mantissa_half(x.lo), mantissa_half(x.hi)}; }
TGO_INLINE Vec about_inverse(Vec a) { return set1(1) / a; }

TGO_INLINE Vec load(const bf16* p) {
  __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  __m256i lo = _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm256_castsi256_si128(a)), 16);
  __m256i hi = _mm256_slli_epi32(_mm256_cvtepu16_epi32(_mm256_extracti128_si256(a, 1)), 16);
  return {_mm256_castsi256_ps(lo), _mm256_castsi256_ps(hi)};
}
TGO_INLINE __m256i narrow_half(__m256 a) {
  __m256i bits = _mm256_castps_si256(a);
  __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  __m256 nan = _mm256_cmp_ps(a, a, _CMP_UNORD_Q);
  rounded = _mm256_castps_si256(_mm256_blendv_ps(
      _mm256_castsi256_ps(rounded), _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000)), nan));
  return _mm256_srli_epi32(rounded, 16);
}
TGO_INLINE __m256i narrow(Vec a) {
  __m256i both = _mm256_packus_epi32(narrow_half(a.lo), narrow_half(a.hi));
  return _mm256_permute4x64_epi64(both, 0xd8);
}
TGO_INLINE void store(bf16* p, Vec a) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow(a));
}

#endif

// Two neighbours, 32 values.
template <class T>
TGO_INLINE void store2(T* p, Vec a, Vec b) {
#if defined(__AVX512BF16__)
  if constexpr (sizeof(T) == 2) {
    _mm512_storeu_si512(p, (__m512i)_mm512_cvtne2ps_pbh(b, a));
    return;
  }
#endif
  store(p, a);
  store(p + kLanes, b);
}

// 2^x: relative error 2e-7 and 2^0 = 1, or 8e-5 where bfloat16 follows. Polynomials for 2^f, 0 ≤ f
// < 1, whose largest relative error is the smallest that their degree allows.
template <class T>
TGO_INLINE Vec exp2(Vec x) {
  const Vec f = fraction(x);
  Vec p;
  if constexpr (sizeof(T) == 2) {
    p = set1(7.8024523e-2F);
    p = fma(p, f, set1(2.2606716e-1F));
    p = fma(p, f, set1(6.9583354e-1F));
    p = fma(p, f, set1(9.9992522e-1F));
  } else {
    p = set1(2.1702255e-4F);
    p = fma(p, f, set1(1.2439688e-3F));
    p = fma(p, f, set1(9.6788410e-3F));
    p = fma(p, f, set1(5.5483342e-2F));
    p = fma(p, f, set1(2.4022984e-1F));
    p = fma(p, f, set1(6.9314698e-1F));
    p = fma(p, f, set1(1.0F));
  }
  return scale2(p, x);
}

// log2(x) for x ≥ 2^−126: with x = 2^e · m, 1 ≤ m < 2, and s = (m − √2) / (m + √2) it is e + ½ + 2
// · artanh(s) / ln 2, a series in s² ≤ 0.03. Absolute error 2e-7.
TGO_INLINE Vec log2(Vec x) {
  const Vec root = set1(1.41421356F), m = mantissa(x);
  const Vec s = (m - root) / (m + root), s2 = s * s;
  Vec p = set1(3.2059890e-1F);
  p = fma(p, s2, set1(4.1219858e-1F));
  p = fma(p, s2, set1(5.7707802e-1F));
  p = fma(p, s2, set1(9.6179669e-1F));
  p = fma(p, s2, set1(2.8853901F));
  return fma(p, s, exponent(x) + set1(0.5F));
}

constexpr float kLog2E = 1.44269504F;

// 1 / (1 + e^−x).
template <class T>
TGO_INLINE Vec sigmoid(Vec x) {
  Vec e = set1(1) + exp2<T>(x * set1(-kLog2E));
  if constexpr (sizeof(T) == 2) {
    return about_inverse(e);
  } else {
    return set1(1) / e;
  }
}

}  // namespace tgo::engine::TGO_ISA

#endif
