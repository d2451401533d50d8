// Fills a Probe from the kernels of TGO_ISA. Only thin wrappers: nothing that the standard library
// would instantiate, since that would be code of this instruction set shared with all others.
#ifndef TGO_TESTS_PROBE_KERNELS_HH
#define TGO_TESTS_PROBE_KERNELS_HH

#include "../../engine/step.hh"
#include "probe.hh"

namespace tgo::engine::TGO_ISA {

using tests::AttentionCall;
using tests::Lanes;
using tests::PassCall;

inline Vec apply(Lanes op, Vec x, int n, float other) {
  switch (op) {
    case Lanes::kExp2:
      return exp2<float>(x);
    case Lanes::kExp2Half:
      return exp2<bf16>(x);
    case Lanes::kLog2:
      return log2(x);
    case Lanes::kSigmoid:
      return sigmoid<float>(x);
    case Lanes::kSigmoidHalf:
      return sigmoid<bf16>(x);
    case Lanes::kSum:
      return set1(sum(x));
    case Lanes::kLargest:
      return set1(largest(x));
    case Lanes::kKeepFirst:
      return keep_first(x, n, other);
    case Lanes::kDropFirst:
      return drop_first(x, n);
    case Lanes::kFraction:
      return fraction(x);
    case Lanes::kScale2:
      return scale2(x, set1(other));
  }
  return x;
}

// Tile registers are described for as long as this lives.
struct Tiles {
  Tiles() { prepare_thread(); }
  ~Tiles() { release_thread(); }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;
};

// A block of a product: added to what is there, and counted.
struct CountRows {
  float* out;
  int *seen, panels;
  void soon(int) const {}
  void put(int i, const float* c) const {
    seen[i * panels]++;
    for (int n = 0; n < kBlock; n++) {
      out[i * panels * kBlock + n] += c[n];
    }
  }
};
template <class T>
void probe_product(int row_tiles, int panels, int tiles, const Word* a, const Word* b, float* out,
                   int* seen) {
  const Tiles ready;
  product<T>(row_tiles, panels, tiles, a, b, [=](int m, int p) {
    const int first = m * kBlock * panels + p;
    return CountRows{out + first * kBlock, seen + first, panels};
  });
}

template <class T>
Sequence<T> probe_sequence(const AttentionCall& c) {
  auto at = [](void* x, int columns, int first) {
    return HeadColumns<T>{static_cast<T*>(x), columns, first};
  };
  return {at(c.q, c.q_columns, c.q_first),
          at(c.k, c.k_columns, c.k_first),
          at(c.v, c.v_columns, c.v_first),
          at(c.o, c.o_columns, c.o_first),
          c.row,
          c.time,
          c.e,
          c.heads,
          c.kv_heads,
          c.scale,
          c.log_sum};
}

inline AttentionScratch probe_scratch(const AttentionCall& c, bool backward) {
  return AttentionScratch::plan(c.time, c.e, backward,
                                [&](std::size_t words) { return c.take(c.context, words); });
}

template <class T>
void probe_attention_forward(const AttentionCall& c) {
  const Tiles ready;
  attention_forward(probe_sequence<T>(c), probe_scratch(c, false));
}

template <class T>
void probe_attention_backward(const AttentionCall& c) {
  const Tiles ready;
  const HeadColumns<T> d_o{static_cast<T*>(c.d_o), c.o_columns, c.o_first};
  attention_backward(probe_sequence<T>(c), d_o, Rotary{c.cosine, c.sine, c.e},
                     probe_scratch(c, true));
}

inline void probe_running_loss(const float* logits, int rows, int columns, int vocab,
                               const std::int32_t* targets, float* top, float* sums, float* logit,
                               double* losses) {
  const RunningLoss running{top, sums, logit};
  running.start(rows);
  for (int m = 0; m < rows; m++) {
    for (int n = 0; n < columns; n += kBlock) {
      const AddToLoss block{running, targets, m - m % kBlock, n, vocab - n};
      block.put(m % kBlock, logits + static_cast<std::size_t>(m) * columns + n);
    }
    losses[m] = targets[m] < 0 ? 0 : running.loss(m);
  }
}

// Calls each(pass, layer, saved) for the first layer.
template <class T, class Each>
void with_pass(const PassCall& c, const Each& each) {
  const Tiles ready;
  Clock clock;
  State<T>& z = *static_cast<State<T>*>(c.state);
  const Pass<T> pass{*c.net, c.net->shape, z, clock, c.time, c.dx, c.gradient};
  each(pass, c.net->layer[0], z.saved[0]);
}

template <class T>
struct Probes {
  static T* cast(void* p) { return static_cast<T*>(p); }
  static const T* cast(const void* p) { return static_cast<const T*>(p); }

