// layer.hh: attention and the feed-forward network of one layer with their norms and the residual
// sum.
#include <cmath>

#include "cases.hh"
#include "layout.hh"
#include "problem.hh"
#include "state.hh"
#include "sublayers.hh"

namespace tgo::tests {
namespace {

// What a sub-layer makes of random inputs, by the reference.
struct Answer {
  Values x, d_out, out, dx;
  std::vector<Values> gradients;

  Answer(const Case& c, const Problem& problem, bool attention, bool half, Random& random) {
    const reference::Model& m = c.model;
    const std::int64_t n = static_cast<std::int64_t>(c.sequences) * c.time * m.width;
    x = normal_values(random, n, false);
    d_out = normal_values(random, n, half, 0.1);
    std::vector<Values> w = problem.parameters();
    for (const Values& p : w) {
      gradients.emplace_back(p.size());
    }
    std::size_t first = 1, d_first = 1;
    const reference::Layer l = reference::layer_at(m, w, &first);
    const reference::Layer d = reference::layer_at(m, gradients, &d_first);
    if (attention) {
      reference::Attention a;
      out = a.forward(m, l, x, c.sequences, c.time);
      dx = a.backward(l, d, d_out);
    } else {
      reference::FeedForward f;
      out = f.forward(m, l, x);
      dx = f.backward(l, d, d_out);
    }
  }
};

// Sequences of `time` rows in the engine's rows, each padded to a multiple of 32.
class Rows {
 public:
  explicit Rows(const Case& c)
      : case_(c), time_(engine::padded(c.time)), columns_(engine::padded(c.model.width)) {}
  int count() const { return case_.sequences * time_; }
  int time() const { return time_; }
  int columns() const { return columns_; }
  void put(const Values& x, float* out) const {
    std::fill_n(out, count() * columns_, 0.0F);
    each([&](std::size_t plain, std::size_t ours) { out[ours] = static_cast<float>(x[plain]); });
  }
  Error error(const float* got, const Values& want) const {
    Error e;
    each([&](std::size_t plain, std::size_t ours) {
      e.add(static_cast<double>(got[ours]), want[plain]);
    });
    return e;
  }
  // Whether padding is zero: columns, and with `whole` rows too.
  bool clean(const float* x, bool whole) const {
    std::vector<bool> real(static_cast<std::size_t>(count() * columns_));
    each([&](std::size_t, std::size_t ours) { real[ours] = true; });
    for (std::size_t i = 0; i < real.size(); i++) {
      const bool row = static_cast<int>(i) / columns_ % time_ >= case_.time;
      if (!real[i] && x[i] != 0 && (whole || !row)) {
        return false;
      }
    }
    return true;
  }

