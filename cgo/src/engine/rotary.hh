// Rotary embedding of 32 columns: 16 of a head's first half and their partners of the second half.
// (a, b) ← (a·cos − b·sin, b·cos + a·sin); backwards the angle is negative, and a factor comes in.
#ifndef TGO_ENGINE_ROTARY_HH
#define TGO_ENGINE_ROTARY_HH

#include "norm.hh"

namespace tgo::engine::TGO_ISA {

TGO_INLINE void turn(Vec cosine, Vec sine, Vec* a, Vec* b) {
  const Vec x = *a, y = *b;
  *a = x * cosine - y * sine;
  *b = y * cosine + x * sine;
}

struct Rotary {
  const float *cosine, *sine;  // [positions × E/2]
  int e;                       // padded head size

  TGO_INLINE std::size_t place(int position, int n) const {
    return static_cast<std::size_t>(position) * (static_cast<unsigned>(e) / 2) +
           static_cast<unsigned>(n) % static_cast<unsigned>(e) / 2;
  }
  // n is the first of the 32 columns, counted from the start of any head.
  TGO_INLINE void forward(int position, int n, Vec* a, Vec* b) const {
    const std::size_t at = place(position, n);
    turn(load(cosine + at), load(sine + at), a, b);
  }
  TGO_INLINE void backward(int position, int n, float scale, Vec* a, Vec* b) const {
    const std::size_t at = place(position, n);
    turn(load(cosine + at) * set1(scale), load(sine + at) * set1(-scale), a, b);
  }
};

// out = rotary(norm(x)) of g.columns columns of x from `first` on, row by row: OLMo-2's queries or
// keys. position(m) is that of row m.
template <class T, class Position>
void qk_norm_forward(const T* x, int x_columns, int first, const Gain& g, float eps,
                     const Rotary& rotary, int rows, const Position& position, float* r, T* out,
                     int out_columns) {
  auto row = [&](int m) { return TiledRow(x, m, first, x_columns); };
  for (int m = 0; m < rows; m++) {
    if (m % kLanes == 0) {
      inverse_rms([&](int i) { return row(m + i); }, g.columns, g.width, eps, r + m);
    }
    const TiledRow turned(out, m, first, out_columns);
    normalise(row(m), r[m], g, [&](int n, Vec a, Vec b) {
      rotary.forward(position(m), n, &a, &b);
      turned.put(n, a, b);
    });
  }
}

// The gradient of x, in its place, from that of norm(x) in dy (attention has turned it back
// already).
template <class T>
void qk_norm_backward(T* x, int x_columns, int first, const Gain& g, int rows, const float* r,
                      const T* dy, int dy_columns, float* dg) {
  for (int m = 0; m < rows; m += kLanes) {
    auto row = [&](int i) { return TiledRow(x, m + i, first, x_columns); };
    norm_backward_rows(
        row, [&](int i) { return TiledRow(dy, m + i, first, dy_columns); }, r + m, g, dg,
        [&](int i, int n, Vec a, Vec b) { row(i).put(n, a, b); });
  }
}

}  // namespace tgo::engine::TGO_ISA

#endif
