// The two sub-layers, forward and backward, for some whole sequences at once:
//
//   Llama-2   y = x + f(norm(x))          OLMo-2   y = x + norm(f(x)), queries and keys normalised
//   too
//
// f is attention or the feed-forward network. Products hand their rows straight to what follows
// them: rotary embedding, the residual sum, SwiGLU. Norms are computed again on the way back.
#ifndef TGO_ENGINE_LAYER_HH
#define TGO_ENGINE_LAYER_HH

#include "feed_forward.hh"
#include "state.hh"

namespace tgo::engine::TGO_ISA {

template <class T>
TGO_INLINE const Word* words(const T* x) {
  return reinterpret_cast<const Word*>(x);
}

// A block of a product that is kept as it is.
template <class T>
struct KeepRows {
  TiledBlock<T> out;
  TGO_INLINE void soon(int i) const { out.expect(i); }
  TGO_INLINE void put(int i, const float* c) const { out.put(i, load(c), load(c + kLanes)); }
};

// A block that is added to the residual stream.
struct AddRows {
  const float* x;
  float* out;
  int columns;
  TGO_INLINE void soon(int i) const {
    const std::size_t at = static_cast<std::size_t>(i) * static_cast<unsigned>(columns);
    __builtin_prefetch(x + at);
    __builtin_prefetch(x + at + kLanes);
    expect_write(out + at);
    expect_write(out + at + kLanes);
  }
  TGO_INLINE void put(int i, const float* c) const {
    const std::size_t at = static_cast<std::size_t>(i) * static_cast<unsigned>(columns);
    store(out + at, load(x + at) + load(c));
    store(out + at + kLanes, load(x + at + kLanes) + load(c + kLanes));
  }
};

// A block of queries, keys or values; `cosine` is null where nothing is turned.
template <class T>
struct TurnRows {
  TiledBlock<T> out;
  const float *cosine, *sine;  // of the block's first row
  int step;                    // from row to row
  TGO_INLINE void soon(int i) const { out.expect(i); }
  TGO_INLINE void put(int i, const float* c) const {
    Vec a = load(c), b = load(c + kLanes);
    if (cosine != nullptr) {
      turn(load(cosine + i * step), load(sine + i * step), &a, &b);
    }
    out.put(i, a, b);
  }
};

// Some rows of a pass: `rows` of them from `first` on in the saved activations.
template <class T>
struct Pass {
  const Network& net;
  const Shape& s;
  State<T>& z;
  Clock& clock;
  int time;              // rows of a sequence
  float *dx, *gradient;  // as in Share

  TGO_INLINE void mark(Part part) const {
    const std::uint64_t now = __rdtsc();
    clock.spent[static_cast<int>(part)] += now - clock.last;
    if (clock.traced < clock.capacity) {
      clock.trace[clock.traced++] = Stretch{part, clock.last, now};
    }
    clock.last = now;
  }
  Rotary rotary() const { return {net.cosine, net.sine, s.e()}; }

  // What the products of a sub-layer read, in z.h.
  void input(const float* x, const Gain& g, float* r, int rows, bool again) const {
    if (s.reordered_norm) {
      round_rows(x, rows, s.d(), z.h);
    } else {
      norm_forward(x, g, s.eps, rows, r, z.h, again);
    }
    mark(Part::kNorm);
  }

  // out = x + the result of a sub-layer, whose last product is `in` · wᵀ.
  void result(const Matrix& w, const T* in, const float* x, const Gain& g, int rows, T* kept,
              float* r, float* out, Part part) const {
    const int d = s.d(), tiles = w.columns / kTileColumns<T>;
    if (!s.reordered_norm) {
      product<T>(rows / kBlock, d / kBlock, tiles, words(in), w.forward, [=](int m, int p) {
        const std::size_t at = static_cast<std::size_t>(m) * kBlock * d + p * kBlock;
        return AddRows{x + at, out + at, d};
      });
      mark(part);
      return;
    }
    product_tiled(w.forward, in, rows, w.columns, d, kept);
    mark(part);
    result_norm_forward(kept, g, s.eps, rows, x, out, r);
    mark(Part::kNorm);
  }

  // out [rows × columns] = in [rows × K] · panels, tiled.
  void product_tiled(const Word* panels, const T* in, int rows, int k, int columns, T* out) const {
    product<T>(rows / kBlock, columns / kBlock, k / kTileColumns<T>, words(in), panels,
               [=](int m, int p) {
                 return KeepRows<T>{{out, m * kBlock, p * kBlock, columns}};
               });
  }

