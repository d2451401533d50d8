// adamw.hh, and the sums over threads and the copies in step.hh.
#include <cmath>

#include "cases.hh"
#include "layout.hh"
#include "problem.hh"
#include "state.hh"

namespace tgo::tests {
namespace {

using engine::Matrix;

std::vector<const Matrix*> matrices(const engine::Network& net) {
  const engine::Layer& l = net.layer[0];
  return {&l.qkv, &l.out, &l.gate_up, &l.down, &net.head};
}
std::vector<const engine::Gain*> gains(const engine::Network& net) {
  const engine::Layer& l = net.layer[0];
  std::vector<const engine::Gain*> all{&l.attention_norm, &l.ffn_norm, &net.norm};
  if (net.shape.reordered_norm) {
    all.insert(all.end(), {&l.q_norm, &l.k_norm});
  }
  return all;
}

// Calls each(place in the flat buffers, place in a thread's gradients) for every value of matrices
// and gains.
template <class Each>
void each_value(const engine::Network& net, const Each& each) {
  auto chunk = [&](const engine::Row& row, const engine::Chunk& c, std::size_t at, int step) {
    for (int i = 0; i < c.count && row.offset >= 0; i++) {
      each(static_cast<std::size_t>(row.offset + c.column + i),
           at + static_cast<std::size_t>(i * step));
    }
  };
  for (const Matrix* w : matrices(net)) {
    for (int m = 0; m < w->rows; m++) {
      for (int n = 0; n < w->columns; n += 16) {
        const std::size_t block = block_index(m - m % 32, n - n % 32, w->columns);
        const int in_block = w->turned ? n % 32 * 32 + m % 32 : m % 32 * 32 + n % 32;
        chunk(w->row[m], w->chunk[n / 16], w->gradient + block + static_cast<std::size_t>(in_block),
              w->turned ? 32 : 1);
      }
    }
  }
  for (const engine::Gain* g : gains(net)) {
    for (int n = 0; n < g->columns; n += 16) {
      chunk(g->row, g->chunk[n / 16], g->gradient + static_cast<std::size_t>(n), 1);
    }
  }
}

// Gradients of some threads and of the embedding's table, and what they amount to.
struct Sums {
  std::vector<std::vector<float>> of_thread;
  std::vector<float*> pointers;
  std::vector<float> table;
  Values flat;  // in the places of the flat buffers

