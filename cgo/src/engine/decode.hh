// Rows of many sequences at different positions, for generation: each row's keys and values join
// its sequence's cache, and the row attends to what is there. Prompts and single tokens are the
// same.
//
// The cache of one sequence, for each layer and key/value head one behind the other: keys in blocks
// of 16 positions, so that a score's sum runs down a block while 16 scores lie side by side, and
// values row by row:
//
//        ◄─ 16 positions ─►                         ◄──── E ────►
//      ┌──────────────────┐┬ ─ ─                  ┌──────────────┐
//    E │ block 0          ││ block 1              │ position 0   │
//      │                  ││                      │ position 1   │
//      └──────────────────┘┴ ─ ─
//
// A sequence may go on from another's first positions, its prefix, which many can share.
#ifndef TGO_ENGINE_DECODE_HH
#define TGO_ENGINE_DECODE_HH

#include "embedding.hh"
#include "layer.hh"

namespace tgo::engine::TGO_ISA {

// Keys and values of one head.
template <class T>
struct HeadCache {
  T* start;
  int capacity, e;

  TGO_INLINE HeadCache(void* sequence, int head, int capacity, int e)
      : start(static_cast<T*>(sequence) + 2 * static_cast<std::size_t>(head) * capacity * e),
        capacity(capacity),
        e(e) {}
  TGO_INLINE T* keys(int block) const {
    return start + static_cast<std::size_t>(block) * kLanes * e;
  }
  TGO_INLINE T* value(int position) const {
    return start + static_cast<std::size_t>(capacity + position) * e;
  }
  // 32 columns from n on of a key and of a value.
  TGO_INLINE void put(int position, int n, const T* key, const T* value_from) const {
    T *to = keys(position / kLanes) + n * kLanes + position % kLanes, *v = value(position) + n;
    for (int i = 0; i < kBlock; i++) {
      const int from = i < kLanes ? i : kSecondHalf<T> + i - kLanes;
      to[i * kLanes] = key[from];
      v[i] = value_from[from];
    }
  }
};

// Scores of 16 positions: q is scaled already.
template <class T>
TGO_INLINE Vec score16(const float* q, const T* keys, int e) {
  Vec s[4] = {set1(0), set1(0), set1(0), set1(0)};
  for (int n = 0; n < e; n += 4) {
    for (int i = 0; i < 4; i++) {
      s[i] = fma(set1(q[n + i]), load(keys + (n + i) * kLanes), s[i]);
    }
  }
  return (s[0] + s[1]) + (s[2] + s[3]);
}

// Scores of positions 0 … count − 1, and −1e30 up to a multiple of 16; returns the end.
template <class T>
TGO_INLINE float* put_scores(const float* q, const HeadCache<T>& cache, int count, float* out,
                             Vec* top) {
  for (int i = 0; i < count; i += kLanes, out += kLanes) {
    Vec s = score16(q, cache.keys(i / kLanes), cache.e);
    s = keep_first(s, at_most(kLanes, count - i), -1e30F);
    store(out, s);
    *top = max(*top, s);
  }
  return out;
}

// Adds the values of positions 0 … count − 1 with their weights to 32 columns from n on.
template <class T>
TGO_INLINE void add_values(const HeadCache<T>& cache, const float* weights, int count, int n,
                           Vec* a, Vec* b) {
  Vec odd_a = set1(0), odd_b = set1(0);
  int i = 0;
  for (; i + 1 < count; i += 2) {
    const T *even = cache.value(i) + n, *odd = even + cache.e;
    const Vec w = set1(weights[i]), x = set1(weights[i + 1]);
    *a = fma(w, load(even), *a);
    *b = fma(w, load(even + kLanes), *b);
    odd_a = fma(x, load(odd), odd_a);
    odd_b = fma(x, load(odd + kLanes), odd_b);
  }
  if (i < count) {
    const Vec w = set1(weights[i]);
    *a = fma(w, load(cache.value(i) + n), *a);
    *b = fma(w, load(cache.value(i) + n + kLanes), *b);
  }
  *a = *a + odd_a;
  *b = *b + odd_b;
}

// One query head of one row: q and out are 32 columns at a time of tiled rows. `weights` has room
// for all positions, `wide` for the query.
template <class T>
void attend_row(const TiledRow<T>& q, const TiledRow<T>& out, int kv_head, const DecodeRow& row,
                int capacity, int e, float scale, float* weights, float* wide) {
  const HeadCache<T> before(const_cast<void*>(row.prefix), kv_head, capacity, e);
  const HeadCache<T> own(row.own, kv_head, capacity, e);
  const int shared = row.prefix_length, mine = row.position - shared + 1;
  Vec a, b;
  for (int n = 0; n < e; n += kBlock) {
    q.get(n, &a, &b);
    store(wide + n, a * set1(scale));
    store(wide + n + kLanes, b * set1(scale));
  }
  Vec top = set1(-1e30F);
  float* middle = put_scores(wide, before, shared, weights, &top);
  const float* end = put_scores(wide, own, mine, middle, &top);
  const Vec largest_of_row = set1(largest(top));
  Vec total = set1(0);
  for (float* w = weights; w < end; w += kLanes) {
    const Vec p = exp2<float>(load(w) - largest_of_row);
    store(w, p);
    total = total + p;
  }
  const Vec inverse = set1(1.0F / sum(total));
  for (int n = 0; n < e; n += kBlock) {
    a = b = set1(0);
    add_values(before, weights, shared, n, &a, &b);
    add_values(own, middle, mine, n, &a, &b);
    out.put(n, a * inverse, b * inverse);
  }
}

// Queries, keys and values whose rows have positions of their own.
template <class T>
struct TurnEach {
  TiledBlock<T> out;
  Rotary rotary;
  const DecodeRow* row;  // of the block
  int column, valid;     // rows beyond are padding
  bool turned;
  TGO_INLINE void soon(int i) const { out.expect(i); }
  TGO_INLINE void put(int i, const float* c) const {
    Vec a = load(c), b = load(c + kLanes);
    if (turned && i < valid) {
      rotary.forward(row[i].position, column, &a, &b);
    }
    out.put(i, a, b);
  }
};

// A block of logits: each row to its own place, columns of the vocabulary alone.
struct PutLogits {
  float* const* row;  // of the block
  int rows, column, vocab;
  TGO_INLINE void soon(int) const {}
  TGO_INLINE void put(int i, const float* c) const {
    if (i < rows) {
      store_n(row[i] + column, load(c), at_least(0, at_most(kLanes, vocab - column)));
      store_n(row[i] + at_least(0, at_most(column + kLanes, vocab)), load(c + kLanes),
              at_least(0, at_most(kLanes, vocab - column - kLanes)));
    }
  }
};

template <class T>
struct Decoding {
  const Pass<T>& pass;
  const DecodeRow* row;
  int count, rows;  // rows: count, padded
  int capacity;
  const Drawing& drawing;