  Sequence<T> sequence(const Saved<T>& v, int first, int row) const {
    const std::size_t at = static_cast<std::size_t>(first);
    T* qkv = v.qkv + at * s.qkv();
    T* turned = s.reordered_norm ? v.qk + at * (s.q() + s.k()) : qkv;
    const int columns = s.reordered_norm ? s.q() + s.k() : s.qkv();
    const std::size_t kept = (at + row) * s.heads;
    return {{turned, columns, 0},
            {turned, columns, s.q()},
            {qkv, s.qkv(), s.q() + s.k()},
            {v.o + at * s.q(), s.q(), 0},
            row,
            time,
            s.e(),
            s.heads,
            s.kv_heads,
            1.0F / __builtin_sqrtf(static_cast<float>(s.head_size())),
            v.log_sum + kept};
  }

  // Queries, keys and values of the rows in z.h.
  void project(const Layer& l, const Saved<T>& v, int first, int rows) const {
    const std::size_t at = static_cast<std::size_t>(first);
    T* qkv = v.qkv + at * s.qkv();
    const int turned = s.reordered_norm ? 0 : s.q() + s.k(), columns = s.qkv();
    const Rotary rotary = this->rotary();
    const int* position = z.position;
    const int step = s.e() / 2;
    product<T>(rows / kBlock, columns / kBlock, s.d() / kTileColumns<T>, words(z.h), l.qkv.forward,
               [=](int m, int p) {
                 const std::size_t angle = rotary.place(position[m], p * kBlock);
                 const bool turned_here = p * kBlock < turned;
                 return TurnRows<T>{{qkv, m * kBlock, p * kBlock, columns},
                                    turned_here ? rotary.cosine + angle : nullptr,
                                    rotary.sine + angle,
                                    step};
               });
    mark(Part::kQKV);
    if (s.reordered_norm) {
      T* qk = v.qk + at * (s.q() + s.k());
      const int out = s.q() + s.k();
      const auto place = [this](int m) { return m % time; };
      qk_norm_forward(qkv, columns, 0, l.q_norm, s.eps, rotary, rows, place, v.q_r + at, qk, out);
      qk_norm_forward(qkv, columns, s.q(), l.k_norm, s.eps, rotary, rows, place, v.k_r + at, qk,
                      out);
      mark(Part::kNorm);
    }
  }

  void attention(const Layer& l, const Saved<T>& v, int first, int rows, float* out) const {
    const std::size_t at = static_cast<std::size_t>(first), x = at * s.d();
    input(v.x + x, l.attention_norm, v.attention_r + at, rows, false);
    project(l, v, first, rows);
    for (int row = 0; row < rows; row += time) {
      attention_forward(sequence(v, first, row), z.attention);
    }
    mark(Part::kAttention);
    result(l.out, v.o + at * s.q(), v.x + x, l.attention_norm, rows, v.attention_result + x,
           v.attention_r + at, out, Part::kOut);
  }

  void feed_forward(const Layer& l, const Saved<T>& v, int first, int rows, float* out) const {
    const std::size_t at = static_cast<std::size_t>(first), x = at * s.d();
    const int f = s.f();
    input(v.middle + x, l.ffn_norm, v.ffn_r + at, rows, false);
    T* activation = v.s + at * f;
    auto gate_up = [&](auto block) {
      product<T>(rows / kBlock, 2 * f / kBlock, s.d() / kTileColumns<T>, words(z.h),
                 l.gate_up.forward, block);
    };
    if (gradient == nullptr) {
      gate_up([=](int m, int p) { return Swiglu<T>(activation, m * kBlock, p, f); });
    } else {
      T* factors = v.factors + at * 2 * f;
      gate_up(
          [=](int m, int p) { return SwigluForward<T>(factors, activation, m * kBlock, p, f); });
    }
    mark(Part::kGateUp);
    result(l.down, activation, v.middle + x, l.ffn_norm, rows, v.ffn_result + x, v.ffn_r + at, out,
           Part::kDown);
  }

