// Products of tiles with panels: C[32 × 32] (+)= A[32 × K] · B[K × 32], sums in float32. A is tiled
// (types.hh), B a panel, C a block of 32 rows of 32 floats. The instruction set decides how: AMX
// tiles, bfloat16 dot products, or fused multiply-adds on widened values.
#ifndef TGO_ENGINE_TILE_HH
#define TGO_ENGINE_TILE_HH

#include "vec.hh"

namespace tgo::engine::TGO_ISA {

// How the tiles of A and the panel rows of B follow each other along K, in words: mostly one behind
// the other, but attention spreads them so that no two fall on the same cache set.
struct Strides {
  std::size_t a = kTileWords;
  std::size_t b = kTileWords;
};

// Asks for a line that is about to be written, and for those of `values` floats.
TGO_INLINE void expect_write(const void* p) { __builtin_prefetch(p, 1, 3); }
TGO_INLINE void expect_block(const float* c, int values) {
  for (int i = 0; i < values; i += kLanes) {
    expect_write(c + i);
  }
}

#if defined(__AVX512F__)

// acc + the products of word `a`, for each column, with the words of b.
template <class T>
TGO_INLINE Vec dot(Vec acc, Word a, __m512i b) {
  __m512i wide = _mm512_set1_epi32(static_cast<int>(a));
  if constexpr (sizeof(T) == 4) {
    return _mm512_fmadd_ps(_mm512_castsi512_ps(wide), _mm512_castsi512_ps(b), acc);
  } else {
#if defined(__AVX512BF16__)
    return _mm512_dpbf16_ps(acc, (__m512bh)wide, (__m512bh)b);
#else
    const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000U));
    acc = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16)),
                          _mm512_castsi512_ps(_mm512_slli_epi32(b, 16)), acc);
    return _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_and_si512(wide, upper)),
                           _mm512_castsi512_ps(_mm512_and_si512(b, upper)), acc);
#endif
  }
}

// Rows r … r + R − 1 of the block, all 32 columns: 2 R accumulators stay in registers.
template <class T, int R>
TGO_INLINE void block_rows(const Word* a, const Word* b, Strides s, int tiles, float* c, bool add) {
  Vec acc[R][2];
  for (int r = 0; r < R; r++) {
    acc[r][0] = add ? load(c + r * kBlock) : set1(0);
    acc[r][1] = add ? load(c + r * kBlock + 16) : set1(0);
  }
  for (int t = 0; t < tiles; t++, a += s.a, b += s.b) {
    for (int k = 0; k < 16; k++) {
      __m512i b0 = _mm512_loadu_si512(b + k * kBlock), b1 = _mm512_loadu_si512(b + k * kBlock + 16);
#pragma GCC unroll 8
      for (int r = 0; r < R; r++) {
        acc[r][0] = dot<T>(acc[r][0], a[r * 16 + k], b0);
        acc[r][1] = dot<T>(acc[r][1], a[r * 16 + k], b1);
      }
    }
  }
  for (int r = 0; r < R; r++) {
    store(c + r * kBlock, acc[r][0]);
    store(c + r * kBlock + 16, acc[r][1]);
  }
}

template <class T>
TGO_INLINE void block_plain(const Word* a, const Word* b, Strides s, int tiles, float* c, bool add,
                            const float* next = nullptr) {
  if (next != nullptr) {
    expect_block(next, kSquare);
  }
  for (int r = 0; r < kBlock; r += 8) {
    block_rows<T, 8>(a + r * 16, b, s, tiles, c + r * kBlock, add);
  }
}

#else  // AVX2

template <class T>
TGO_INLINE __m256 dot(__m256 acc, Word a, __m256i b) {
  __m256i wide = _mm256_set1_epi32(static_cast<int>(a));
  if constexpr (sizeof(T) == 4) {
    return _mm256_fmadd_ps(_mm256_castsi256_ps(wide), _mm256_castsi256_ps(b), acc);
  } else {
    const __m256i upper = _mm256_set1_epi32(static_cast<int>(0xffff0000U));
    acc = _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_slli_epi32(wide, 16)),
                          _mm256_castsi256_ps(_mm256_slli_epi32(b, 16)), acc);
    return _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_and_si256(wide, upper)),
                           _mm256_castsi256_ps(_mm256_and_si256(b, upper)), acc);
  }
}

