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

// r of 16 rows, row(i) the i-th.
template <class Rows>
TGO_INLINE void inverse_rms(const Rows& row, int columns, int width, float eps, float* r) {
  Vec of_row[kLanes], a, b;
  for (int i = 0; i < kLanes; i++) {
    const auto x = row(i);
    Vec s0 = set1(0), s1 = set1(0);
    for (int n = 0; n < columns; n += kBlock) {
      x.get(n, &a, &b);
      s0 = fma(a, a, s0);
      s1 = fma(b, b, s1);
    }
    of_row[i] = s0 + s1;
  }
  const Vec mean = sums(of_row) / set1(static_cast<float>(width));
  store(r, set1(1) / sqrt(mean + set1(eps)));
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

// Of 16 rows, x(i) and dy(i) the i-th: hands over dx of row i 32 values at a time and adds to dg.
template <class X, class DY, class Out>
TGO_INLINE void norm_backward_rows(const X& x, const DY& dy, const float* r, const Gain& g,
                                   float* dg, const Out& out) {
  Vec of_row[kLanes], a, b, xa, xb;
  for (int i = 0; i < kLanes; i++) {
    const auto x_row = x(i);
    const auto dy_row = dy(i);
    const Vec scale = set1(r[i]);
    Vec s0 = set1(0), s1 = set1(0);
    for (int n = 0; n < g.columns; n += kBlock) {
      dy_row.get(n, &a, &b);
      x_row.get(n, &xa, &xb);
      xa = xa * scale;
      xb = xb * scale;
      store(dg + n, fma(a, xa, load(dg + n)));
      store(dg + n + kLanes, fma(b, xb, load(dg + n + kLanes)));
      s0 = fma(a * load(g.value + n), xa, s0);
      s1 = fma(b * load(g.value + n + kLanes), xb, s1);
    }
    of_row[i] = s0 + s1;
  }
  alignas(64) float mean[kLanes];
  store(mean, sums(of_row) / set1(static_cast<float>(g.width)));
  for (int i = 0; i < kLanes; i++) {
    const auto x_row = x(i);
    const auto dy_row = dy(i);
    const Vec scale = set1(r[i]), along = set1(mean[i] * r[i]);
    for (int n = 0; n < g.columns; n += kBlock) {
      dy_row.get(n, &a, &b);
      x_row.get(n, &xa, &xb);
      out(i, n, scale * (a * load(g.value + n) - along * xa),
          scale * (b * load(g.value + n + kLanes) - along * xb));
    }
  }
}

// h = norm(x), tiled, from the residual stream; r is computed, or with `again` taken as stored.
// Here and below `rows` is a multiple of 16.
template <class T>
void norm_forward(const float* x, const Gain& g, float eps, int rows, float* r, T* h, bool again) {
  auto row = [&](int m) { return PlainRow{x + static_cast<std::size_t>(m) * g.columns}; };
  for (int m = 0; m < rows; m++) {
    if (!again && m % kLanes == 0) {
      inverse_rms([&](int i) { return row(m + i); }, g.columns, g.width, eps, r + m);
    }
    const TiledRow out16(h, m, 0, g.columns);
    normalise(row(m), r[m], g, [&](int n, Vec a, Vec b) { out16.put(n, a, b); });
  }
}

// dx += the gradient through norm(x) of dh, tiled; dx16 receives the sum, tiled. `set`: dx =
// instead.
template <class T>
void norm_backward(const float* x, const Gain& g, const T* dh, const float* r, int rows, float* dx,
                   T* dx16, float* dg, bool set) {
  for (int m = 0; m < rows; m += kLanes) {
    const std::size_t at = static_cast<std::size_t>(m) * g.columns;
    norm_backward_rows([&](int i) { return PlainRow{x + at + i * g.columns}; },
                       [&](int i) { return TiledRow(dh, m + i, 0, g.columns); }, r + m, g, dg,
                       [&](int i, int n, Vec a, Vec b) {
                         float* out = dx + at + i * g.columns + n;
                         if (!set) {
                           a = a + load(out);
                           b = b + load(out + kLanes);
                         }
                         store(out, a);
                         store(out + kLanes, b);
                         TiledRow(dx16, m + i, 0, g.columns).put(n, a, b);
                       });
  }
}

// Reordered norm: xo = xi + norm(y), y tiled.
template <class T>
void result_norm_forward(const T* y, const Gain& g, float eps, int rows, const float* xi, float* xo,
                         float* r) {
  auto row = [&](int m) { return TiledRow(y, m, 0, g.columns); };
  for (int m = 0; m < rows; m++) {
    if (m % kLanes == 0) {
      inverse_rms([&](int i) { return row(m + i); }, g.columns, g.width, eps, r + m);
    }
    const std::size_t at = static_cast<std::size_t>(m) * g.columns;
    normalise(row(m), r[m], g, [&](int n, Vec a, Vec b) {
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
  for (int m = 0; m < rows; m += kLanes) {
    const float* from = dx + static_cast<std::size_t>(m) * g.columns;
    norm_backward_rows(
        [&](int i) { return TiledRow(y, m + i, 0, g.columns); },
        [&](int i) { return PlainRow{from + i * g.columns}; }, r + m, g, dg,
        [&](int i, int n, Vec a, Vec b) { TiledRow(dy, m + i, 0, g.columns).put(n, a, b); });
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
