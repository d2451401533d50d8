// RMSNorm: y = x · r · g with r = 1 / sqrt(mean(x²) + eps); dx = r · (dy·g − x̂ · mean(dy·g·x̂)), x̂ =
// x·r, and dg = Σ dy·x̂. Rows of x are float32 (the residual stream) or tiled (the result of a
// product).
#ifndef TGO_ENGINE_NORM_HH
#define TGO_ENGINE_NORM_HH

#include "network.hh"
#include "pack.hh"

namespace tgo::engine::TGO_ISA {

// A row of the residual stream, 32 values at a time, as TiledRow gives those of a tiled matrix.
struct PlainRow {
  const float* p;
  TGO_INLINE void get(int n, Vec* a, Vec* b) const {
    *a = load(p + n);
    *b = load(p + n + kLanes);
  }
};
template <class X>
TGO_INLINE float inverse_rms(const X& x, int columns, int width, float eps) {
  Vec s0 = set1(0), s1 = set1(0), a, b;
  for (int n = 0; n < columns; n += kBlock) {
    x.get(n, &a, &b);
    s0 = fma(a, a, s0);
    s1 = fma(b, b, s1);
  }
  return 1.0F / __builtin_sqrtf(sum(s0 + s1) / static_cast<float>(width) + eps);
}

// y = x · r · g, handed over 32 values at a time.
template <class X, class Out>
TGO_INLINE void normalise(const X& x, float r, const Gain& g, const Out& out) {
  const Vec scale = set1(r);
  Vec a, b;
  for (int n = 0; n < g.columns; n += kBlock) {
    x.get(n, &a, &b);
    out(n, a * scale * load(g.value + n), b * scale * load(g.value + n + kLanes));
  }
}

// Hands over dx 32 values at a time and adds to dg.
template <class X, class DY, class Out>
TGO_INLINE void norm_backward_row(const X& x, const DY& dy, float r, const Gain& g, float* dg,
                                  const Out& out) {
  const Vec scale = set1(r);
  Vec s0 = set1(0), s1 = set1(0), a, b, xa, xb;
  for (int n = 0; n < g.columns; n += kBlock) {
    dy.get(n, &a, &b);
    x.get(n, &xa, &xb);
    xa = xa * scale;
    xb = xb * scale;
    store(dg + n, fma(a, xa, load(dg + n)));
    store(dg + n + kLanes, fma(b, xb, load(dg + n + kLanes)));
    s0 = fma(a * load(g.value + n), xa, s0);
    s1 = fma(b * load(g.value + n + kLanes), xb, s1);
  }
  const Vec mean = set1(sum(s0 + s1) / static_cast<float>(g.width));
  for (int n = 0; n < g.columns; n += kBlock) {
    dy.get(n, &a, &b);
    x.get(n, &xa, &xb);
    out(n, scale * (a * load(g.value + n) - mean * (xa * scale)),
        scale * (b * load(g.value + n + kLanes) - mean * (xb * scale)));
  }
}

// h = norm(x), tiled, from the residual stream; r is computed, or with `again` taken as stored.
template <class T>
void norm_forward(const float* x, const Gain& g, float eps, int rows, float* r, T* h, bool again) {
  for (int m = 0; m < rows; m++) {
    const PlainRow row{x + static_cast<std::size_t>(m) * g.columns};
    if (!again) {
      r[m] = inverse_rms(row, g.columns, g.width, eps);
    }
    const TiledRow out16(h, m, 0, g.columns);
    normalise(row, r[m], g, [&](int n, Vec a, Vec b) { out16.put(n, a, b); });
  }
}

// dx += the gradient through norm(x) of dh, tiled; dx16 receives the sum, tiled. `set`: dx =
// instead.
template <class T>
void norm_backward(const float* x, const Gain& g, const T* dh, const float* r, int rows, float* dx,
                   T* dx16, float* dg, bool set) {
  for (int m = 0; m < rows; m++) {
    const std::size_t at = static_cast<std::size_t>(m) * g.columns;
    float* out = dx + at;
    const TiledRow out16(dx16, m, 0, g.columns);
    norm_backward_row(PlainRow{x + at}, TiledRow(dh, m, 0, g.columns), r[m], g, dg,
                      [&](int n, Vec a, Vec b) {
                        if (!set) {
                          a = a + load(out + n);
                          b = b + load(out + n + kLanes);
                        }
                        store(out + n, a);
                        store(out + n + kLanes, b);
                        out16.put(n, a, b);
                      });
  }
}

// Reordered norm: xo = xi + norm(y), y tiled.
template <class T>
void result_norm_forward(const T* y, const Gain& g, float eps, int rows, const float* xi, float* xo,
                         float* r) {
  for (int m = 0; m < rows; m++) {
    const std::size_t at = static_cast<std::size_t>(m) * g.columns;
    const TiledRow row(y, m, 0, g.columns);
    r[m] = inverse_rms(row, g.columns, g.width, eps);
    normalise(row, r[m], g, [&](int n, Vec a, Vec b) {
      a = a + load(xi + at + n);
      b = b + load(xi + at + n + kLanes);
      store(xo + at + n, a);
      store(xo + at + n + kLanes, b);
    });
  }
}

// dy, tiled, from the residual stream's gradient dx, which passes by unchanged.
template <class T>
void result_norm_backward(const T* y, const Gain& g, const float* dx, const float* r, int rows,
                          T* dy, float* dg) {
  for (int m = 0; m < rows; m++) {
    const TiledRow out16(dy, m, 0, g.columns);
    norm_backward_row(TiledRow(y, m, 0, g.columns),
                      PlainRow{dx + static_cast<std::size_t>(m) * g.columns}, r[m], g, dg,
                      [&](int n, Vec a, Vec b) { out16.put(n, a, b); });
  }
}

// x16 = x, tiled.
template <class T>
void round_rows(const float* x, int rows, int columns, T* x16) {
  for (int m = 0; m < rows; m++) {
    const float* row = x + static_cast<std::size_t>(m) * columns;
    const TiledRow out16(x16, m, 0, columns);
    for (int n = 0; n < columns; n += kBlock) {
      out16.put(n, load(row + n), load(row + n + kLanes));
    }
  }
}

// dx += dt, tiled.
template <class T>
void add_rows(const T* dt, int rows, int columns, float* dx) {
  Vec a, b;
  for (int m = 0; m < rows; m++) {
    float* row = dx + static_cast<std::size_t>(m) * columns;
    const TiledRow in(dt, m, 0, columns);
    for (int n = 0; n < columns; n += kBlock) {
      in.get(n, &a, &b);
      store(row + n, a + load(row + n));
      store(row + n + kLanes, b + load(row + n + kLanes));
    }
  }
}

}  // namespace tgo::engine::TGO_ISA

#endif