  Sums(const engine::Network& net, std::size_t count, int threads, std::size_t length,
       Random& random)
      : table(static_cast<std::size_t>(net.shape.v() * net.shape.d()), NAN), flat(length) {
    for (int t = 0; t < threads; t++) {
      std::vector<float> g(count);
      each_value(net, [&](std::size_t to, std::size_t from) {
        g[from] = static_cast<float>(random.normal());
        flat[to] += static_cast<double>(g[from]);
      });
      of_thread.push_back(std::move(g));
    }
    for (auto& g : of_thread) {
      pointers.push_back(g.data());
    }
    for (int id = 0; id < net.shape.vocab; id++) {
      for (int n = 0; n < net.shape.d(); n++) {
        float& x = table[static_cast<std::size_t>(id * net.shape.d() + n)];
        x = n < net.shape.width ? static_cast<float>(random.normal()) : 0;
        if (n < net.shape.width) {
          flat[static_cast<std::size_t>(net.table.offset + id * net.shape.width + n)] +=
              static_cast<double>(x);
        }
      }
    }
  }
  engine::Gradients get() {
    return {pointers.data(), static_cast<int>(pointers.size()), table.data()};
  }
};

// Both copies of each matrix hold the parameters, rounded, with zeros in padding.
void check_panels(const Probe& p, Report& r, const engine::Network& net,
                  const std::vector<float>& flat) {
  for (const Matrix* w : matrices(net)) {
    Panels forward(p.half, w->columns, w->rows), backward(p.half, w->rows, w->columns);
    for (int m = 0; m < w->rows; m++) {
      for (int n = 0; n < w->columns; n++) {
        const engine::Chunk& c = w->chunk[n / 16];
        const bool real = w->row[m].offset >= 0 && n % 16 < c.count;
        const double x =
            !real ? 0
                  : static_cast<double>(
                        flat[static_cast<std::size_t>(w->row[m].offset + c.column + n % 16)]);
        forward.put(n, m, x);
        backward.put(m, n, x);
      }
    }
    const std::size_t bytes =
        static_cast<std::size_t>(w->rows) * static_cast<std::size_t>(w->columns) * (p.half ? 2 : 4);
    r.expect(std::memcmp(forward.data(), w->forward, bytes) == 0, "panels of the way forward");
    r.expect(std::memcmp(backward.data(), w->backward, bytes) == 0, "panels of the way back");
  }
  for (const engine::Gain* g : gains(net)) {
    bool ok = true;
    for (int n = 0; n < g->columns; n++) {
      const engine::Chunk& c = g->chunk[n / 16];
      const bool real = n % 16 < c.count;
      ok &= g->value[n] ==
            (real ? flat[static_cast<std::size_t>(g->row.offset + c.column + n % 16)] : 0);
    }
    r.expect(ok, "copies of gains");
  }
}

void sum_case(const Probe& p, Report& r, const ThreadState& state, Sums& sums,
              const Problem& problem) {
  double got = 0, want = 0;
  for (const engine::Unit& u : state.plan().units()) {
    got += p.kernels->sum_gradients(state.network(), u, sums.get());
  }
  for (const double g : sums.flat) {
    want += g * g;
  }
  Error squares, values;
  squares.add(got, want);
  r.error("sum of squares", squares);
  std::vector<float> flat(problem.flat().size(), 0.5F);
  for (const engine::Unit& u : state.plan().units()) {
    p.kernels->put_gradients(state.network(), u, sums.get(), flat.data());
  }
  for (std::size_t i = 0; i < flat.size(); i++) {
    values.add(static_cast<double>(flat[i]) - 0.5, sums.flat[i]);
  }
  r.error("sums", values);
}

// One update against the reference's, parameter by parameter with its own decay.
void update_case(const Probe& p, Report& r, ThreadState& state, Sums& sums, const Problem& problem,
                 Random& random) {
  const reference::AdamW o{0.05, 0.9, 0.97, 1e-3, 0, 0.37, 3};
  engine::UpdateNumbers u;
  std::vector<float> keep, params = problem.flat(), m(params.size()), v(params.size());
  for (std::size_t i = 0; i < m.size(); i++) {
    m[i] = static_cast<float>(random.normal());
    v[i] = static_cast<float>(random.uniform());
  }
  const std::vector<float> m0 = m, v0 = v;
  for (std::size_t i = 0; i < problem.offsets().size(); i++) {
    keep.push_back(static_cast<float>(1 - o.lr * 0.1 * static_cast<double>(i)));
  }
  u.p = params.data();
  u.m = m.data();
  u.v = v.data();
  u.scale = static_cast<float>(o.scale);
  u.beta1 = static_cast<float>(o.beta1);
  u.beta2 = static_cast<float>(o.beta2);
  u.eps = static_cast<float>(o.eps);
  u.rate = static_cast<float>(o.lr / (1 - std::pow(o.beta1, 3)));
  u.root = static_cast<float>(1 / std::sqrt(1 - std::pow(o.beta2, 3)));
  u.keep = keep.data();
  for (const engine::Unit& unit : state.plan().units()) {
    p.kernels->update(state.get(), state.network(), unit, sums.get(), u);
  }
  Error change, first, second;
  std::vector<bool> is(params.size());
  for (std::size_t i = 0; i < keep.size(); i++) {
    reference::AdamW with = o;
    with.decay = 0.1 * static_cast<double>(i);
    const auto from = static_cast<std::size_t>(problem.offsets()[i]);
    for (std::size_t k = from; k < from + problem.parameters()[i].size(); k++) {
      const auto before = static_cast<double>(problem.flat()[k]);
      double x = before, mean = static_cast<double>(m0[k]), square = static_cast<double>(v0[k]);
      reference::adamw(with, 1, &sums.flat[k], &x, &mean, &square);
      change.add(static_cast<double>(params[k]) - before, x - before);
      first.add(static_cast<double>(m[k]), mean);
      second.add(static_cast<double>(v[k]), square);
      is[k] = true;
    }
  }
  for (std::size_t k = 0; k < is.size(); k++) {
    r.expect(is[k] || (params[k] == Problem::kGap && m[k] == m0[k] && v[k] == v0[k]),
             "between parameters nothing changes");
  }
  r.error("change of p", change);
  r.error("m", first);
  r.error("v", second);
  check_panels(p, r, state.network(), params);
}

void parameter_case(const Probe& p, Report& r, const Case& c, int threads) {
  const Problem problem(c, false, static_cast<std::uint64_t>(c.model.width));
  Random random(static_cast<std::uint64_t>(threads));
  ThreadState state(p, problem.shape(), problem.offsets().data(), 32, 32);
  Sums sums(state.network(), state.plan().gradient_values(), threads, problem.flat().size(),
            random);
  r.begin("load", p.isa, p.half, 0, c.name());
  state.load(problem.flat());
  check_panels(p, r, state.network(), problem.flat());
  r.begin("sum, put gradients", p.isa, p.half, 1e-6,
          text("%s, %d threads", c.name().c_str(), threads));
  sum_case(p, r, state, sums, problem);
  r.begin("adamw", p.isa, p.half, kSingle, c.name());
  update_case(p, r, state, sums, problem, random);
}

}  // namespace

void update_cases(const Probe& p, Report& r) {
  int threads = 1;
  for (const bool olmo2 : {false, true}) {
    for (const bool tied : {false, true}) {
      for (const int width : {8, 36, 96}) {
        Case c;
        c.model.olmo2 = olmo2;
        c.model.tied = tied;
        c.model.width = width;
        c.model.heads = 2;
        c.model.kv_heads = width == 36 ? 1 : 2;
        c.model.ffn = width + 13;
        c.model.vocab = 2 * width - 3;
        c.context = c.time = 32;
        parameter_case(p, r, c, 1 + threads++ % 3);
      }
    }
  }
}

}  // namespace tgo::tests
