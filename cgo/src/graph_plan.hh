// The sizes of everything that the GPU step holds: what --dry-run prints is computed by the same
// lines that lay the buffers out.
//
// Letters: N rows of a micro-batch, D width, H heads, G key/value heads, E head size, F
// feed-forward width, V vocabulary, S = (H + 2G)·E, L layers.
#pragma once

#include <c10/util/Exception.h>

#include <algorithm>
#include <cstdint>

#include "../tgo.h"
#include "cuda/sizes.hh"

namespace tgo {

struct GraphSizes {
  int64_t rows, width, heads, kv_heads, size, ffn, vocab, layers, time;
  bool olmo2, keep;
  int streams;

  explicit GraphSizes(const tgo_graph_options& o)
      : width(o.width),
        heads(o.heads),
        kv_heads(o.kv_heads),
        ffn(o.ffn),
        vocab(o.vocab),
        layers(o.layers),
        time(o.context),
        olmo2(o.family == TGO_OLMO2),
        keep(o.keep != 0),
        streams(o.streams) {
    for (const int32_t n : {o.layers, o.width, o.heads, o.kv_heads, o.ffn, o.vocab, o.context,
                            o.sequences, o.micro_sequences}) {
      TORCH_CHECK(n >= 1, "a size of the graph is ", n, ", at least 1 is needed");
    }
    TORCH_CHECK(o.width % o.heads == 0 && o.width / o.heads % 2 == 0 && o.heads % o.kv_heads == 0,
                "width ", o.width, " over ", o.heads, " heads and ", o.kv_heads,
                " key/value heads gives no even head size");
    TORCH_CHECK(o.family == TGO_LLAMA2 || o.family == TGO_OLMO2, "family ", o.family,
                " is unknown");
    TORCH_CHECK(o.micro_sequences <= o.sequences, "a micro-batch of ", o.micro_sequences,
                " sequences in a batch of ", o.sequences);
    size = width / heads;
    rows = int64_t{o.micro_sequences} * time;
    if (streams == 0) {
      streams = rows * width <= kLargeProduct ? 2 : 1;
    }
  }

  // Above this many activations a product fills the device by itself.
  static constexpr int64_t kLargeProduct = int64_t{16} << 20;

  int64_t q_width() const { return heads * size; }
  int64_t qk_width() const { return (heads + kv_heads) * size; }
  int64_t qkv_width() const { return (heads + 2 * kv_heads) * size; }

  // Rows of logits made at once: about a GiB of them.
  int64_t chunk() const {
    int64_t rows_of_chunk = 128;
    while (rows_of_chunk < rows && 2 * rows_of_chunk * vocab * 2 <= int64_t{1} << 30) {
      rows_of_chunk *= 2;
    }
    return std::min(rows_of_chunk, rows);
  }
};

// Bytes of tensors that exist once a layer, attention's own included.
inline int64_t layer_bytes(const GraphSizes& s) {
  const int64_t attention = s.rows * (2 * s.q_width() + 4 * s.heads);  // result, log-sum-exp
  const int64_t common = s.rows * 2 * (s.qkv_width() + 2 * s.ffn);
  const int64_t scales = s.rows * 4 * (s.olmo2 ? 4 : 2);
  const int64_t stream =
      s.olmo2 ? s.rows * 2 * (4 * s.width + s.qk_width())  // inputs, results, q and k
              : s.rows * 4 * 2 * s.width;                  // the residual stream
  const int64_t kept = s.keep ? s.rows * 2 * (s.ffn + (s.olmo2 ? 0 : 2 * s.width)) : 0;
  return attention + common + scales + stream + kept;
}

// Bytes of the norms' sums for their gains.
inline int64_t gain_bytes(const GraphSizes& s) {
  const int64_t layer = 2 * s.width + (s.olmo2 ? s.qk_width() : 0);
  return int64_t{4} * cuda::kGainParts * (s.layers * layer + s.width);
}

inline tgo_graph_memory plan_graph(const tgo_graph_options& o) {
  const GraphSizes s(o);
  tgo_graph_memory m{};
  m.state = 18 * o.parameters;
  m.activations = s.layers * layer_bytes(s) + s.rows * (4 * s.width + 4);
  const bool two = s.streams == 2;
  const int64_t again = two && !s.keep && !s.olmo2 ? 4 : 0;  // norms' results of two layers
  const int64_t narrow = 2 + (two ? 4 : 1) + again;          // the stream's, a product's, gradients
  const int64_t acts = two && !s.keep ? 2 : 1;
  const int64_t reused =
      s.rows * (2 * narrow * s.width + 4 * s.width + 2 * acts * s.ffn + 2 * s.q_width());
  // Attention's backward: gradients of q, k, v, its sums in float32, and a scale a row and head.
  const int64_t attention = s.rows * (2 * s.qkv_width() + 4 * s.q_width() + 4 * s.heads);
  const int64_t products = s.streams * (int64_t{32} << 20);  // cuBLAS's workspace on a Hopper GPU
  m.scratch = reused + attention + products + gain_bytes(s);
  m.logits = s.chunk() * s.vocab * 2;
  return m;
}

}  // namespace tgo
