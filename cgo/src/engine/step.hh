// A share from token ids to gradients, and the work on parameters: what an
// instruction set offers to run.cc and plan.cc (engine.hh, Kernels). Include it once in a file that
// defines TGO_ISA.
#ifndef TGO_ENGINE_STEP_HH
#define TGO_ENGINE_STEP_HH

#include "cross_entropy.hh"
#include "decode.hh"
#include "embedding.hh"
#include "layer.hh"

namespace tgo::engine::TGO_ISA {

// Copies a share's ids and targets, each sequence padded to `time` rows; returns the rows.
template <class T>
int place(const Share& share, int time, State<T>& z) {
  for (int i = 0; i < share.sequences; i++) {
    const std::size_t from = static_cast<std::size_t>(i) * share.time;
    const std::size_t to = static_cast<std::size_t>(i) * time;
    for (int t = 0; t < time; t++) {
      const bool real = t < share.time;
      z.ids[to + t] = real ? share.ids[from + t] : -1;
      z.targets[to + t] = real ? share.targets[from + t] : -1;
    }
  }
  const int rows = share.sequences * time;
  for (int i = 0; i < rows / kBlock; i++) {
    z.position[i] = i * kBlock % time;
  }
  return rows;
}

// `rows` rows from `first` on through all layers. With `keep` everything that the way back needs
// stays; without, the layers share one place, at its start.
template <class T>
void forward(const Pass<T>& pass, const float* table, int first, int rows, bool keep) {
  const Shape& s = pass.s;
  State<T>& z = pass.z;
  const int place = keep ? first : 0;
  const std::size_t at = static_cast<std::size_t>(place) * s.d();
  embedding_forward(table, s.width, z.ids + first, rows, s.d(), z.saved[0].x + at);
  pass.mark(Part::kEmbedding);
  for (int i = 0; i < s.layers; i++) {
    const Saved<T>& v = z.saved[keep ? i : 0];
    float* next = i + 1 == s.layers ? z.x : z.saved[keep ? i + 1 : 0].x;
    pass.attention(pass.net.layer[i], v, place, rows, v.middle + at);
    pass.feed_forward(pass.net.layer[i], v, place, rows, next + at);
  }
}

// The output layer for `rows` rows whose normalised values are in z.h_head; at as in product.
template <class T, class At>
TGO_INLINE void output_layer(const Pass<T>& pass, int rows, const At& at) {
  const Shape& s = pass.s;
  product<T>(rows / kBlock, s.v() / kBlock, s.d() / kTileColumns<T>, words(pass.z.h_head),
             pass.net.head.forward, at);
}

// Loss of `rows` rows from `first` on, and its gradient with respect to z.x.
template <class T>
double head(const Pass<T>& pass, int first, int rows, float z_loss, float unit, bool add) {
  const Shape& s = pass.s;
  const Network& net = pass.net;
  State<T>& z = pass.z;
  const std::size_t at = static_cast<std::size_t>(first), x = at * s.d();
  norm_forward(z.x + x, net.norm, s.eps, rows, z.x_r + at, z.h_head, false);
  for (int r = 0; r < rows; r++) {
    store(z.top + r * kLanes, set1(-1e30F));
  }
  pass.mark(Part::kNorm);
  T* logits = z.logits;
  float* top = z.top;
  const int v = s.v();
  const int vocab = s.vocab;
  output_layer(pass, rows, [=](int m, int p) {
    return KeepLogits<T>{
        {logits, m * kBlock, p * kBlock, v}, top + m * kBlock * kLanes, vocab - p * kBlock};
  });
  pass.mark(Part::kHead);
  double loss = 0;
  for (int r = 0; r < rows; r += kBlock) {
    loss += cross_entropy(logits, r, v, z.targets + at + r, top + r * kLanes, z_loss, unit);
  }
  pass.mark(Part::kCrossEntropy);
  pass.product_tiled(net.head.backward, logits, rows, v, s.d(), z.dh_head);
  pass.mark(Part::kHeadBack);
  pass.weight(net.head, logits, z.h_head, rows, add);
  norm_backward(z.x + x, net.norm, z.dh_head, z.x_r + at, rows, pass.dx + x, z.dx16 + x,
                pass.gradient + net.norm.gradient, true);
  pass.mark(Part::kNormBack);
  return loss;
}

// Whole sequences that go through a layer at once.
template <class T>
int rows_at_once(const State<T>& z, int time) {
  return at_least(1, z.chunk_rows / time) * time;
}

// Forward and backward of all rows. `add`: to the gradients that are there.
template <class T>
double there_and_back(const Pass<T>& pass, const float* table, int rows, float z_loss, float unit,
                      bool add) {
  State<T>& z = pass.z;
  const int chunk = rows_at_once(z, pass.time);
  for (int a = 0; a < rows; a += chunk) {
    forward(pass, table, a, at_most(chunk, rows - a), true);
  }
  double loss = 0;
  for (int a = 0; a < rows; a += z.head_rows) {
    loss += head(pass, a, at_most(z.head_rows, rows - a), z_loss, unit, add || a > 0);
  }
  for (int i = pass.s.layers - 1; i >= 0; i--) {
    for (int a = 0; a < rows; a += chunk) {
      const int n = at_most(chunk, rows - a);
      pass.feed_forward_backward(pass.net.layer[i], z.saved[i], a, n, add || a > 0);
      pass.attention_backward(pass.net.layer[i], z.saved[i], a, n, add || a > 0);
    }
  }
  return loss;
}

template <class T>
double train(void* state, const Network& net, const Share& share, const float* table, float z_loss,
             float unit, Clock& clock) {
  State<T>& z = *static_cast<State<T>*>(state);
  const int time = padded(share.time), rows = place(share, time, z);
  const Pass<T> pass{net, net.shape, z, clock, time, share.dx, share.gradient};
  clock.last = __rdtsc();
  if (share.fresh) {
    std::memset(share.gradient + net.first_gain, 0, net.gain_values * sizeof(float));
  }
  return there_and_back(pass, table, rows, z_loss, unit, !share.fresh);
}

template <class T>
double loss(void* state, const Network& net, const Share& share, const float* table, Clock& clock) {
  State<T>& z = *static_cast<State<T>*>(state);
  const Shape& s = net.shape;
  const int time = padded(share.time), rows = place(share, time, z);
  const int chunk = rows_at_once(z, time);
  const Pass<T> pass{net, s, z, clock, time, nullptr, nullptr};
  clock.last = __rdtsc();
  double sum = 0;
  for (int a = 0; a < rows; a += chunk) {
    const int n = at_most(chunk, rows - a);
    forward(pass, table, a, n, false);
    for (int b = 0; b < n; b += z.head_rows) {
      const int m = at_most(z.head_rows, n - b);
      norm_forward(z.x + static_cast<std::size_t>(b) * s.d(), net.norm, s.eps, m, z.x_r + b,
                   z.h_head, false);
      const std::int32_t* targets = z.targets + a + b;
      const RunningLoss running{z.top, z.sums, z.logit};
      running.start(m);
      output_layer(pass, m, [&](int row, int p) {
        return AddToLoss{running, targets, row * kBlock, p * kBlock, s.vocab - p * kBlock};
      });
      for (int r = 0; r < m; r++) {
        sum += targets[r] < 0 ? 0 : running.loss(r);
      }
      pass.mark(Part::kHead);
    }
  }
  return sum;
}

// Adds up `count` values of all gradients into the first of them; returns the sum of squares.
inline double sum_values(const Gradients& g, std::size_t at, std::size_t count) {
  double squares = 0;
  for (std::size_t i = 0; i < count; i += kBlock) {
    float* first = g.of[0] + at + i;
    Vec a = load(first), b = load(first + kLanes);
    for (int t = 1; t < g.count; t++) {
      a = a + load(g.of[t] + at + i);
      b = b + load(g.of[t] + at + i + kLanes);
    }
    store(first, a);
    store(first + kLanes, b);
    squares += static_cast<double>(sum(fma(a, a, b * b)));
  }
  return squares;
}

// The same of a block of 32 × 32 whose gradients are transposed: turns it.
inline double sum_turned(const Gradients& g, std::size_t at) {
  alignas(64) float sums[kSquare];
  double squares = 0;
  for (int i = 0; i < kSquare; i += kBlock) {
    Vec a = set1(0), b = set1(0);
    for (int t = 0; t < g.count; t++) {
      a = a + load(g.of[t] + at + i);
      b = b + load(g.of[t] + at + i + kLanes);
    }
    store(sums + i, a);
    store(sums + i + kLanes, b);
    squares += static_cast<double>(sum(fma(a, a, b * b)));
  }
  for (int corner = 0; corner < 4; corner++) {
    const int m = corner / 2 * kLanes, n = corner % 2 * kLanes;
    transpose_words(reinterpret_cast<const Word*>(sums + m * kBlock + n), kBlock,
                    reinterpret_cast<Word*>(g.of[0] + at + n * kBlock + m), kBlock);
  }
  return squares;
}

// A tied head also receives what the embedding's rows received.
inline double sum_tied(const Matrix& w, int block, const Gradients& g, int vocab) {
  const int blocks = w.columns / kBlock;
  float* own = g.of[0] + w.gradient + static_cast<std::size_t>(block) * blocks * kSquare;
  double squares = 0;
  for (int r = 0; r < kBlock && block * kBlock + r < vocab; r++) {
    const float* row = g.table + static_cast<std::size_t>(block * kBlock + r) * w.columns;
    for (int n = 0; n < w.columns; n += kLanes) {
      float* p = own + n / kBlock * kSquare + r * kBlock + n % kBlock;
      const Vec a = load(p) + load(row + n);
      store(p, a);
      squares += static_cast<double>(sum(a * a));
    }
  }
  return squares;
}

inline double sum_gradients(const Network& net, const Unit& unit, const Gradients& g) {
  switch (unit.kind) {
    case Unit::Kind::kMatrix: {
      const Matrix& w = *unit.matrix;
      const std::size_t count = static_cast<std::size_t>(kBlock) * w.columns;
      double squares = 0;
      if (w.turned) {
        for (std::size_t i = 0; i < count; i += kSquare) {
          squares += sum_turned(g, w.gradient + unit.block * count + i);
        }
      } else {
        squares = sum_values(g, w.gradient + unit.block * count, count);
      }
      const bool tied = net.shape.tied && &w == &net.head;
      return tied ? sum_tied(w, unit.block, g, net.shape.vocab) : squares;
    }
    case Unit::Kind::kGains:
      return sum_values(g, net.first_gain, net.gain_values);
    case Unit::Kind::kTable:
      break;
  }
  const int from = unit.block * kBlock, to = at_most(net.shape.vocab, from + kBlock);
  const int columns = net.shape.d();
  double squares = 0;
  for (std::size_t i = static_cast<std::size_t>(from) * columns;
       i < static_cast<std::size_t>(to) * columns; i += kLanes) {
    const Vec a = load(g.table + i);
    squares += static_cast<double>(sum(a * a));
  }
  return squares;
}

// Calls each(gain) for every gain of the network.
template <class Each>
TGO_INLINE void each_gain(const Network& net, const Each& each) {
  for (int i = 0; i < net.shape.layers; i++) {
    const Layer& l = net.layer[i];
    each(l.attention_norm);
    each(l.ffn_norm);
    if (net.shape.reordered_norm) {
      each(l.q_norm);
      each(l.k_norm);
    }
  }
  each(net.norm);
}

template <class T>
void update_unit(void* state, const Network& net, const Unit& unit, const Gradients& g,
                 const UpdateNumbers& n) {
  State<T>& z = *static_cast<State<T>*>(state);
  const Update u{n.p, n.m, n.v, n.scale, n.beta1, n.beta2, n.eps, n.rate, n.root, n.keep};
  const float* own = g.count > 0 ? g.of[0] : nullptr;
  switch (unit.kind) {
    case Unit::Kind::kMatrix:
      update_matrix<T>(u, *unit.matrix, unit.block, own, z.rows16);
      return;
    case Unit::Kind::kGains:
      each_gain(net, [&](const Gain& gain) { update_gain(u, gain, own); });
      return;
    case Unit::Kind::kTable:
      if (u.m != nullptr) {
        const int from = unit.block * kBlock;
        update_table(u, net.table.offset, net.table.param, net.shape.width, net.shape.d(), from,
                     at_most(net.shape.vocab, from + kBlock), g.table);
      }
  }
}

// The first `count` of 16 values to a place in the flat buffer, added to what is there.
TGO_INLINE void put(float* flat, std::int64_t at, int count, const float* values) {
  store_n(flat + at, load_n(flat + at, count) + load(values), count);
}

inline void put_gradients(const Network& net, const Unit& unit, const Gradients& g, float* flat) {
  const float* own = g.of[0];
  switch (unit.kind) {
    case Unit::Kind::kMatrix: {
      const Matrix& w = *unit.matrix;
      const int chunks = w.columns / kLanes;
      for (int r = 0; r < kBlock; r++) {
        const Row row = w.row[unit.block * kBlock + r];
        for (int c = 0; c < chunks && row.offset >= 0; c++) {
          const std::size_t block = static_cast<std::size_t>(unit.block) * (chunks / 2) + c / 2;
          put(flat, row.offset + w.chunk[c].column, w.chunk[c].count,
              own + w.gradient + block * kSquare + r * kBlock + c % 2 * kLanes);
        }
      }
      return;
    }
    case Unit::Kind::kGains:
      each_gain(net, [&](const Gain& gain) {
        for (int c = 0; c < gain.columns / kLanes; c++) {
          put(flat, gain.row.offset + gain.chunk[c].column, gain.chunk[c].count,
              own + gain.gradient + c * kLanes);
        }
      });
      return;
    case Unit::Kind::kTable:
      for (int r = unit.block * kBlock; r < at_most(net.shape.vocab, (unit.block + 1) * kBlock);
           r++) {
        for (int n = 0; n < net.shape.width; n += kLanes) {
          put(flat, net.table.offset + static_cast<std::int64_t>(r) * net.shape.width + n,
              at_most(kLanes, net.shape.width - n),
              g.table + static_cast<std::size_t>(r) * net.shape.d() + n);
        }
      }
  }
}

template <class T>
std::size_t state_bytes(const Setup& setup) {
  State<T> z{};
  return plan_state(setup, nullptr, z) + sizeof(State<T>) + 64;
}

template <class T>
void init(const Setup& setup, void* memory) {
  State<T> z{};
  plan_state(setup, static_cast<char*>(memory) + (sizeof(State<T>) + 63) / 64 * 64, z);
  std::memcpy(memory, &z, sizeof z);
}

inline void prepare() { prepare_thread(); }
inline void release() { release_thread(); }

template <class T>
constexpr Kernels kernels(const char* name) {
  return {
      name,      state_bytes<T>,     init<T>,       prepare,        release,      train<T>, loss<T>,
      decode<T>, embedding_backward, sum_gradients, update_unit<T>, put_gradients};
}

}  // namespace tgo::engine::TGO_ISA

#endif
