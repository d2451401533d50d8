// What one thread works on: its share of the sequences of a micro-batch, from embedding to loss and
// back. All of it lies in one piece of memory, planned before the first step and reused by every
// step.
#ifndef TGO_ENGINE_STATE_HH
#define TGO_ENGINE_STATE_HH

#include "adamw.hh"
#include "attention.hh"
#include "draw.hh"
#include "engine.hh"
#include "forbid.hh"

namespace tgo::engine::TGO_ISA {

// Gives out memory from a start on, or, starting at null, only adds up how much there would be.
struct Arena {
  char* base = nullptr;
  std::size_t used = 0;

  TGO_INLINE void* take(std::size_t bytes) {
    char* p = base == nullptr ? nullptr : base + used;
    const std::size_t size = (bytes + 127) / 64 * 64;  // a line at least between two neighbours
    used += size;
    forbid(p == nullptr ? nullptr : p + bytes, size - bytes);
    return p;
  }
  template <class X>
  TGO_INLINE X* of(std::size_t count) {
    return static_cast<X*>(take(count * sizeof(X)));
  }
};

// What the backward pass of a layer needs; R rows of a share.
template <class T>
struct Saved {
  float *x, *middle;  // residual stream before attention and before feed-forward [R × D]
  T* qkv;      // [R × (H + 2G)·E], tiled: turned, or with reordered norm as the product gave it
  T* qk;       // [R × (H + G)·E], tiled: normalised and turned (reordered norm only)
  T* o;        // [R × H·E], tiled
  T* factors;  // of SwiGLU [R × 2F], tiled (feed_forward.hh; with a backward pass only)
  T* s;        // its result [R × F], tiled
  T *attention_result, *ffn_result;        // [R × D], tiled (reordered norm only)
  float* log_sum;                          // of attention's weights [R × H]
  float *attention_r, *ffn_r, *q_r, *k_r;  // of the norms [R]
};

template <class T>
struct State {
  int rows = 0;                 // of the largest share, sequences padded
  int chunk_rows = 0;           // that pass through a layer at once: whole sequences
  int head_rows = 0;            // that pass through the output layer at once
  Saved<T>* saved = nullptr;    // [layers], or 1 without a backward pass
  float *x, *x_r;               // after the last layer [R × D], and its norm's r
  T* dx16;                      // gradient of the residual stream [R × D], tiled
  std::int32_t *ids, *targets;  // [R], −1 in padding
  int* position;                // of the first of each 32 rows in its sequence [R/32]

  // Scratch of a chunk.
  T *h, *dh, *dy;                // [chunk × D], [chunk × max(D, H·E)], [chunk × D]
  T* wide;                       // gradient of gate and up [chunk × 2F]
  T *h_head, *logits, *dh_head;  // [head_rows × D], [head_rows × V], [head_rows × D]
  float *top, *sums, *logit;     // [head_rows × 16] twice, [head_rows]
  // Generation: rows of which something is wanted and where their logits go [kDecodeRows], a query
  // head [E], and what tokens are drawn from.
  const DecodeRow** wanted;
  float** wanted_logits;
  float* wide_query;
  int drawn_rows;      // at once
  float* scores;       // [drawn_rows × score_stride]
  double* run_sums;    // [V / kRun]
  Word *left, *right;  // packed operands of a weight gradient
  T* rows16;           // 32 rows of the widest matrix
  AttentionScratch attention;
};

template <class T>
Saved<T> plan_saved(Arena& a, const Shape& s, std::size_t rows, bool backward) {
  Saved<T> l{};
  l.x = a.of<float>(rows * s.d());
  l.middle = a.of<float>(rows * s.d());
  l.qkv = a.of<T>(rows * s.qkv());
  l.o = a.of<T>(rows * s.q());
  l.s = a.of<T>(rows * s.f());
  if (backward) {
    l.factors = a.of<T>(rows * 2 * s.f());
  }
  l.log_sum = a.of<float>(rows * s.heads);
  l.attention_r = a.of<float>(rows);
  l.ffn_r = a.of<float>(rows);
  if (s.reordered_norm) {
    l.qk = a.of<T>(rows * (s.q() + s.k()));
    l.attention_result = a.of<T>(rows * s.d());
    l.ffn_result = a.of<T>(rows * s.d());
    l.q_r = a.of<float>(rows);
    l.k_r = a.of<float>(rows);
  }
  return l;
}

template <class T>
void plan_scratch(Arena& a, const Shape& s, bool backward, State<T>& z) {
  const std::size_t chunk = z.chunk_rows, head = z.head_rows;
  const int wide = at_least(s.d(), s.q());
  z.h = a.of<T>(chunk * s.d());
  z.h_head = a.of<T>(head * s.d());
  z.top = a.of<float>(head * kLanes);
  z.sums = a.of<float>(head * kLanes);
  z.logit = a.of<float>(head);
  const int widest = at_least(at_least(s.qkv(), 2 * s.f()), at_least(wide, s.f()));
  z.rows16 = a.of<T>(static_cast<std::size_t>(widest) * kBlock);
  if (!backward) {
    z.wanted = a.of<const DecodeRow*>(kDecodeRows);
    z.wanted_logits = a.of<float*>(kDecodeRows);
    z.wide_query = a.of<float>(s.e());
    z.drawn_rows = drawn_rows(z.head_rows, s.v());
    z.scores = a.of<float>(static_cast<std::size_t>(z.drawn_rows) * score_stride(s.v()));
    z.run_sums = a.of<double>((s.v() + kRun - 1) / kRun);
  }
  if (backward) {
    z.logits = a.of<T>(head * s.v());
    z.dh_head = a.of<T>(head * s.d());
    z.dh = a.of<T>(chunk * wide);
    z.dy = a.of<T>(chunk * s.d());
    z.wide = a.of<T>(chunk * 2 * s.f());
    // The narrower side of a weight is the left one (pack.hh), and none is wider than these.
    const std::size_t right = chunk * widest, right_head = head * at_least(s.v(), s.d());
    z.left = reinterpret_cast<Word*>(a.of<T>(chunk * wide));
    z.right = reinterpret_cast<Word*>(a.of<T>(right > right_head ? right : right_head));
  }
}

// Lays out a thread's memory at `memory`, or, when that is null, finds its size in bytes.
template <class T>
std::size_t plan_state(const Setup& setup, void* memory, State<T>& z) {
  const Shape& s = setup.shape;
  Arena a{static_cast<char*>(memory), 0};
  z.rows = setup.rows;
  z.chunk_rows = setup.chunk_rows;
  z.head_rows = setup.head_rows;
  const std::size_t rows = z.rows;
  const int kept = setup.backward ? s.layers : 1;
  z.saved = a.of<Saved<T>>(kept);
  for (int i = 0; i < kept; i++) {
    const Saved<T> l = plan_saved<T>(a, s, rows, setup.backward);
    if (memory != nullptr) {
      z.saved[i] = l;
    }
  }
  z.x = a.of<float>(rows * s.d());
  z.x_r = a.of<float>(rows);
  z.ids = a.of<std::int32_t>(rows);
  z.targets = a.of<std::int32_t>(rows);
  z.position = a.of<int>(rows / kBlock);
  if (setup.backward) {
    z.dx16 = a.of<T>(rows * s.d());
  }
  plan_scratch(a, s, setup.backward, z);
  z.attention = AttentionScratch::plan(setup.time, s.e(), setup.backward, [&](std::size_t words) {
    return a.take(words * sizeof(Word));
  });
  return a.used;
}

}  // namespace tgo::engine::TGO_ISA

#endif
