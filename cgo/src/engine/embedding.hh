// The embedding: rows of the table become rows of the residual stream, and their gradients are
// added to the table's, in the order of the tokens.
#ifndef TGO_ENGINE_EMBEDDING_HH
#define TGO_ENGINE_EMBEDDING_HH

#include "network.hh"
#include "vec.hh"

namespace tgo::engine::TGO_ISA {

// x[m] = table[id], or 0 in rows without a token (id −1). Columns beyond `width` are padding.
inline void embedding_forward(const float* table, int width, const std::int32_t* ids, int rows,
                              int columns, float* x) {
  for (int m = 0; m < rows; m++) {
    float* out = x + static_cast<std::size_t>(m) * columns;
    for (int n = 0; n < columns; n += kLanes) {
      const int count = ids[m] < 0 ? 0 : at_least(0, at_most(kLanes, width - n));
      const std::size_t at = static_cast<std::size_t>(at_least(0, ids[m])) * width + n;
      store(out + n, load_n(table + (count > 0 ? at : 0), count));
    }
  }
}

// gradient[id] += dx[m] for columns `from` to `to` (multiples of 16).
inline void embedding_backward(const float* dx, const std::int32_t* ids, int rows, int columns,
                               int from, int to, float* gradient) {
  for (int m = 0; m < rows; m++) {
    if (ids[m] < 0) {
      continue;
    }
    const float* in = dx + static_cast<std::size_t>(m) * columns;
    float* out = gradient + static_cast<std::size_t>(ids[m]) * columns;
    for (int n = from; n < to; n += kLanes) {
      store(out + n, load(out + n) + load(in + n));
    }
  }
}

}  // namespace tgo::engine::TGO_ISA

#endif