// Four rows, 16 columns: eight accumulators.
template <class T>
TGO_INLINE void block_corner(const Word* a, const Word* b, Strides s, int tiles, float* c,
                             bool add) {
  __m256 acc[4][2];
  for (int r = 0; r < 4; r++) {
    acc[r][0] = add ? _mm256_loadu_ps(c + r * kBlock) : _mm256_setzero_ps();
    acc[r][1] = add ? _mm256_loadu_ps(c + r * kBlock + 8) : _mm256_setzero_ps();
  }
  for (int t = 0; t < tiles; t++, a += s.a, b += s.b) {
    for (int k = 0; k < 16; k++) {
      const auto* row = reinterpret_cast<const __m256i*>(b + k * kBlock);
      __m256i b0 = _mm256_loadu_si256(row), b1 = _mm256_loadu_si256(row + 1);
      for (int r = 0; r < 4; r++) {
        acc[r][0] = dot<T>(acc[r][0], a[r * 16 + k], b0);
        acc[r][1] = dot<T>(acc[r][1], a[r * 16 + k], b1);
      }
    }
  }
  for (int r = 0; r < 4; r++) {
    _mm256_storeu_ps(c + r * kBlock, acc[r][0]);
    _mm256_storeu_ps(c + r * kBlock + 8, acc[r][1]);
  }
}

template <class T>
TGO_INLINE void block_plain(const Word* a, const Word* b, Strides s, int tiles, float* c, bool add,
                            const float* next = nullptr) {
  if (next != nullptr) {
    expect_block(next, kSquare);
  }
  for (int r = 0; r < kBlock; r += 4) {
    block_corner<T>(a + r * 16, b, s, tiles, c + r * kBlock, add);
    block_corner<T>(a + r * 16, b + 16, s, tiles, c + r * kBlock + 16, add);
  }
}

#endif

#if defined(__AMX_BF16__)

// gcc's tile loads do not say which memory they read: what was written before must not be delayed
// past them.
TGO_INLINE void compiler_barrier() { asm volatile("" ::: "memory"); }

// Four tile registers hold the block of C; 4, 5 take 16 rows of A each and 6, 7 half a panel each.
TGO_INLINE void amx_zero() {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
}
TGO_INLINE void amx_load(const float* c) {
  _tile_loadd(0, c, kBlock * 4);
  _tile_loadd(1, c + 16, kBlock * 4);
  _tile_loadd(2, c + 16 * kBlock, kBlock * 4);
  _tile_loadd(3, c + 16 * kBlock + 16, kBlock * 4);
}
TGO_INLINE void amx_store(float* c) {
  _tile_stored(0, c, kBlock * 4);
  _tile_stored(1, c + 16, kBlock * 4);
  _tile_stored(2, c + 16 * kBlock, kBlock * 4);
  _tile_stored(3, c + 16 * kBlock + 16, kBlock * 4);
}
TGO_INLINE void amx_step(const Word* a, const Word* b) {
  _tile_loadd(4, a, 64);
  _tile_loadd(6, b, kBlock * 4);
  _tile_loadd(7, b + 16, kBlock * 4);
  _tile_dpbf16ps(0, 4, 6);
  _tile_dpbf16ps(1, 4, 7);
  _tile_loadd(5, a + 16 * 16, 64);
  _tile_dpbf16ps(2, 5, 6);
  _tile_dpbf16ps(3, 5, 7);
}

// Every thread describes its tile registers before the first product: 16 rows of 64 bytes each.
// Whatever else uses AMX leaves another description behind.
TGO_INLINE void prepare_thread() {
  struct alignas(64) {
    std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
    std::uint16_t row_bytes[16] = {};
    std::uint8_t rows[16] = {};
  } c;
  for (int i = 0; i < 8; i++) {
    c.row_bytes[i] = 64;
    c.rows[i] = 16;
  }
  compiler_barrier();
  _tile_loadconfig(&c);
}
TGO_INLINE void release_thread() { _tile_release(); }

// C[32 × 32] (+)= A · B over `tiles` tiles. A block of C at `next` that will soon be added to is
// asked for meanwhile, a few lines with each tile.
template <class T>
TGO_INLINE void block(const Word* a, const Word* b, Strides s, int tiles, float* c, bool add,
                      const float* next = nullptr) {
  if constexpr (sizeof(T) == 4) {
    block_plain<T>(a, b, s, tiles, c, add, next);
  } else {
    compiler_barrier();
    if (add) {
      amx_load(c);
    } else {
      amx_zero();
    }
    const int share = kSquare / tiles;
    for (int t = 0; t < tiles; t++) {
      amx_step(a + t * s.a, b + t * s.b);
      if (next != nullptr) {
        expect_block(next + t * share, share);
      }
    }
    amx_store(c);
  }
}

#else

TGO_INLINE void prepare_thread() {}
TGO_INLINE void release_thread() {}