  static void vectors(tests::Probe& p) {
    p.lanes = [](Lanes op, const float* in, int n, float other, float* out) {
      store(out, apply(op, load(in), n, other));
    };
    p.load_n = [](const float* in, int n, float* out) {
      store(out, engine::TGO_ISA::load_n(in, n));
    };
    p.store_n = [](float* out, const float* in, int n) {
      engine::TGO_ISA::store_n(out, load(in), n);
    };
    p.narrow = [](const float* in, std::uint16_t* out) {
      store(reinterpret_cast<bf16*>(out), load(in));
    };
    p.store2 = [](void* out, const float* in) {
      engine::TGO_ISA::store2(cast(out), load(in), load(in + kLanes));
    };
  }

  static void packing(tests::Probe& p) {
    p.panel_of_rows = panel_of_rows<T>;
    p.panel_of_columns = panel_of_columns<T>;
    p.tiles_transposed = tiles_transposed<T>;
    p.block_panel_of_rows = [](const Word* block, Word* panel, std::size_t tile_words) {
      engine::TGO_ISA::block_panel_of_rows<T>(block, panel, tile_words);
    };
    p.store_tiled = [](void* x, int m, int n, int columns, const float* in) {
      TiledRow<T>(cast(x), m, 0, columns).put(n, load(in), load(in + kLanes));
    };
    p.load_tiled = [](const void* x, int m, int n, int columns, float* out) {
      Vec a, b;
      TiledBlock<const T>(cast(x), m - m % kBlock, n, columns).get(m % kBlock, &a, &b);
      store(out, a);
      store(out + kLanes, b);
    };
    p.weight_gradient = [](int n, int k, int rows, const Word* left, const Word* right, float* dw,
                           bool turned, bool add) {
      const Tiles ready;
      engine::TGO_ISA::weight_gradient<T>(n, k, rows, left, right, dw, turned, add);
    };
    p.block = [](const Word* a, const Word* b, std::size_t sa, std::size_t sb, int tiles, float* c,
                 bool add) {
      const Tiles ready;
      engine::TGO_ISA::block<T>(a, b, Strides{sa, sb}, tiles, c, add);
    };
    p.product = probe_product<T>;
  }

  static void norms(tests::Probe& p) {
    p.norm_forward = [](const float* x, const Gain& g, float eps, int rows, float* r, void* h,
                        bool again) {
      engine::TGO_ISA::norm_forward(x, g, eps, rows, r, cast(h), again);
    };
    p.norm_backward = [](const float* x, const Gain& g, const void* dh, const float* r, int rows,
                         float* dx, void* dx16, float* dg, bool set) {
      engine::TGO_ISA::norm_backward(x, g, cast(dh), r, rows, dx, cast(dx16), dg, set);
    };
    p.result_norm_forward = [](const void* y, const Gain& g, float eps, int rows, const float* xi,
                               float* xo, float* r) {
      engine::TGO_ISA::result_norm_forward(cast(y), g, eps, rows, xi, xo, r);
    };
    p.result_norm_backward = [](const void* y, const Gain& g, const float* dx, const float* r,
                                int rows, void* dy, float* dg) {
      engine::TGO_ISA::result_norm_backward(cast(y), g, dx, r, rows, cast(dy), dg);
    };
    p.round_rows = [](const float* x, int rows, int columns, void* out) {
      engine::TGO_ISA::round_rows(x, rows, columns, cast(out));
    };
    p.add_rows = [](const void* dt, int rows, int columns, float* dx) {
      engine::TGO_ISA::add_rows(cast(dt), rows, columns, dx);
    };
  }

