// Rotary embedding of 32 columns: 16 of a head's first half and their partners of the second half.
// (a, b) ← (a·cos − b·sin, b·cos + a·sin); backwards the angle is negative.
#ifndef TGO_ENGINE_ROTARY_HH
#define TGO_ENGINE_ROTARY_HH

#include "norm.hh"

namespace tgo::engine::TGO_ISA {

struct Rotary {
  const float *cosine, *sine;  // [positions × E/2]
  int e;                       // padded head size

  // n is the first of the 32 columns, counted from the start of any head.
  TGO_INLINE void forward(int position, int n, Vec* a, Vec* b) const {
    const std::size_t at = static_cast<std::size_t>(position) * (e / 2) + n % e / 2;
    const Vec c = load(cosine + at), s = load(sine + at), x = *a, y = *b;
    *a = x * c - y * s;
    *b = y * c + x * s;
  }
  TGO_INLINE void backward(int position, int n, Vec* a, Vec* b) const {
    const std::size_t at = static_cast<std::size_t>(position) * (e / 2) + n % e / 2;
    const Vec c = load(cosine + at), s = load(sine + at), x = *a, y = *b;
    *a = x * c + y * s;
    *b = y * c - x * s;
  }
};

// out = rotary(norm(x)) of g.columns columns of x from `first` on, row by row: OLMo-2's queries or
// keys. A row's position is its index in a sequence of `time` rows.
template <class T>
void qk_norm_forward(const T* x, int x_columns, int first, const Gain& g, float eps,
                     const Rotary& rotary, int rows, int time, float* r, T* out, int out_columns) {
  for (int m = 0; m < rows; m++) {
    const TiledRow<T> row{x, m, first, x_columns};
    r[m] = inverse_rms(row, g.columns, g.width, eps);
    normalise(row, r[m], g, [&](int n, Vec a, Vec b) {
      rotary.forward(m % time, n, &a, &b);
      store_tiled(out, m, first + n, out_columns, a, b);
    });
  }
}

// The gradient of x, in its place, from that of norm(x) in dy (attention has turned it back
// already).
template <class T>
void qk_norm_backward(T* x, int x_columns, int first, const Gain& g, int rows, const float* r,
                      const T* dy, int dy_columns, float* dg) {
  for (int m = 0; m < rows; m++) {
    norm_backward_row(TiledRow<T>{x, m, first, x_columns}, TiledRow<T>{dy, m, first, dy_columns},
                      r[m], g, dg,
                      [&](int n, Vec a, Vec b) { store_tiled(x, m, first + n, x_columns, a, b); });
  }
}

}  // namespace tgo::engine::TGO_ISA

#endif
