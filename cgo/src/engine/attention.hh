// Causal attention of one sequence, head by head, 32 queries × 32 keys at a time. Blocks above the
// diagonal are never touched.
//
//   forward    S = Q·Kᵀ/√E,  P = softmax(S),  O = P·V;  L = log Σ exp(S) of each query is kept
//   backward   P = exp(S − L) again;  dV = Pᵀ·dO;  dS = P∘(dO·Vᵀ − D), D = Σ dO∘O;
//              dK = dSᵀ·Q/√E,  dQ = dS·K/√E
//
// Exponentials and L are to the base 2.
//
// The backward pass computes Sᵀ and dPᵀ, keys by queries, so that Pᵀ and dSᵀ come out as left sides
// of the products that follow. Letters: T rows of the sequence (a multiple of 32), E head size
// (padded).
#ifndef TGO_ENGINE_ATTENTION_HH
#define TGO_ENGINE_ATTENTION_HH

#include "rotary.hh"

namespace tgo::engine::TGO_ISA {

// Distances in words, padded so that blocks of one row or column do not share cache sets.
constexpr int kScoreWords = kSquare + 16;
constexpr int kWeightWords = kTileWords + 16;

// E columns from `first` on of a tiled matrix, rows from a multiple of 32 on.
template <class T>
struct HeadColumns {
  T* x;
  int columns, first;

  TGO_INLINE T* at(int row, int n) const { return x + tiled<T>(row, first + n, columns); }
  TGO_INLINE Word* words(int row) const { return reinterpret_cast<Word*>(at(row, 0)); }
  TGO_INLINE std::size_t stride() const { return row_words<T>(columns); }
  // 32 rows × 32 columns.
  TGO_INLINE TiledBlock<T> block(int row, int n) const { return {x, row, first + n, columns}; }
};

// What one sequence needs besides its inputs. All sizes in words.
struct AttentionScratch {
  Word *keys, *values, *queries, *queries_by_row, *results, *results_by_row;  // E × T each
  float *scores, *query_gradient;        // T/32 and E/32 · T/32 blocks of kScoreWords
  float *key_gradient, *value_gradient;  // E × T
  Word *weights, *score_gradient;        // T/16 tiles of kWeightWords
  Word* score_panel;                     // 32 × T
  float* dots;                           // T

