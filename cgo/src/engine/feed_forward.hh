// What the products of the feed-forward network hand their rows to: SwiGLU and its derivative.
//
//   s = silu(g) · u, silu(g) = g · σ(g);  ds/du = silu(g),  ds/dg = u · (σ(g) + silu(g) · (1 −
//   σ(g)))
//
// Gate and up lie interleaved by 16 (network.hh), so 32 columns of [g u] belong to 16 columns of s.
#ifndef TGO_ENGINE_FEED_FORWARD_HH
#define TGO_ENGINE_FEED_FORWARD_HH

#include "pack.hh"

namespace tgo::engine::TGO_ISA {

// A block of gate and up: kept for the backward pass, and s.
template <class T>
struct SwigluForward {
  TiledBlock<T> gate_up;
  T* s;  // 16 columns

  TGO_INLINE SwigluForward(T* gate_up, T* s, int m, int p, int f)
      : gate_up(gate_up, m, p * kBlock, 2 * f), s(s + tiled<T>(m, p * kLanes, f)) {}
  TGO_INLINE void soon(int i) const { gate_up.expect(i); }
  TGO_INLINE void put(int i, const float* c) const {
    const Vec g = load(c), u = load(c + kLanes);
    gate_up.put(i, g, u);
    store(s + i * kTileColumns<T>, g * sigmoid<T>(g) * u);
  }
};

// A block of ds, which two blocks of gate and up belong to: their gradients, and s again.
template <class T>
struct SwigluBackward {
  TiledBlock<const T> first, second;
  TiledBlock<T> first_gradient, second_gradient, s;

  TGO_INLINE SwigluBackward(const T* gate_up, T* gradient, T* s, int m, int p, int f)
      : first(gate_up, m, 2 * p * kBlock, 2 * f),
        second(gate_up, m, (2 * p + 1) * kBlock, 2 * f),
        first_gradient(gradient, m, 2 * p * kBlock, 2 * f),
        second_gradient(gradient, m, (2 * p + 1) * kBlock, 2 * f),
        s(s, m, p * kBlock, f) {}
  TGO_INLINE void soon(int i) const {
    __builtin_prefetch(first.row(i));
    __builtin_prefetch(second.row(i));
  }
  TGO_INLINE void put(int i, const float* c) const {
    const Vec a = half(first, first_gradient, i, load(c));
    s.put(i, a, half(second, second_gradient, i, load(c + kLanes)));
  }

 private:
  TGO_INLINE static Vec half(const TiledBlock<const T>& gate_up, const TiledBlock<T>& gradient,
                             int i, Vec ds) {
    Vec g, u;
    gate_up.get(i, &g, &u);
    const Vec sigma = sigmoid<T>(g), silu = g * sigma;
    gradient.put(i, ds * u * (sigma + silu * (set1(1) - sigma)), ds * silu);
    return silu * u;
  }
};

}  // namespace tgo::engine::TGO_ISA

#endif
