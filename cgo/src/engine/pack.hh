// Rearranging tiles into the other shapes that products read. With X a tiled matrix of M rows:
//
// - panel_of_rows: panels of X as the right side, its rows summed over (k = row), as in Yᵀ·X and
// P·V
// - panel_of_columns: the same with its columns summed over (k = column), as in Q·Xᵀ
// - tiles_transposed: Xᵀ as the left side, tiled
//
// All work on 32 × 32 blocks. In words: a bfloat16 block is one tile, a float32 block two
// neighbours.
#ifndef TGO_ENGINE_PACK_HH
#define TGO_ENGINE_PACK_HH

#include "tile.hh"

namespace tgo::engine::TGO_ISA {

// Tiles of a 32 × 32 block.
template <class T>
constexpr int kTilesPerBlock = static_cast<int>(sizeof(T)) / 2;

#if defined(__AVX512F__)

// 16 × 16 words.
TGO_INLINE void transpose16(__m512i* r) {
  __m512i t[16];
  for (int i = 0; i < 8; i++) {
    t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
    t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
  }
  for (int i = 0; i < 4; i++) {
    r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
    r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
    r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
  }
  for (int i = 0; i < 4; i++) {
    t[i] = _mm512_shuffle_i32x4(r[i], r[4 + i], 0x88);
    t[4 + i] = _mm512_shuffle_i32x4(r[i], r[4 + i], 0xdd);
    t[8 + i] = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0x88);
    t[12 + i] = _mm512_shuffle_i32x4(r[8 + i], r[12 + i], 0xdd);
  }
  for (int i = 0; i < 4; i++) {
    r[i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0x88);
    r[8 + i] = _mm512_shuffle_i32x4(t[i], t[8 + i], 0xdd);
    r[4 + i] = _mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0x88);
    r[12 + i] = _mm512_shuffle_i32x4(t[4 + i], t[12 + i], 0xdd);
  }
}

// dst[j][i] = src[i][j] for 16 × 16 words with the given distances between rows.
TGO_INLINE void transpose_words(const Word* src, int src_row, Word* dst, int dst_row) {
  __m512i r[16];
  for (int i = 0; i < 16; i++) {
    r[i] = _mm512_loadu_si512(src + i * src_row);
  }
  transpose16(r);
  for (int i = 0; i < 16; i++) {
    _mm512_storeu_si512(dst + i * dst_row, r[i]);
  }
}

