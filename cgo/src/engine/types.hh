// Plain types that the engine and its kernels share.
//
// Matrices of activations are *tiled*: rows and columns are cut into tiles of 32 rows × 64 bytes,
// and each tile lies in memory as a whole, row after row. 64 bytes are 32 columns in bfloat16 and
// 16 in float32; either way a row of a tile is 16 words of 32 bits, which is what products work on:
//
//          ◄─ 16 words ─►
//        ┌──────────────┐┬──────────────┐┬ ─ ─
//     32 │ tile 0, 2 KiB ││ tile 1       ││        tiles of one row of tiles follow each other,
//   rows │              ││              ││        then comes the next row of tiles
//        └──────────────┘┴──────────────┘┴ ─ ─
//
// The right side of a product is a *panel*: 32 columns, word row after word row. A word row holds
// one (float32) or two (bfloat16) neighbours along the summed dimension for each of the 32 columns:
//
//        ◄──── 32 columns ────►
//        ┌────────────────────┐
//     K' │ word row 0         │      K' = K (float32) or K/2 (bfloat16: lower half is the even k)
//        │ word row 1         │
//
// Every dimension is padded to a multiple of 32 with zeros.
#ifndef TGO_ENGINE_TYPES_HH
#define TGO_ENGINE_TYPES_HH

#include <cstddef>
#include <cstdint>

namespace tgo::engine {

// The upper half of a float32.
struct bf16 {
  std::uint16_t bits;
};

using Word = std::uint32_t;

constexpr int kBlock = 32;                // rows of a tile, columns of a panel
constexpr int kTileWords = kBlock * 16;   // words of a tile
constexpr int kSquare = kBlock * kBlock;  // values of a 32 × 32 block

[[gnu::always_inline]] constexpr int padded(int n) { return (n + kBlock - 1) / kBlock * kBlock; }

// Columns of a tile.
template <class T>
constexpr int kTileColumns = 64 / static_cast<int>(sizeof(T));

}  // namespace tgo::engine

#endif