 private:
  template <class Each>
  void each(const Each& call) const {
    const int d = case_.model.width;
    for (int m = 0; m < case_.sequences * case_.time; m++) {
      const int row = m / case_.time * time_ + m % case_.time;
      for (int n = 0; n < d; n++) {
        call(static_cast<std::size_t>(m * d + n), static_cast<std::size_t>(row * columns_ + n));
      }
    }
  }
  Case case_;
  int time_, columns_;
};

// Forward and backward, sequence by sequence if `apart`.
void run(const Probe& p, ThreadState& state, const Rows& rows, bool attention, bool apart,
         std::vector<float>& out) {
  const int step = apart ? rows.time() : rows.count();
  PassCall call{state.get(), &state.network(), rows.time(),      0,    step,
                out.data(),  state.dx(),       state.gradient(), false};
  p.place(state.get(), rows.count(), rows.time());
  for (; call.first < rows.count(); call.first += step) {
    (attention ? p.attention : p.feed_forward)(call);
  }
  for (call.first = 0; call.first < rows.count(); call.first += step) {
    call.add = call.first > 0;
    (attention ? p.attention_back : p.feed_forward_back)(call);
  }
}

void sublayer_case(const Probe& p, Report& r, const Case& c, bool attention, std::uint64_t seed) {
  const Problem problem(c, p.half, seed);
  Random random(seed);
  const Answer want(c, problem, attention, p.half, random);
  const Rows rows(c);
  ThreadState state(p, problem.shape(), problem.offsets().data(), rows.count(), rows.time());
  state.load(problem.flat());
  rows.put(want.x, p.stream(state.get(), !attention));
  rows.put(want.d_out, state.dx());
  p.round_gradient(state.get(), state.dx(), rows.count(), rows.columns());
  const engine::Network& net = state.network();
  std::fill_n(state.gradient() + net.first_gain, net.gain_values, 0.0F);
  std::vector<float> out(static_cast<std::size_t>(rows.count() * rows.columns()), NAN);
  run(p, state, rows, attention, seed % 2 == 0, out);

  const std::string name =
      text("%s %s", c.model.olmo2 ? "OLMo-2" : "Llama-2", attention ? "attention" : "feed-forward");
  // Three roundings meet in a result in bfloat16, five and more in a gradient.
  r.begin(name, p.isa, p.half, p.half ? kRoundedTwice : kSingle, c.name());
  r.error("result", rows.error(out.data(), want.out));
  r.expect(rows.clean(out.data(), false), "padding of the result's columns is zero");
  r.begin(name + " back", p.isa, p.half, p.half ? 3e-2 : 2 * kSingle, c.name());
  r.error("dx", rows.error(state.dx(), want.dx));
  r.expect(rows.clean(state.dx(), true), "the padding of dx is zero");

  std::vector<Values> zeros = want.gradients;
  for (Values& v : zeros) {
    v.assign(v.size(), 0);
  }
  std::vector<float> flat = problem.flatten(zeros);
  float* own[] = {state.gradient()};
  std::vector<float> table(static_cast<std::size_t>(net.shape.v() * net.shape.d()));
  for (const engine::Unit& u : state.plan().units()) {
    const engine::Gradients one{own, 1, table.data()};
    p.kernels->sum_gradients(net, u, one);
    p.kernels->put_gradients(net, u, one, flat.data());
  }
  const std::vector<Values> got = problem.unflatten(flat);
  for (std::size_t i = 0; i < got.size(); i++) {
    double size = 0;
    Error e;
    for (std::size_t k = 0; k < got[i].size(); k++) {
      size += want.gradients[i][k] * want.gradients[i][k];
      e.add(got[i][k], want.gradients[i][k]);
    }
    if (size >
        1e-12) {  // a parameter of this sub-layer, and not one whose gradient only rounding makes
      r.error(text("gradient %d", static_cast<int>(i)).c_str(), e);
    }
  }
}

Case shape(bool olmo2, int width, int heads, int kv_heads, int ffn, int time, int sequences) {
  Case c;
  c.model.olmo2 = olmo2;
  c.model.width = width;
  c.model.heads = heads;
  c.model.kv_heads = kv_heads;
  c.model.ffn = ffn;
  c.model.vocab = 7;
  c.time = c.context = time;
  c.sequences = sequences;
  return c;
}

}  // namespace

void sublayer_cases(const Probe& p, Report& r) {
  std::uint64_t seed = 1;
  for (const bool olmo2 : {false, true}) {
    for (const Case& c : {shape(olmo2, 8, 1, 1, 5, 3, 1), shape(olmo2, 32, 2, 1, 32, 32, 2),
                          shape(olmo2, 96, 2, 2, 130, 33, 1), shape(olmo2, 100, 2, 1, 63, 17, 3),
                          shape(olmo2, 128, 1, 1, 64, 40, 2), shape(olmo2, 192, 12, 3, 97, 9, 1),
                          shape(olmo2, 60, 10, 5, 31, 64, 1), shape(olmo2, 64, 8, 1, 200, 65, 2)}) {
      seed++;
      sublayer_case(p, r, c, true, seed);
      sublayer_case(p, r, c, false, seed);
    }
  }
}

}  // namespace tgo::tests