// 16 words of (a[c], b[c]) pairs for the lower and for the upper half of 32 columns.
TGO_INLINE void interleave(__m512i a, __m512i b, __m512i* lower, __m512i* upper) {
  alignas(64) static constexpr std::uint16_t kLower[32] = {
      0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
      8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
  alignas(64) static constexpr std::uint16_t kUpper[32] = {
      16, 48, 17, 49, 18, 50, 19, 51, 20, 52, 21, 53, 22, 54, 23, 55,
      24, 56, 25, 57, 26, 58, 27, 59, 28, 60, 29, 61, 30, 62, 31, 63};
  *lower = _mm512_permutex2var_epi16(a, _mm512_load_si512(kLower), b);
  *upper = _mm512_permutex2var_epi16(a, _mm512_load_si512(kUpper), b);
}

#else

TGO_INLINE void transpose_words(const Word* src, int src_row, Word* dst, int dst_row) {
  for (int i = 0; i < 16; i++) {
    for (int j = 0; j < 16; j++) {
      dst[j * dst_row + i] = src[i * src_row + j];
    }
  }
}

#endif

// One block, k = row: 16 word rows of 32 pairs in bfloat16, 32 word rows of 32 values in float32.
template <class T>
TGO_INLINE void block_panel_of_rows(const Word* block, Word* panel,
                                    std::size_t tile_words = kTileWords) {
  if constexpr (sizeof(T) == 4) {
    for (int r = 0; r < kBlock; r++) {
      std::memcpy(panel + r * kBlock, block + r * 16, 64);
      std::memcpy(panel + r * kBlock + 16, block + tile_words + r * 16, 64);
    }
  } else {
    for (int r = 0; r < 16; r++) {
      const Word *even = block + 2 * r * 16, *odd = even + 16;
      Word* out = panel + r * kBlock;
#if defined(__AVX512F__)
      __m512i lower, upper;
      interleave(_mm512_loadu_si512(even), _mm512_loadu_si512(odd), &lower, &upper);
      _mm512_storeu_si512(out, lower);
      _mm512_storeu_si512(out + 16, upper);
#else
      for (int j = 0; j < 16; j++) {
        out[2 * j] = (even[j] & 0xffffU) | (odd[j] << 16);
        out[2 * j + 1] = (even[j] >> 16) | (odd[j] & 0xffff0000U);
      }
#endif
    }
  }
}

// One block, k = column: the words of each row become a column.
template <class T>
TGO_INLINE void block_panel_of_columns(const Word* block, Word* panel) {
  for (int t = 0; t < kTilesPerBlock<T>; t++, block += kTileWords, panel += kTileWords) {
    transpose_words(block, 16, panel, kBlock);
    transpose_words(block + 16 * 16, 16, panel + 16, kBlock);
  }
}

// The tiles of the transposed block: kTilesPerBlock<T> of them, one behind the other.
template <class T>
TGO_INLINE void block_transposed(const Word* block, Word* tiles) {
  alignas(64) Word panel[kTilesPerBlock<T> * kTileWords];
  block_panel_of_rows<T>(block, panel);
  for (int t = 0; t < kTilesPerBlock<T>; t++) {
    transpose_words(panel + t * kTileWords, kBlock, tiles + t * kTileWords, 16);
    transpose_words(panel + t * kTileWords + 16, kBlock, tiles + t * kTileWords + 16 * 16, 16);
  }
}

// Words between two rows of blocks of a tiled matrix with `columns` columns, and of one block.
template <class T>
constexpr std::size_t block_words() {
  return static_cast<std::size_t>(kTilesPerBlock<T>) * kTileWords;
}
template <class T>
constexpr std::size_t row_words(int columns) {
  return static_cast<std::size_t>(columns) / kTileColumns<T> * kTileWords;
}

// X, tiled, of row_blocks · 32 rows and `columns` columns, `stride` words from one row of tiles to
// the next. Each function writes the matrix as a whole.
template <class T>
void panel_of_rows(const Word* x, std::size_t stride, int row_blocks, int columns, Word* out) {
  for (int m = 0; m < row_blocks; m++) {
    for (int c = 0; c < columns / kBlock; c++) {
      block_panel_of_rows<T>(
          x + m * stride + c * block_words<T>(),
          out + (static_cast<std::size_t>(c) * row_blocks + m) * block_words<T>());
    }
  }
}
template <class T>
void panel_of_columns(const Word* x, std::size_t stride, int row_blocks, int columns, Word* out) {
  for (int m = 0; m < row_blocks; m++) {
    for (int c = 0; c < columns / kBlock; c++) {
      block_panel_of_columns<T>(
          x + m * stride + c * block_words<T>(),
          out + (static_cast<std::size_t>(m) * (columns / kBlock) + c) * block_words<T>());
    }
  }
}
template <class T>
void tiles_transposed(const Word* x, std::size_t stride, int row_blocks, int columns, Word* out) {
  for (int m = 0; m < row_blocks; m++) {
    for (int c = 0; c < columns / kBlock; c++) {
      block_transposed<T>(x + m * stride + c * block_words<T>(),
                          out + (static_cast<std::size_t>(c) * row_blocks + m) * block_words<T>());
    }
  }
}

// Where value (m, n) of a tiled matrix with `columns` columns lies, in elements of T.
template <class T>
TGO_INLINE std::size_t tiled(int m, int n, int columns) {
  constexpr unsigned kColumns = kTileColumns<T>;
  const auto row = static_cast<unsigned>(m), column = static_cast<unsigned>(n);
  return (static_cast<std::size_t>(row / kBlock) * (static_cast<unsigned>(columns) / kColumns) +
          column / kColumns) *
             (kBlock * kColumns) +
         row % kBlock * kColumns + column % kColumns;
}

// 32 values at p, the first of 32 columns of a row. In float32 they lie in two tiles.
template <class T>
constexpr int kSecondHalf = sizeof(T) == 2 ? kLanes : kTileWords;
template <class T>
TGO_INLINE void put32(T* p, Vec a, Vec b) {
  if constexpr (sizeof(T) == 2) {
    store2(p, a, b);
  } else {
    store(p, a);
    store(p + kSecondHalf<T>, b);
  }
}
template <class T>
TGO_INLINE void get32(const T* p, Vec* a, Vec* b) {
  *a = load(p);
  *b = load(p + kSecondHalf<T>);
}

// acc + the products of 32 values at a and b, two for each lane.
template <class T>
TGO_INLINE Vec dot32(Vec acc, const T* a, const T* b) {
#if defined(__AVX512BF16__)
  if constexpr (sizeof(T) == 2) {
    return _mm512_dpbf16_ps(acc, (__m512bh)_mm512_loadu_si512(a), (__m512bh)_mm512_loadu_si512(b));
  }
#endif
  Vec a0, a1, b0, b1;
  get32(a, &a0, &a1);
  get32(b, &b0, &b1);
  return fma(a1, b1, fma(a0, b0, acc));
}

// A row of a tiled matrix from a column on that is a multiple of 32: its value n, a multiple of 32
// too, lies at p + 32·n for either type.
template <class T>
struct TiledRow {
  T* p;
  TGO_INLINE TiledRow(T* x, int m, int first, int columns) : p(x + tiled<T>(m, first, columns)) {}
  TGO_INLINE void put(int n, Vec a, Vec b) const { put32(p + n * kBlock, a, b); }
  TGO_INLINE void get(int n, Vec* a, Vec* b) const { get32(p + n * kBlock, a, b); }
};

// A 32 × 32 block of a tiled matrix, row i.
template <class T>
struct TiledBlock {
  T* p;
  TGO_INLINE TiledBlock(T* x, int m, int n, int columns) : p(x + tiled<T>(m, n, columns)) {}
  TGO_INLINE T* row(int i) const { return p + i * kTileColumns<T>; }
  TGO_INLINE void put(int i, Vec a, Vec b) const { put32(row(i), a, b); }
  TGO_INLINE void get(int i, Vec* a, Vec* b) const { get32(row(i), a, b); }
  TGO_INLINE void expect(int i) const {
    expect_write(row(i));
    if constexpr (sizeof(T) == 4) {
      expect_write(row(i) + kSecondHalf<T>);
    }
  }
};

// dW[N × K] (+)= Yᵀ · X over `row_blocks` · 32 rows, in blocks of 32 × 32, rows of blocks one
// behind the other. `left` is Yᵀ tiled (tiles_transposed) and `right` panels of X (panel_of_rows).
// A side is more work to transpose than to make panels of, so the wider one should be on the right:
// `turned`, left is Xᵀ, right Y, and each block is transposed. A few panels stay in the cache while
// all of the left side passes.
template <class T>
void weight_gradient(int n_blocks, int k_blocks, int row_blocks, const Word* left,
                     const Word* right, float* dw, bool turned, bool add) {
  constexpr int kPanelsAtOnce = 4;
  const std::size_t words = row_blocks * block_words<T>();
  const int lefts = turned ? k_blocks : n_blocks, rights = turned ? n_blocks : k_blocks;
  const std::size_t down = static_cast<std::size_t>(turned ? 1 : k_blocks) * kSquare;
  const std::size_t across = static_cast<std::size_t>(turned ? k_blocks : 1) * kSquare;
  for (int j0 = 0; j0 < rights; j0 += kPanelsAtOnce) {
    for (int i = 0; i < lefts; i++) {
      for (int j = j0; j < at_most(rights, j0 + kPanelsAtOnce); j++) {
        float* c = dw + i * down + j * across;
        block<T>(left + i * words, right + j * words, Strides{}, row_blocks * kTilesPerBlock<T>, c,
                 add, c + across);
      }
    }
  }
}

}  // namespace tgo::engine::TGO_ISA

#endif