template <class T>
TGO_INLINE void block(const Word* a, const Word* b, Strides s, int tiles, float* c, bool add,
                      const float* next = nullptr) {
  block_plain<T>(a, b, s, tiles, c, add, next);
}

#endif

// Rows of tiles that go through all panels before the next ones do: their A stays in the L2 cache.
constexpr int kRowTilesAtOnce = 4;

// product over more tiles than stay in the L2 cache until the next panel comes: part by part, while
// the sums of some panels wait in memory.
constexpr int kPartTiles = 64, kDeepTiles = 128;
template <class T, class At>
void product_deep(int row_tiles, int panels, int tiles, const Word* a, const Word* b,
                  const At& at) {
  constexpr int kPanelsAtOnce = 8;
  alignas(64) float c[kPanelsAtOnce][kRowTilesAtOnce][kSquare];
  const std::size_t row = static_cast<std::size_t>(tiles) * kTileWords;
  for (int m0 = 0; m0 < row_tiles; m0 += kRowTilesAtOnce) {
    const int rows = at_most(kRowTilesAtOnce, row_tiles - m0);
    for (int p0 = 0; p0 < panels; p0 += kPanelsAtOnce) {
      const int columns = at_most(kPanelsAtOnce, panels - p0);
      for (int t = 0; t < tiles; t += kPartTiles) {
        const std::size_t from = static_cast<std::size_t>(t) * kTileWords;
        for (int p = 0; p < columns; p++) {
          for (int m = 0; m < rows; m++) {
            block<T>(a + (m0 + m) * row + from, b + (p0 + p) * row + from, Strides{},
                     at_most(kPartTiles, tiles - t), c[p][m], t > 0);
          }
        }
      }
      for (int p = 0; p < columns; p++) {
        for (int m = 0; m < rows; m++) {
          const auto done = at(m0 + m, p0 + p);
          for (int r = 0; r < kBlock; r++) {
            done.put(r, c[p][m] + r * kBlock);
          }
        }
      }
    }
  }
}

// C[m, n] for all rows and panels: A is `row_tiles` · 32 × K tiled, B has `panels` panels of K.
// at(m, p) gives what is to happen with the block of rows m·32 … and columns p·32 …: an object
// whose put(i, c) receives the 32 sums of row i, and whose soon(i) is called earlier, to ask for
// the memory that put will touch. Rows of a finished block are handed over while the tile unit
// computes the next.
template <class T, class At>
void product(int row_tiles, int panels, int tiles, const Word* a, const Word* b, const At& at) {
  if (tiles > kDeepTiles) {
    product_deep<T>(row_tiles, panels, tiles, a, b, at);
    return;
  }
  alignas(64) float c[2][kSquare];
  const std::size_t a_row = static_cast<std::size_t>(tiles) * kTileWords;
  [[maybe_unused]] int last_m = -1, last_p = 0, current = 0;
  [[maybe_unused]] const int share = (kBlock + tiles - 1) / tiles;
  for (int m0 = 0; m0 < row_tiles; m0 += kRowTilesAtOnce) {
    for (int p = 0; p < panels; p++) {
      const Word* bp = b + p * a_row;  // a panel has as many words as a row of tiles
      for (int m = m0; m < at_most(row_tiles, m0 + kRowTilesAtOnce); m++) {
        const Word* am = a + m * a_row;
        const auto coming = at(m, p);
#if defined(__AMX_BF16__)
        if constexpr (sizeof(T) == 2) {
          const auto done = at(at_least(last_m, 0), last_p);
          compiler_barrier();
          amx_zero();
          int r = 0;
          for (int t = 0; t < tiles; t++) {
            amx_step(am + t * kTileWords, bp + t * kTileWords);
            for (const int end = at_most(kBlock, r + share); r < end; r++) {
              if (last_m >= 0) {
                done.put(r, c[current ^ 1] + r * kBlock);
              }
              coming.soon(r);
            }
          }
          amx_store(c[current]);
          last_m = m;
          last_p = p;
          current ^= 1;
          continue;
        }
#endif
        for (int r = 0; r < kBlock; r++) {
          coming.soon(r);
        }
        block_plain<T>(am, bp, Strides{}, tiles, c[0], false);
        for (int r = 0; r < kBlock; r++) {
          coming.put(r, c[0] + r * kBlock);
        }
      }
    }
  }
  if (last_m >= 0) {
    const auto done = at(last_m, last_p);
    for (int r = 0; r < kBlock; r++) {
      done.put(r, c[current ^ 1] + r * kBlock);
    }
  }
}

}  // namespace tgo::engine::TGO_ISA

#endif