  // Calls take(words) for each that the passes asked for need.
  template <class Take>
  static AttentionScratch plan(int time, int e, bool backward, const Take& take) {
    const std::size_t all = static_cast<std::size_t>(time) * e, blocks = time / kBlock;
    auto words = [&](std::size_t n) { return static_cast<Word*>(take(n)); };
    auto floats = [&](std::size_t n) { return static_cast<float*>(take(n)); };
    AttentionScratch s{};
    s.keys = words(all);
    s.values = words(all);
    s.scores = floats(blocks * kScoreWords);
    s.weights = words(2 * blocks * kWeightWords);
    if (backward) {
      s.queries = words(all);
      s.queries_by_row = words(all);
      s.results = words(all);
      s.results_by_row = words(all);
      s.query_gradient = floats(blocks * (e / kBlock) * kScoreWords);
      s.key_gradient = floats(all);
      s.value_gradient = floats(all);
      s.score_gradient = words(2 * blocks * kWeightWords);
      s.score_panel = words(static_cast<std::size_t>(time) * kBlock);
      s.dots = floats(time);
    }
    return s;
  }
};

// Row r of a block of weights in `tile`, the first tile of that block.
template <class T>
TGO_INLINE void put_weights(Word* tile, int r, Vec a, Vec b) {
  T* p = reinterpret_cast<T*>(tile + r * 16);
  if constexpr (sizeof(T) == 2) {
    store2(p, a, b);
  } else {
    store(p, a);
    store(p + kWeightWords, b);
  }
}

// Turns the scores of 32 queries against blocks 0 … last of keys, of which the last is on the
// diagonal, into weights that are not yet divided by their sum; gives 1 / sum and L.
template <class T>
void softmax_rows(float* scores, int last, float scale, Word* weights, float* inverse,
                  float* log_sum) {
  alignas(64) float top[kBlock];
  for (int first = 0; first < kBlock; first += kLanes) {
    Vec of_row[kLanes];
    for (int i = 0; i < kLanes; i++) {
      const int r = first + i;
      float* p = scores + static_cast<std::size_t>(last) * kScoreWords + r * kBlock;
      Vec a = keep_first(load(p), at_most(16, r + 1), -1e30F);
      Vec b = keep_first(load(p + 16), at_least(0, r - 15), -1e30F);
      store(p, a);
      store(p + 16, b);
      for (int j = 0; j < last; j++) {
        p = scores + static_cast<std::size_t>(j) * kScoreWords + r * kBlock;
        a = max(load(p), a);
        b = max(load(p + 16), b);
      }
      of_row[i] = max(a, b);
    }
    store(top + first, largests(of_row) * set1(scale));
    for (int i = 0; i < kLanes; i++) {
      const int r = first + i;
      const Vec k = set1(scale), shift = set1(-top[r]);
      Vec s0 = set1(0), s1 = set1(0);
      for (int j = 0; j <= last; j++) {
        const float* p = scores + static_cast<std::size_t>(j) * kScoreWords + r * kBlock;
        const Vec a = exp2<T>(fma(load(p), k, shift)), b = exp2<T>(fma(load(p + 16), k, shift));
        s0 = s0 + a;
        s1 = s1 + b;
        put_weights<T>(weights + static_cast<std::size_t>(j) * kTilesPerBlock<T> * kWeightWords, r,
                       a, b);
      }
      of_row[i] = s0 + s1;
    }
    const Vec total = sums(of_row);
    store(inverse + first, set1(1) / total);
    store(log_sum + first, load(top + first) + log2(total));
  }
}

// One query head. keys and values hold the panels of its key/value head.
template <class T>
void attend(const HeadColumns<T>& q, const HeadColumns<T>& o, int row, int time, int e, float scale,
            const AttentionScratch& z, float* log_sum) {
  alignas(64) float inverse[kBlock];
  const int blocks = time / kBlock, tiles = e / kTileColumns<T>;
  const std::size_t panel = static_cast<std::size_t>(tiles) * kTileWords;
  for (int i = 0; i < blocks; i++) {
    const int at = row + i * kBlock;
    for (int j = 0; j <= i; j++) {
      block<T>(q.words(at), z.keys + j * panel, Strides{}, tiles,
               z.scores + static_cast<std::size_t>(j) * kScoreWords, false);
    }
    softmax_rows<T>(z.scores, i, scale, z.weights, inverse, log_sum + i * kBlock);
    for (int c = 0; c < e / kBlock; c++) {
      alignas(64) float sums[kSquare];
      block<T>(z.weights, z.values + static_cast<std::size_t>(c) * blocks * block_words<T>(),
               Strides{kWeightWords, kTileWords}, (i + 1) * kTilesPerBlock<T>, sums, false);
      const TiledBlock<T> out = o.block(at, c * kBlock);
      for (int r = 0; r < kBlock; r++) {
        const Vec k = set1(inverse[r]);
        out.put(r, load(sums + r * kBlock) * k, load(sums + r * kBlock + 16) * k);
      }
    }
  }
}

// Where one sequence's heads lie: query head h at column h·E of q and o, key/value head g at g·E of
// k and v.
template <class T>
struct Sequence {
  HeadColumns<T> q, k, v, o;
  int row, time, e, heads, kv_heads;
  float scale;     // 1/√(head size)
  float* log_sum;  // L [heads × time]