  void project(const Layer& l, const Saved<T>& v) const {
    const Shape& s = pass.s;
    State<T>& z = pass.z;
    const Rotary rotary = pass.rotary();
    const int columns = s.qkv(), turned = s.reordered_norm ? 0 : s.q() + s.k();
    const DecodeRow* first = row;
    const int all = count;
    product<T>(rows / kBlock, columns / kBlock, s.d() / kTileColumns<T>, words(z.h), l.qkv.forward,
               [=](int m, int p) {
                 return TurnEach<T>{{v.qkv, m * kBlock, p * kBlock, columns},
                                    rotary,
                                    first + m * kBlock,
                                    p * kBlock,
                                    all - m * kBlock,
                                    p * kBlock < turned};
               });
    pass.mark(Part::kQKV);
    if (s.reordered_norm) {
      const auto position = [=](int m) { return m < all ? first[m].position : 0; };
      const int out = s.q() + s.k();
      qk_norm_forward(v.qkv, columns, 0, l.q_norm, s.eps, rotary, rows, position, v.q_r, v.qk, out);
      qk_norm_forward(v.qkv, columns, s.q(), l.k_norm, s.eps, rotary, rows, position, v.k_r, v.qk,
                      out);
      pass.mark(Part::kNorm);
    }
  }

  void attend(int layer, const Saved<T>& v) const {
    const Shape& s = pass.s;
    const int e = s.e(), group = s.heads / s.kv_heads;
    T* turned = s.reordered_norm ? v.qk : v.qkv;
    const int columns = s.reordered_norm ? s.q() + s.k() : s.qkv();
    const int first_head = layer * s.kv_heads;
    for (int r = 0; r < count; r++) {
      for (int g = 0; g < s.kv_heads; g++) {
        const HeadCache<T> own(row[r].own, first_head + g, capacity, e);
        const TiledRow<T> key(turned, r, s.q() + g * e, columns);
        const TiledRow<T> value(v.qkv, r, s.q() + s.k() + g * e, s.qkv());
        for (int n = 0; n < e; n += kBlock) {
          own.put(row[r].position - row[r].prefix_length, n, key.p + n * kBlock,
                  value.p + n * kBlock);
        }
      }
    }
    const float scale = kLog2E / __builtin_sqrtf(static_cast<float>(s.head_size()));
    for (int r = 0; r < rows; r++) {
      for (int h = 0; h < s.heads; h++) {
        const TiledRow<T> out(v.o, r, h * e, s.q());
        if (r < count) {
          attend_row(TiledRow<T>(turned, r, h * e, columns), out, first_head + h / group, row[r],
                     capacity, e, scale, pass.z.attention.scores, pass.z.wide_query);
          continue;
        }
        for (int n = 0; n < e; n += kBlock) {
          out.put(n, set1(0), set1(0));
        }
      }
    }
    pass.mark(Part::kAttention);
  }

