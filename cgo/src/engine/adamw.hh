// AdamW with decoupled decay, p ← p·(1 − lr·λ) − lr·m̂ / (√v̂ + ε), and in the same pass the panels
// that the next step's products read.
#ifndef TGO_ENGINE_ADAMW_HH
#define TGO_ENGINE_ADAMW_HH

#include "network.hh"
#include "pack.hh"

namespace tgo::engine::TGO_ISA {

// The registry's flat buffers and the numbers of one update. Without moments (m null) no gradient
// is read, the parameters stay as they are, and only the copies are renewed.
struct Update {
  float *p, *m, *v;
  float scale;  // of every gradient: the clip factor
  float beta1, beta2, eps;
  float rate;         // lr / (1 − β1ᵗ)
  float root;         // 1 / √(1 − β2ᵗ)
  const float* keep;  // 1 − lr·λ of each parameter
};

// `count` (up to 16) values from `at` on of a parameter, whose gradients lie from gradients[from]
// on; returns them updated.
TGO_INLINE Vec update(const Update& u, std::int64_t at, int count, int param,
                      const float* gradients, std::size_t from) {
  Vec p = load_n(u.p + at, count);
  if (u.m == nullptr) {
    return p;
  }
  const Vec g = load(gradients + from) * set1(u.scale);
  const Vec m = fma(load_n(u.m + at, count), set1(u.beta1), g * set1(1 - u.beta1));
  const Vec v = fma(load_n(u.v + at, count), set1(u.beta2), g * g * set1(1 - u.beta2));
  p = p * set1(u.keep[param]) - m * set1(u.rate) / fma(sqrt(v), set1(u.root), set1(u.eps));
  store_n(u.m + at, m, count);
  store_n(u.v + at, v, count);
  store_n(u.p + at, p, count);
  return p;
}

// Block n of 32 rows of a matrix: gradients in blocks of 32 × 32, `rows16` room for 32 tiled rows.
template <class T>
void update_matrix(const Update& u, const Matrix& w, int n, const float* gradients, T* rows16) {
  const int blocks = w.columns / kBlock;
  const std::size_t first = w.gradient + static_cast<std::size_t>(n) * blocks * kSquare;
  for (int r = 0; r < kBlock; r++) {
    const Row row = w.row[n * kBlock + r];
    for (int k = 0; k < blocks; k++) {
      Vec half[2] = {set1(0), set1(0)};
      for (int i = 0; i < 2 && row.offset >= 0; i++) {
        const Chunk c = w.chunk[2 * k + i];
        if (c.count > 0) {
          half[i] = update(u, row.offset + c.column, c.count, row.param, gradients,
                           first + k * kSquare + r * kBlock + i * kLanes);
        }
      }
      TiledRow(rows16, r, 0, w.columns).put(k * kBlock, half[0], half[1]);
    }
  }
  const auto* words = reinterpret_cast<const Word*>(rows16);
  const std::size_t bw = block_words<T>();
  for (int k = 0; k < blocks; k++) {
    block_panel_of_columns<T>(words + k * bw,
                              w.forward + (static_cast<std::size_t>(n) * blocks + k) * bw);
    block_panel_of_rows<T>(words + k * bw,
                           w.backward + (static_cast<std::size_t>(k) * (w.rows / kBlock) + n) * bw);
  }
}

// A gain and our copy of it.
inline void update_gain(const Update& u, const Gain& g, const float* gradients) {
  for (int c = 0; c < g.columns / kLanes; c++) {
    const Chunk at = g.chunk[c];
    Vec p = set1(0);
    if (at.count > 0) {
      p = update(u, g.row.offset + at.column, at.count, g.row.param, gradients,
                 g.gradient + c * kLanes);
    }
    store(g.value + c * kLanes, p);
  }
}

// Rows from `from` to `to` of a table that no product reads.
inline void update_table(const Update& u, std::int64_t offset, int param, int width, int columns,
                         int from, int to, const float* gradients) {
  for (int r = from; r < to; r++) {
    for (int n = 0; n < width; n += kLanes) {
      update(u, offset + static_cast<std::int64_t>(r) * width + n, at_most(kLanes, width - n),
             param, gradients, static_cast<std::size_t>(r) * columns + n);
    }
  }
}

}  // namespace tgo::engine::TGO_ISA

#endif
