// Heads in the engine's order of columns, and the tables of rotary embedding.
#ifndef TGO_TESTS_HEADS_HH
#define TGO_TESTS_HEADS_HH

#include <cmath>
#include <vector>

#include "layout.hh"

namespace tgo::tests {

// As the kernels read them: [positions × E/2]; padding turns by nothing.
class RotaryTables {
 public:
  // The angles are those of reference::rotary, seen on the pair (1, 0).
  RotaryTables(int time, int size, double theta) {
    const int half = size / 2, columns = head_columns(size) / 2, rows = engine::padded(time);
    cosine_.assign(static_cast<std::size_t>(rows * columns), 1.0F);
    sine_.assign(cosine_.size(), 0.0F);
    Values x(static_cast<std::size_t>(time * size));
    for (int t = 0; t < time; t++) {
      std::fill_n(x.begin() + static_cast<std::ptrdiff_t>(t) * size, half, 1.0);
    }
    reference::rotary(x.data(), time, 1, size, theta, 1);
    for (int t = 0; t < time; t++) {
      for (int i = 0; i < half; i++) {
        const auto at = static_cast<std::size_t>(t * columns + i);
        cosine_[at] = static_cast<float>(x[static_cast<std::size_t>(t * size + i)]);
        sine_[at] = static_cast<float>(x[static_cast<std::size_t>(t * size + half + i)]);
      }
    }
  }
  const float* cosine() const { return cosine_.data(); }
  const float* sine() const { return sine_.data(); }

 private:
  std::vector<float> cosine_, sine_;
};

// Values of heads, without padding, in the engine's order of columns from column `first` on.
inline void put_heads(Tiled& x, int first, const Values& v, int rows, int heads, int size) {
  const int e = head_columns(size);
  for (int m = 0; m < rows; m++) {
    for (int h = 0; h < heads; h++) {
      for (int n = 0; n < e; n++) {
        x.put(m, first + h * e + n, 0);
      }
      for (int i = 0; i < size; i++) {
        x.put(m, first + h * e + head_column(size, i),
              v[static_cast<std::size_t>((m * heads + h) * size + i)]);
      }
    }
  }
}

// Compares; whatever stands in padding must be zero.
inline Error head_error(const Tiled& x, int first, const Values& want, int rows, int heads,
                        int size) {
  const int e = head_columns(size);
  Error error;
  double padding = 0;
  for (int m = 0; m < rows; m++) {
    for (int h = 0; h < heads; h++) {
      for (int n = 0; n < e; n++) {
        padding += std::abs(x.at(m, first + h * e + n));
      }
      for (int i = 0; i < size; i++) {
        const double got = x.at(m, first + h * e + head_column(size, i));
        error.add(got, want[static_cast<std::size_t>((m * heads + h) * size + i)]);
        padding -= std::abs(got);
      }
    }
  }
  error.add(std::abs(padding) < 1e-6 ? 0 : 1e6, 0);
  return error;
}

}  // namespace tgo::tests

#endif