  TGO_INLINE HeadColumns<T> head(const HeadColumns<T>& x, int h) const {
    return {x.x, x.columns, x.first + h * e};
  }
};

template <class T>
void attention_forward(const Sequence<T>& s, const AttentionScratch& z) {
  const int blocks = s.time / kBlock, group = s.heads / s.kv_heads;
  for (int g = 0; g < s.kv_heads; g++) {
    const auto k = s.head(s.k, g), v = s.head(s.v, g);
    panel_of_columns<T>(k.words(s.row), k.stride(), blocks, s.e, z.keys);
    panel_of_rows<T>(v.words(s.row), v.stride(), blocks, s.e, z.values);
    for (int h = g * group; h < (g + 1) * group; h++) {
      const std::size_t at = static_cast<std::size_t>(h) * s.time;
      attend(s.head(s.q, h), s.head(s.o, h), s.row, s.time, s.e, s.scale * kLog2E, z,
             s.log_sum + at);
    }
  }
}

// D of every query: Σ dO∘O over the head's columns.
template <class T>
void gradient_dots(const HeadColumns<T>& d_o, const HeadColumns<T>& o, int row, int time, int e,
                   float* dots) {
  for (int t = 0; t < time; t += kLanes) {
    Vec of_row[kLanes];
    for (int r = 0; r < kLanes; r++) {
      of_row[r] = set1(0);
      for (int n = 0; n < e; n += kBlock) {
        of_row[r] = dot32(of_row[r], d_o.at(row + t + r, n), o.at(row + t + r, n));
      }
    }
    store(dots + t, sums(of_row));
  }
}

// Pᵀ and dSᵀ of block j of keys against block i of queries, from Sᵀ and dPᵀ.
template <class T>
void weights_backward(const float* scores, const float* d_weights, int i, int j, float scale,
                      const float* log_sum, const AttentionScratch& z) {
  const Vec k = set1(scale * kLog2E);
  const Vec l0 = load(log_sum + i * kBlock), l1 = load(log_sum + i * kBlock + 16);
  const Vec d0 = load(z.dots + i * kBlock), d1 = load(z.dots + i * kBlock + 16);
  const std::size_t tile = static_cast<std::size_t>(i) * kTilesPerBlock<T> * kWeightWords;
  for (int r = 0; r < kBlock; r++) {
    Vec a = exp2<T>(load(scores + r * kBlock) * k - l0);
    Vec b = exp2<T>(load(scores + r * kBlock + 16) * k - l1);
    if (i == j) {  // queries before the key do not see it
      a = drop_first(a, at_most(16, r));
      b = drop_first(b, at_least(0, r - 16));
    }
    put_weights<T>(z.weights + tile, r, a, b);
    a = a * (load(d_weights + r * kBlock) - d0);
    b = b * (load(d_weights + r * kBlock + 16) - d1);
    put_weights<T>(z.score_gradient + tile, r, a, b);
  }
  block_panel_of_rows<T>(z.score_gradient + tile, z.score_panel + i * block_words<T>(),
                         kWeightWords);
}

// One query head against its key/value head. dK and dV are added to unless this head is the group's
// first; dQ, transposed in z.query_gradient, is set.
template <class T>
void attend_backward(const Sequence<T>& s, const HeadColumns<T>& k, const HeadColumns<T>& v,
                     const Word* keys_transposed, const float* log_sum, bool add,
                     const AttentionScratch& z) {
  const int blocks = s.time / kBlock, tiles = s.e / kTileColumns<T>, parts = s.e / kBlock;
  const std::size_t panel = static_cast<std::size_t>(tiles) * kTileWords, bw = block_words<T>();
  alignas(64) float scores[kSquare], d_weights[kSquare];
  for (int j = 0; j < blocks; j++) {
    const Word *key = k.words(s.row + j * kBlock), *value = v.words(s.row + j * kBlock);
    for (int i = j; i < blocks; i++) {
      block<T>(key, z.queries + i * panel, Strides{}, tiles, scores, false);
      block<T>(value, z.results + i * panel, Strides{}, tiles, d_weights, false);
      weights_backward<T>(scores, d_weights, i, j, s.scale, log_sum, z);
    }
    const std::size_t first = static_cast<std::size_t>(j) * kTilesPerBlock<T> * kWeightWords;
    const Strides spread{kWeightWords, kTileWords};
    const int rest = (blocks - j) * kTilesPerBlock<T>;
    for (int c = 0; c < parts; c++) {
      const std::size_t by_row = (static_cast<std::size_t>(c) * blocks + j) * bw;
      const std::size_t sums = (static_cast<std::size_t>(j) * parts + c) * kSquare;
      block<T>(z.weights + first, z.results_by_row + by_row, spread, rest, z.value_gradient + sums,
               add);
      block<T>(z.score_gradient + first, z.queries_by_row + by_row, spread, rest,
               z.key_gradient + sums, add);
      for (int i = j; i < blocks; i++) {
        block<T>(keys_transposed + by_row, z.score_panel + i * bw, Strides{}, kTilesPerBlock<T>,
                 z.query_gradient + (static_cast<std::size_t>(c) * blocks + i) * kScoreWords,
                 j > 0);
      }
    }
  }
}

// Writes dQ over Q, turned back. Here and for dK the factor 1/√E comes in.
template <class T>
void put_query_gradient(const HeadColumns<T>& q, const Sequence<T>& s, const Rotary& rotary,
                        const float* gradient) {
  const int blocks = s.time / kBlock;
  alignas(64) float rows[kSquare];
  for (int c = 0; c < s.e / kBlock; c++) {
    for (int i = 0; i < blocks; i++) {
      const auto* from = reinterpret_cast<const Word*>(
          gradient + (static_cast<std::size_t>(c) * blocks + i) * kScoreWords);
      auto* to = reinterpret_cast<Word*>(rows);
      for (int corner = 0; corner < 4; corner++) {
        const int m = corner / 2 * 16, n = corner % 2 * 16;
        transpose_words(from + m * kBlock + n, kBlock, to + n * kBlock + m, kBlock);
      }
      const TiledBlock<T> out = q.block(s.row + i * kBlock, c * kBlock);
      for (int r = 0; r < kBlock; r++) {
        Vec a = load(rows + r * kBlock), b = load(rows + r * kBlock + 16);
        rotary.backward(i * kBlock + r, c * kBlock, s.scale, &a, &b);
        out.put(r, a, b);
      }
    }
  }
}

// Writes dK, turned back, over K and dV over V.
template <class T>
void put_key_value_gradients(const HeadColumns<T>& k, const HeadColumns<T>& v, const Sequence<T>& s,
                             const Rotary& rotary, const AttentionScratch& z) {
  for (int i = 0; i < s.time / kBlock; i++) {
    for (int c = 0; c < s.e / kBlock; c++) {
      const TiledBlock<T> keys = k.block(s.row + i * kBlock, c * kBlock);
      const TiledBlock<T> values = v.block(s.row + i * kBlock, c * kBlock);
      const std::size_t at = (static_cast<std::size_t>(i) * (s.e / kBlock) + c) * kSquare;
      for (int r = 0; r < kBlock; r++) {
        const float *dk = z.key_gradient + at + r * kBlock,
                    *dv = z.value_gradient + at + r * kBlock;
        Vec a = load(dk), b = load(dk + 16);
        rotary.backward(i * kBlock + r, c * kBlock, s.scale, &a, &b);
        keys.put(r, a, b);
        values.put(r, load(dv), load(dv + 16));
      }
    }
  }
}

// Overwrites q, k and v with their gradients; d_o is the gradient of o.
template <class T>
void attention_backward(const Sequence<T>& s, const HeadColumns<T>& d_o, const Rotary& rotary,
                        const AttentionScratch& z) {
  const int blocks = s.time / kBlock, group = s.heads / s.kv_heads;
  for (int g = 0; g < s.kv_heads; g++) {
    const auto k = s.head(s.k, g), v = s.head(s.v, g);
    tiles_transposed<T>(k.words(s.row), k.stride(), blocks, s.e, z.keys);
    for (int h = g * group; h < (g + 1) * group; h++) {
      const auto q = s.head(s.q, h), o = s.head(s.o, h), d = s.head(d_o, h);
      panel_of_columns<T>(q.words(s.row), q.stride(), blocks, s.e, z.queries);
      panel_of_rows<T>(q.words(s.row), q.stride(), blocks, s.e, z.queries_by_row);
      panel_of_columns<T>(d.words(s.row), d.stride(), blocks, s.e, z.results);
      panel_of_rows<T>(d.words(s.row), d.stride(), blocks, s.e, z.results_by_row);
      gradient_dots(d, o, s.row, s.time, s.e, z.dots);
      const std::size_t at = static_cast<std::size_t>(h) * s.time;
      attend_backward(s, k, v, z.keys, s.log_sum + at, h > g * group, z);
      put_query_gradient(q, s, rotary, z.query_gradient);
    }
    put_key_value_gradients(k, v, s, rotary, z);
  }
}

}  // namespace tgo::engine::TGO_ISA

#endif
