// The engine's arrangements of a matrix (engine/types.hh, engine/network.hh), written from their
// description, one value at a time.
#ifndef TGO_TESTS_LAYOUT_HH
#define TGO_TESTS_LAYOUT_HH

#include <cstring>
#include <vector>

#include "../../engine/types.hh"
#include "reference.hh"
#include "report.hh"

namespace tgo::tests {

using engine::Word;
using reference::Values;

// Values of a precision, at first all NaN: what a kernel reads without having been given it shows.
class Buffer {
 public:
  Buffer(bool half, std::size_t count)
      : half_(half), words_((count * (half ? 2 : 4) + 3) / 4, 0xffffffffU) {}
  double get(std::size_t i) const {
    std::uint32_t bits = words_[half_ ? i / 2 : i];
    if (half_) {
      bits = i % 2 == 0 ? bits << 16 : bits & 0xffff0000U;
    }
    float x = 0;
    std::memcpy(&x, &bits, 4);
    return static_cast<double>(x);
  }
  void set(std::size_t i, double value) {
    const auto x = static_cast<float>(rounded(value, half_));
    std::uint32_t bits = 0;
    std::memcpy(&bits, &x, 4);
    if (!half_) {
      words_[i] = bits;
    } else if (i % 2 == 0) {
      words_[i / 2] = (words_[i / 2] & 0xffff0000U) | bits >> 16;
    } else {
      words_[i / 2] = (words_[i / 2] & 0xffffU) | bits;
    }
  }
  void clear() { words_.assign(words_.size(), 0); }
  void* data() { return words_.data(); }
  Word* words() { return words_.data(); }
  bool operator==(const Buffer&) const = default;

 private:
  bool half_;
  std::vector<std::uint32_t> words_;
};

// Rows and columns in tiles of 32 rows × 64 bytes; both multiples of 32.
class Tiled : public Buffer {
 public:
  Tiled(bool half, int rows, int columns)
      : Buffer(half, static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns)),
        tile_(half ? 32 : 16),
        columns_(columns) {}
  double at(int m, int n) const { return get(index(m, n)); }
  void put(int m, int n, double x) { set(index(m, n), x); }
  int columns() const { return columns_; }
  // Words from one row of tiles to the next.
  std::size_t stride() const {
    return static_cast<std::size_t>(columns_ / tile_) *
           static_cast<std::size_t>(engine::kTileWords);
  }

 private:
  std::size_t index(int m, int n) const {
    const int tile = m / 32 * (columns_ / tile_) + n / tile_;
    return (static_cast<std::size_t>(tile) * 32 + static_cast<std::size_t>(m % 32)) *
               static_cast<std::size_t>(tile_) +
           static_cast<std::size_t>(n % tile_);
  }
  int tile_, columns_;
};

// Right sides of products: panels of 32 columns, `depth` values summed over.
class Panels : public Buffer {
 public:
  Panels(bool half, int depth, int columns)
      : Buffer(half, static_cast<std::size_t>(depth) * static_cast<std::size_t>(columns)),
        half_(half),
        depth_(depth) {}
  double at(int k, int n) const { return get(index(k, n)); }
  void put(int k, int n, double x) { set(index(k, n), x); }

 private:
  std::size_t index(int k, int n) const {
    const std::size_t panel = static_cast<std::size_t>(n / 32 * depth_) * 32;
    const int neighbours = half_ ? 2 : 1;
    return panel +
           static_cast<std::size_t>((k / neighbours * 32 + n % 32) * neighbours + k % neighbours);
  }
  bool half_;
  int depth_;
};

// Where value (m, n) of a gradient lies, in blocks of 32 × 32.
inline std::size_t block_index(int m, int n, int columns) {
  return static_cast<std::size_t>(m / 32 * (columns / 32) + n / 32) * 1024 +
         static_cast<std::size_t>(m % 32 * 32 + n % 32);
}

// Columns of one head, padded, and the column of its value i: pairs of 16 of both halves.
inline int head_columns(int size) { return 2 * ((size / 2 + 15) / 16 * 16); }
inline int head_column(int size, int i) {
  const int half = size / 2, in_half = i % half;
  return in_half / 16 * 32 + (i < half ? 0 : 16) + in_half % 16;
}

// Random normal values, each rounded to the precision.
inline Values normal_values(Random& random, std::int64_t n, bool half, double scale = 1) {
  Values v(static_cast<std::size_t>(n));
  for (double& x : v) {
    x = rounded(scale * random.normal(), half);
  }
  return v;
}

inline std::vector<float> floats(const Values& v) { return {v.begin(), v.end()}; }

}  // namespace tgo::tests

#endif
