// What the products of the feed-forward network hand their rows to: SwiGLU and its derivative.
//
//   s = silu(g) · u, silu(g) = g · σ(g);  ds/du = silu(g),  ds/dg = u · silu'(g),
//   silu'(g) = σ(g) + silu(g) · (1 − σ(g))
//
// Both factors are kept for the way back instead of gate and up: there they are all that is needed.
// Gate and up lie interleaved by 16 (network.hh), so 32 columns of [g u] belong to 16 columns of s;
// the factors lie as what they lead to, ds/dg in the place of g.
#ifndef TGO_ENGINE_FEED_FORWARD_HH
#define TGO_ENGINE_FEED_FORWARD_HH

#include "pack.hh"

namespace tgo::engine::TGO_ISA {

// A block of gate and up: s alone, where there is no way back.
template <class T>
struct Swiglu {
  T* s;  // 16 columns

  TGO_INLINE Swiglu(T* s, int m, int p, int f) : s(s + tiled<T>(m, p * kLanes, f)) {}
  TGO_INLINE void soon(int) const {}
  TGO_INLINE void put(int i, const float* c) const {
    const Vec g = load(c);
    store(s + i * kTileColumns<T>, g * sigmoid<T>(g) * load(c + kLanes));
  }
};

// A block of gate and up: s and its factors.
template <class T>
struct SwigluForward {
  TiledBlock<T> factors;
  T* s;  // 16 columns

  TGO_INLINE SwigluForward(T* factors, T* s, int m, int p, int f)
      : factors(factors, m, p * kBlock, 2 * f), s(s + tiled<T>(m, p * kLanes, f)) {}
  TGO_INLINE void soon(int i) const { factors.expect(i); }
  TGO_INLINE void put(int i, const float* c) const {
    const Vec g = load(c), u = load(c + kLanes), sigma = sigmoid<T>(g), silu = g * sigma;
    factors.put(i, u * (sigma + silu * (set1(1) - sigma)), silu);
    store(s + i * kTileColumns<T>, silu * u);
  }
};

// A block of ds, which two blocks of gate and up belong to: their gradients.
template <class T>
struct SwigluBackward {
  TiledBlock<const T> first, second;
  TiledBlock<T> first_gradient, second_gradient;

  TGO_INLINE SwigluBackward(const T* factors, T* gradient, int m, int p, int f)
      : first(factors, m, 2 * p * kBlock, 2 * f),
        second(factors, m, (2 * p + 1) * kBlock, 2 * f),
        first_gradient(gradient, m, 2 * p * kBlock, 2 * f),
        second_gradient(gradient, m, (2 * p + 1) * kBlock, 2 * f) {}
  TGO_INLINE void soon(int i) const {
    __builtin_prefetch(first.row(i));
    __builtin_prefetch(second.row(i));
  }
  TGO_INLINE void put(int i, const float* c) const {
    half(first, first_gradient, i, load(c));
    half(second, second_gradient, i, load(c + kLanes));
  }

 private:
  TGO_INLINE static void half(const TiledBlock<const T>& factors, const TiledBlock<T>& gradient,
                              int i, Vec ds) {
    Vec of_gate, of_up;
    factors.get(i, &of_gate, &of_up);
    gradient.put(i, ds * of_gate, ds * of_up);
  }
};

}  // namespace tgo::engine::TGO_ISA

#endif
