// The rows that the products of the feed-forward network hand over: SwiGLU and its derivative.
//
//   s = silu(g) · u, silu(g) = g · σ(g);  ds/du = silu(g),  ds/dg = u · (σ(g) + silu(g) · (1 −
//   σ(g)))
//
// Gate and up lie interleaved by 16 (network.hh), so 32 columns of [g u] belong to 16 columns of s.
#ifndef TGO_ENGINE_FEED_FORWARD_HH
#define TGO_ENGINE_FEED_FORWARD_HH

#include "pack.hh"

namespace tgo::engine::TGO_ISA {

// A row of block p of gate and up: kept for the backward pass, and s.
template <class T>
TGO_INLINE void swiglu_forward(const float* c, int m, int p, int f, T* gate_up, T* s) {
  const Vec g = load(c), u = load(c + kLanes);
  store_tiled(gate_up, m, p * kBlock, 2 * f, g, u);
  store(s + tiled<T>(m, p * kLanes, f), g * sigmoid<T>(g) * u);
}

// 16 columns of ds: writes the gradients of gate and up; returns s again.
template <class T>
TGO_INLINE Vec swiglu_backward(Vec ds, int m, int n, int f, const T* gate_up, T* gradient) {
  Vec g, u;
  load_tiled(gate_up, m, n, 2 * f, &g, &u);
  const Vec sigma = sigmoid<T>(g), silu = g * sigma;
  store_tiled(gradient, m, n, 2 * f, ds * u * (sigma + silu * (set1(1) - sigma)), ds * silu);
  return silu * u;
}

// A row of block p of ds.
template <class T>
TGO_INLINE void swiglu_backward_row(const float* c, int m, int p, int f, const T* gate_up,
                                    T* gradient, T* s) {
  const Vec a = swiglu_backward(load(c), m, 2 * p * kBlock, f, gate_up, gradient);
  const Vec b = swiglu_backward(load(c + kLanes), m, (2 * p + 1) * kBlock, f, gate_up, gradient);
  store_tiled(s, m, p * kBlock, f, a, b);
}

}  // namespace tgo::engine::TGO_ISA

#endif