  // dW (+)= dyᵀ · x over `rows`.
  void weight(const Matrix& w, const T* dy, const T* x, int rows, bool add) const {
    const int blocks = rows / kBlock;
    const int left = w.turned ? w.columns : w.rows, right = w.turned ? w.rows : w.columns;
    tiles_transposed<T>(words(w.turned ? x : dy), row_words<T>(left), blocks, left, z.left);
    panel_of_rows<T>(words(w.turned ? dy : x), row_words<T>(right), blocks, right, z.right);
    mark(Part::kPack);
    weight_gradient<T>(w.rows / kBlock, w.columns / kBlock, blocks, z.left, z.right,
                       gradient + w.gradient, w.turned, add);
    mark(Part::kWeightGradient);
  }

  // The gradient of a sub-layer's result: the residual stream's, through the norm where there is
  // one.
  const T* result_backward(const T* kept, const Gain& g, const float* r, int first,
                           int rows) const {
    const std::size_t at = static_cast<std::size_t>(first), x = at * s.d();
    if (!s.reordered_norm) {
      return z.dx16 + x;
    }
    result_norm_backward(kept + x, g, dx + x, r + at, rows, z.dy, gradient + g.gradient);
    mark(Part::kNormBack);
    return z.dy;
  }

  // Adds the gradient of a sub-layer's input, z.dh, to the residual stream's.
  void input_backward(const float* x, const Gain& g, const float* r, int first, int rows) const {
    const std::size_t at = static_cast<std::size_t>(first) * s.d();
    if (s.reordered_norm) {
      add_rows(z.dh, rows, s.d(), dx + at);
    } else {
      norm_backward(x, g, z.dh, r, rows, dx + at, z.dx16 + at, gradient + g.gradient, false);
    }
    mark(Part::kNormBack);
  }

  void feed_forward_backward(const Layer& l, const Saved<T>& v, int first, int rows,
                             bool add) const {
    const std::size_t at = static_cast<std::size_t>(first);
    const int f = s.f();
    float* x = v.middle + at * s.d();
    const T* dy = result_backward(v.ffn_result, l.ffn_norm, v.ffn_r, first, rows);
    const T* factors = v.factors + at * 2 * f;
    T* wide = z.wide;
    product<T>(rows / kBlock, f / kBlock, s.d() / kTileColumns<T>, words(dy), l.down.backward,
               [=](int m, int p) { return SwigluBackward<T>(factors, wide, m * kBlock, p, f); });
    mark(Part::kDownBack);
    weight(l.down, dy, v.s + at * f, rows, add);
    input(x, l.ffn_norm, v.ffn_r + at, rows, true);
    weight(l.gate_up, wide, z.h, rows, add);
    product_tiled(l.gate_up.backward, wide, rows, 2 * f, s.d(), z.dh);
    mark(Part::kGateUpBack);
    input_backward(x, l.ffn_norm, v.ffn_r + at, first, rows);
  }

  void attention_backward(const Layer& l, const Saved<T>& v, int first, int rows, bool add) const {
    const std::size_t at = static_cast<std::size_t>(first);
    float* x = v.x + at * s.d();
    const T* dy = result_backward(v.attention_result, l.attention_norm, v.attention_r, first, rows);
    weight(l.out, dy, v.o + at * s.q(), rows, add);
    product_tiled(l.out.backward, dy, rows, s.d(), s.q(), z.dh);
    mark(Part::kOutBack);
    for (int row = 0; row < rows; row += time) {
      TGO_ISA::attention_backward(sequence(v, first, row), HeadColumns<T>{z.dh, s.q(), 0}, rotary(),
                                  z.attention);
    }
    mark(Part::kAttentionBack);
    T* qkv = v.qkv + at * s.qkv();
    if (s.reordered_norm) {
      T* qk = v.qk + at * (s.q() + s.k());
      const int columns = s.q() + s.k();
      qk_norm_backward(qkv, s.qkv(), 0, l.q_norm, rows, v.q_r + at, qk, columns,
                       gradient + l.q_norm.gradient);
      qk_norm_backward(qkv, s.qkv(), s.q(), l.k_norm, rows, v.k_r + at, qk, columns,
                       gradient + l.k_norm.gradient);
      mark(Part::kNormBack);
    }
    input(x, l.attention_norm, v.attention_r + at, rows, true);
    weight(l.qkv, qkv, z.h, rows, add);
    product_tiled(l.qkv.backward, qkv, rows, s.qkv(), s.d(), z.dh);
    mark(Part::kQKVBack);
    input_backward(x, l.attention_norm, v.attention_r + at, first, rows);
  }
};

}  // namespace tgo::engine::TGO_ISA

#endif