  // Rows of which something is wanted move to the front of z.x; returns how many there are.
  int gather() const {
    const auto d = static_cast<std::size_t>(pass.s.d());
    int wanted = 0;
    for (int r = 0; r < count; r++) {
      if (row[r].logits != nullptr || row[r].draws > 0) {
        std::memmove(pass.z.x + static_cast<std::size_t>(wanted) * d,
                     pass.z.x + static_cast<std::size_t>(r) * d, d * sizeof(float));
        pass.z.wanted[wanted++] = row + r;
      }
    }
    return wanted;
  }

  // Rows that tokens are drawn from are few at a time, so that their scores stay in the cache.
  void head(int wanted) const {
    const Shape& s = pass.s;
    State<T>& z = pass.z;
    const bool drawn = wanted > 0 && z.wanted[0]->draws > 0;
    const int most = drawn ? z.drawn_rows : z.head_rows, stride = score_stride(s.v());
    for (int a = 0; a < wanted; a += most) {
      const int n = at_most(most, wanted - a), blocks = padded(n) / kBlock;
      for (int i = 0; i < n; i++) {
        z.wanted_logits[i] =
            drawn ? z.scores + static_cast<std::size_t>(i) * stride : z.wanted[a + i]->logits;
      }
      norm_forward(z.x + static_cast<std::size_t>(a) * s.d(), pass.net.norm, s.eps, blocks * kBlock,
                   z.x_r, z.h_head, false);
      float* const* logits = z.wanted_logits;
      const int vocab = s.vocab;
      product<T>(blocks, s.v() / kBlock, s.d() / kTileColumns<T>, words(z.h_head),
                 pass.net.head.forward, [=](int m, int p) {
                   return PutLogits{logits + m * kBlock, n - m * kBlock, p * kBlock, vocab};
                 });
      pass.mark(Part::kHead);
      if (drawn) {
        choose(z.wanted + a, n);
      }
    }
  }

  void choose(const DecodeRow* const* wanted, int n) const {
    State<T>& z = pass.z;
    for (int i = 0; i < n; i++) {
      if (drawing.penalty != 1) {
        penalise(z.wanted_logits[i], *wanted[i], drawing, z.attention.scores);
      }
      draw(z.wanted_logits[i], *wanted[i], drawing, z.run_sums);
    }
    pass.mark(Part::kDraw);
  }

  void run(const float* table) const {
    const Shape& s = pass.s;
    State<T>& z = pass.z;
    const Saved<T>& v = z.saved[0];
    for (int r = 0; r < rows; r++) {
      z.ids[r] = r < count ? row[r].id : -1;
    }
    embedding_forward(table, s.width, z.ids, rows, s.d(), v.x);
    pass.mark(Part::kEmbedding);
    for (int i = 0; i < s.layers; i++) {
      const Layer& l = pass.net.layer[i];
      pass.input(v.x, l.attention_norm, v.attention_r, rows, false);
      project(l, v);
      attend(i, v);
      pass.result(l.out, v.o, v.x, l.attention_norm, rows, v.attention_result, v.attention_r,
                  v.middle, Part::kOut);
      pass.feed_forward(l, v, 0, rows, i + 1 == s.layers ? z.x : v.x);
    }
    head(gather());
  }
};

// Rows of a sequence come in the order of their positions.
template <class T>
void decode(void* state, const Network& net, const DecodeRow* row, int count, int capacity,
            const float* table, const Drawing& drawing, Clock& clock) {
  State<T>& z = *static_cast<State<T>*>(state);
  const Pass<T> pass{net, net.shape, z, clock, 0, nullptr, nullptr};
  clock.last = __rdtsc();
  const int most = at_most(z.chunk_rows, kDecodeRows);
  for (int a = 0; a < count; a += most) {
    const int n = at_most(most, count - a);
    Decoding<T>{pass, row + a, n, padded(n), capacity, drawing}.run(table);
  }
}

}  // namespace tgo::engine::TGO_ISA

#endif