  static void rotary(tests::Probe& p) {
    p.rotary = [](const float* cosine, const float* sine, int e, int position, int n, bool forward,
                  float* values) {
      const Rotary r{cosine, sine, e};
      Vec a = load(values), b = load(values + kLanes);
      forward ? r.forward(position, n, &a, &b) : r.backward(position, n, 1, &a, &b);
      store(values, a);
      store(values + kLanes, b);
    };
    p.qk_norm_forward = [](const void* x, int x_columns, int first, const Gain& g, float eps,
                           const float* cosine, const float* sine, int e, int rows, int time,
                           float* r, void* out, int out_columns) {
      engine::TGO_ISA::qk_norm_forward(
          cast(x), x_columns, first, g, eps, Rotary{cosine, sine, e}, rows,
          [=](int m) { return m % time; }, r, cast(out), out_columns);
    };
    p.qk_norm_backward = [](void* x, int x_columns, int first, const Gain& g, int rows,
                            const float* r, const void* dy, int dy_columns, float* dg) {
      engine::TGO_ISA::qk_norm_backward(cast(x), x_columns, first, g, rows, r, cast(dy), dy_columns,
                                        dg);
    };
    p.attention_forward = probe_attention_forward<T>;
    p.attention_backward = probe_attention_backward<T>;
  }

  static void rows(tests::Probe& p) {
    p.swiglu_forward = [](const float* c, int m, int n, int f, void* factors, void* s) {
      SwigluForward<T>(cast(factors), cast(s), m - m % kBlock, n, f).put(m % kBlock, c);
    };
    p.swiglu_alone = [](const float* c, int m, int n, int f, void* s) {
      Swiglu<T>(cast(s), m - m % kBlock, n, f).put(m % kBlock, c);
    };
    p.swiglu_backward = [](const float* c, int m, int n, int f, const void* factors,
                           void* gradient) {
      SwigluBackward<T>(cast(factors), cast(gradient), m - m % kBlock, n, f).put(m % kBlock, c);
    };
    p.keep_logits = [](const float* c, int m, int n, int columns, int valid, void* logits,
                       float* top) {
      KeepLogits<T>{{cast(logits), m - m % kBlock, n, columns}, top, valid}.put(m % kBlock, c);
    };
    p.cross_entropy = [](void* logits, int m, int columns, const std::int32_t* targets, float* top,
                         float z_loss, float unit) {
      return engine::TGO_ISA::cross_entropy(cast(logits), m, columns, targets, top, z_loss, unit);
    };
    p.running_loss = probe_running_loss;
    p.embedding_forward = embedding_forward;
  }

  static void passes(tests::Probe& p) {
    p.attention = [](const PassCall& c) {
      with_pass<T>(c, [&](const Pass<T>& pass, const Layer& l, const Saved<T>& v) {
        pass.attention(l, v, c.first, c.rows,
                       c.out + static_cast<std::size_t>(c.first) * pass.s.d());
      });
    };
    p.attention_back = [](const PassCall& c) {
      with_pass<T>(c, [&](const Pass<T>& pass, const Layer& l, const Saved<T>& v) {
        pass.attention_backward(l, v, c.first, c.rows, c.add);
      });
    };
    p.feed_forward = [](const PassCall& c) {
      with_pass<T>(c, [&](const Pass<T>& pass, const Layer& l, const Saved<T>& v) {
        pass.feed_forward(l, v, c.first, c.rows,
                          c.out + static_cast<std::size_t>(c.first) * pass.s.d());
      });
    };
    p.feed_forward_back = [](const PassCall& c) {
      with_pass<T>(c, [&](const Pass<T>& pass, const Layer& l, const Saved<T>& v) {
        pass.feed_forward_backward(l, v, c.first, c.rows, c.add);
      });
    };
    p.stream = [](void* state, bool middle) {
      const Saved<T>& v = static_cast<State<T>*>(state)->saved[0];
      return middle ? v.middle : v.x;
    };
    p.round_gradient = [](void* state, const float* dx, int rows, int columns) {
      engine::TGO_ISA::round_rows(dx, rows, columns, static_cast<State<T>*>(state)->dx16);
    };
    p.place = [](void* state, int rows, int time) {
      State<T>& z = *static_cast<State<T>*>(state);
      for (int i = 0; i < rows / kBlock; i++) {
        z.position[i] = i * kBlock % time;
      }
    };
  }

  static tests::Probe all(const Kernels* kernels) {
    tests::Probe p{};
    p.isa = kernels->name;
    p.half = sizeof(T) == 2;
    p.kernels = kernels;
    vectors(p);
    packing(p);
    norms(p);
    rotary(p);
    rows(p);
    passes(p);
    return p;
  }
};

// In static memory: made at the first call.
inline const tests::Probe* probe(const Kernels* (*kernels)(bool), bool half) {
  static const tests::Probe all[2] = {Probes<float>::all(kernels(false)),
                                      Probes<bf16>::all(kernels(true))};
  return &all[half ? 1 : 0];
}

}  // namespace tgo::engine::TGO_ISA

#endif
