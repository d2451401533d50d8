// What the engine computes with: the shape of the model, where each weight lies in the flat buffers
// of the registry, and the rearranged copies that products read.
//
// Letters: R rows (tokens, sequences padded to 32 each), D width, H heads, G key/value heads, E
// head size, F feed-forward width, V vocabulary; each padded to a multiple of 32 where it is a
// column.
//
// Order of columns. A head's E values are kept in pairs that rotary embedding turns together: each
// 32 columns hold 16 of the first half and the 16 that belong to them of the second half. Gate and
// up are interleaved by 16 rows in the same way, so that both factors of SwiGLU arrive in one row
// of a block.
#ifndef TGO_ENGINE_NETWORK_HH
#define TGO_ENGINE_NETWORK_HH

#include "types.hh"

namespace tgo::engine {

// The model as its config describes it.
struct Shape {
  bool reordered_norm =
      false;  // OLMo-2: norms on the results of sub-layers, and on queries and keys
  bool tied = false;
  int layers = 0, width = 0, heads = 0, kv_heads = 0, ffn = 0, vocab = 0, context = 0;
  float eps = 0;
  double theta = 0;

  [[gnu::always_inline]] int head_size() const { return width / heads; }
  // Columns, padded.
  [[gnu::always_inline]] int d() const { return padded(width); }
  [[gnu::always_inline]] int e() const {
    return 2 * ((head_size() / 2 + 15) / 16 * 16);
  }  // both halves of a head
  [[gnu::always_inline]] int q() const { return heads * e(); }
  [[gnu::always_inline]] int k() const { return kv_heads * e(); }
  [[gnu::always_inline]] int qkv() const { return q() + 2 * k(); }
  [[gnu::always_inline]] int f() const { return padded(ffn); }
  [[gnu::always_inline]] int v() const { return padded(vocab); }
};

// 16 columns of ours are `count` columns of a parameter from `column` on; the others are padding.
struct Chunk {
  int column;
  int count;
};

// A row of ours is a row of a parameter that starts at `offset` in the flat buffers (−1: padding)
// and belongs to parameter `param`.
struct Row {
  std::int64_t offset;
  int param;
};

// A weight [N × K], padded, as right sides of products, and where its values lie.
struct Matrix {
  int rows = 0, columns = 0;
  Word* forward = nullptr;       // panels over N, k = column: X · Wᵀ
  Word* backward = nullptr;      // panels over K, k = row: dY · W
  std::size_t gradient = 0;      // in a thread's gradients, blocks of 32 × 32
  bool turned = false;           // each of them transposed until they are summed (pack.hh)
  const Row* row = nullptr;      // [rows]
  const Chunk* chunk = nullptr;  // [columns / 16]
};

// The gain of a norm, in our order of columns.
struct Gain {
  int columns = 0;
  int width = 0;  // values that are not padding
  float* value = nullptr;
  std::size_t gradient = 0;  // in a thread's gradients
  Row row{-1, 0};
  const Chunk* chunk = nullptr;
};

struct Layer {
  Matrix qkv, out, gate_up, down;
  // On the inputs of attention and feed-forward, or with reordered_norm on their results.
  Gain attention_norm, ffn_norm;
  Gain q_norm, k_norm;  // with reordered_norm
};

struct Network {
  Shape shape;
  Layer* layer = nullptr;
  Gain norm;
  Matrix head;
  Row table{-1, 0};            // the embedding's first value
  std::size_t first_gain = 0;  // in a thread's gradients: matrices come first, then all gains
  std::size_t gain_values = 0;
  const float* cosine = nullptr;  // [context × E/2]
  const float* sine = nullptr;
};

// Parts of a step, for the table of where its time goes.
enum class Part {
  kEmbedding,
  kNorm,
  kQKV,
  kAttention,
  kOut,
  kGateUp,
  kDown,
  kHead,
  kDraw,
  kCrossEntropy,
  kHeadBack,
  kDownBack,
  kGateUpBack,
  kOutBack,
  kAttentionBack,
  kQKVBack,
  kNormBack,
  kPack,
  kWeightGradient,
  kEmbeddingBack,
  kSum,
  kAdamW,
  kWait,
  kCount,
};

}  // namespace tgo::engine

#endif
