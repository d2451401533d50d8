#include "run.hh"

#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <stdexcept>
#include <string>

#include "features.hh"

namespace tgo::engine {
namespace {

// Rows that go through a layer at once, where sequences are shorter; and through the output layer.
constexpr int kChunkRows = 256;
constexpr int kLargeVocabulary = 4096;
// Rows that go forward and backward before the next ones do.
constexpr std::size_t kSmallGradients = std::size_t{8} << 20;
constexpr int kSmallGroupRows = 512, kGroupRows = 4096;

// Small numbers are flushed to zero while the engine computes: they cost a hundred cycles each.
class FlushDenormals {
 public:
  FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
  ~FlushDenormals() { _mm_setcsr(before_); }
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
  unsigned before_;
};

const Kernels* kernels_or_throw(const Options& o) {
  const Kernels* k = choose_kernels(o.isa, o.half);
  if (k == nullptr) {
    throw std::invalid_argument(std::string("this processor has no instruction set \"") +
                                (o.isa == nullptr ? "" : o.isa) +
                                "\" that the engine can use: amx, avx512_bf16, avx512 or avx2");
  }
  return k;
}

// The same moment on both clocks: read again when the thread lost its core in between.
Moment now() {
  using std::chrono::steady_clock;
  Moment m;
  for (int i = 0; i < 100; i++) {
    m.time = steady_clock::now();
    m.ticks = __rdtsc();
    if (steady_clock::now() - m.time < std::chrono::microseconds(10)) {
      break;
    }
  }
  return m;
}

std::size_t table_bytes(const Shape& s) {
  return static_cast<std::size_t>(s.v()) * s.d() * sizeof(float);
}

}  // namespace

Setup Engine::setup(const Shape& shape, const Options& options, std::size_t gradient_values) {
  Setup s;
  s.shape = shape;
  s.time = padded(shape.context);
  const int share = (options.sequences + options.threads - 1) / options.threads;
  s.rows = share * s.time;
  s.chunk_rows = std::min(s.rows, std::max(kChunkRows / s.time, 1) * s.time);
  // Activations that go there and back before they leave the cache, or, where gradients are too
  // many to be read again so often, as many rows as memory allows.
  const bool small = gradient_values * sizeof(float) <= kSmallGradients;
  const int group = small ? kSmallGroupRows : kGroupRows;
  s.group_rows = std::min(s.rows, std::max(group / s.time, 1) * s.time);
  s.chunk_rows = std::min(s.chunk_rows, s.group_rows);
  s.head_rows =
      std::min(s.chunk_rows, shape.vocab > kLargeVocabulary ? kChunkRows / 2 : kChunkRows);
  s.backward = options.backward;
  s.gradient_values = options.backward ? gradient_values : 0;
  return s;
}

Engine::Engine(const Shape& shape, const Options& options, const std::int64_t* offsets)
    : options_(options),
      kernels_(kernels_or_throw(options)),
      plan_(shape, offsets, options.half ? 2 : 4),
      setup_(setup(shape, options, plan_.gradient_values())),
      workers_(static_cast<std::size_t>(options.threads)),
      squares_(plan_.units().size()),
      barrier_(options.threads),
      pool_(options.threads) {
  options_.isa = kernels_->name;
  divide_units();
  if (options.backward) {
    table_gradient_ = std::make_unique<Memory>(table_bytes(shape));
  }
  const std::size_t bytes = kernels_->state_bytes(setup_);
  for (Worker& w : workers_) {
    w.memory = std::make_unique<Memory>(bytes);
    kernels_->init(setup_, w.memory->get(), &w.gradient, &w.dx, &w.ids);
  }
}

std::size_t Engine::bytes(const Shape& shape, const Options& options) {
  const Kernels* k = kernels_or_throw(options);
  const std::vector<std::int64_t> offsets(static_cast<std::size_t>(Plan::count(shape)));
  const int word_bytes = options.half ? 2 : 4;
  const std::size_t panels = Plan::panel_bytes(shape, word_bytes);
  // Gradients have the panels' values, once, and the gains.
  const std::size_t gains =
      static_cast<std::size_t>(shape.layers) *
          (2 * shape.d() + (shape.reordered_norm ? shape.q() + shape.k() : 0)) +
      shape.d();
  const Setup s =
      setup(shape, options, panels / (2 * static_cast<std::size_t>(word_bytes)) + gains);
  return panels + static_cast<std::size_t>(options.threads) * k->state_bytes(s) +
         (options.backward ? table_bytes(shape) : 0);
}

// Contiguous runs of units, of about the same number of values each.
void Engine::divide_units() {
  const Shape& s = shape();
  std::vector<std::size_t> cost;
  std::size_t total = 0;
  for (const Unit& u : plan_.units()) {
    const int columns = u.kind == Unit::Kind::kMatrix ? u.matrix->columns : s.d();
    total += static_cast<std::size_t>(columns);
    cost.push_back(total);
  }
  const auto n = workers_.size();
  for (std::size_t i = 0; i < n; i++) {
    auto at = [&](std::size_t part) {
      return static_cast<int>(std::upper_bound(cost.begin(), cost.end(), total * part / n) -
                              cost.begin());
    };
    workers_[i].first_unit = i == 0 ? 0 : workers_[i - 1].last_unit;
    workers_[i].last_unit = i + 1 == n ? static_cast<int>(cost.size()) : at(i + 1);
  }
}

void Engine::run(const std::function<void(int)>& task) {
  const std::function<void(int)> prepared = [&](int thread) {
    const FlushDenormals flush;
    kernels_->prepare_thread();
    workers_[static_cast<std::size_t>(thread)].clock.last = __rdtsc();
    task(thread);
    kernels_->release_thread();
  };
  pool_.run(prepared);
}

void Engine::mark(Worker& w, Part part) const {
  const std::uint64_t now = __rdtsc();
  Clock& c = w.clock;
  c.spent[static_cast<int>(part)] += now - c.last;
  if (c.traced < c.capacity) {
    c.trace[c.traced++] = Stretch{part, c.last, now};
  }
  c.last = now;
}

void Engine::wait(int thread) {
  barrier_.wait();
  mark(workers_[static_cast<std::size_t>(thread)], Part::kWait);
}

// Sequences first … first + count of a batch are divided among the threads.
Share Engine::share(const Batch& b, int first, int count, int thread) const {
  const int threads = options_.threads;
  const int from = static_cast<int>(static_cast<std::int64_t>(count) * thread / threads);
  const int to = static_cast<int>(static_cast<std::int64_t>(count) * (thread + 1) / threads);
  const std::size_t at = static_cast<std::size_t>(first + from) * b.time;
  return {b.ids + at, b.targets + at, to - from, b.time};
}

void Engine::load(const float* params) {
  UpdateNumbers numbers;
  numbers.p = const_cast<float*>(params);  // without moments nothing is written
  run([&](int thread) { update(thread, Gradients{}, numbers); });
}

void Engine::update(int thread, const Gradients& gradients, const UpdateNumbers& numbers) {
  Worker& w = workers_[static_cast<std::size_t>(thread)];
  for (int i = w.first_unit; i < w.last_unit; i++) {
    kernels_->update(w.memory->get(), plan_.network(), plan_.units()[static_cast<std::size_t>(i)],
                     gradients, numbers);
  }
  mark(w, Part::kAdamW);
}

// The columns of the table's gradient that a thread looks after.
Engine::Columns Engine::columns_of(int thread) const {
  const int parts = shape().d() / 16, n = options_.threads;
  return {parts * thread / n * 16, parts * (thread + 1) / n * 16};
}

void Engine::clear_table(int thread) {
  const auto [from, to] = columns_of(thread);
  const auto d = static_cast<std::size_t>(shape().d());
  auto* table = static_cast<float*>(table_gradient_->get());
  for (int r = 0; r < shape().vocab && to > from; r++) {
    std::fill(table + r * d + from, table + r * d + to, 0.0F);
  }
  mark(workers_[static_cast<std::size_t>(thread)], Part::kEmbeddingBack);
}

// Every thread adds all rows' gradients to its own columns of the table's.
void Engine::scatter(int thread) {
  const int columns = shape().d();
  const auto [from, to] = columns_of(thread);
  auto* table = static_cast<float*>(table_gradient_->get());
  for (const Worker& other : workers_) {
    kernels_->embedding_backward(other.dx, other.ids, other.rows, columns, from, to, table);
  }
  mark(workers_[static_cast<std::size_t>(thread)], Part::kEmbeddingBack);
}

void Engine::accumulate(int thread, Shared& shared) {
  Worker& w = workers_[static_cast<std::size_t>(thread)];
  const Batch& b = *shared.batch;
  const int rows_of = padded(b.time);
  w.loss = 0;
  w.fresh = true;
  clear_table(thread);
  for (int first = 0; first < b.sequences; first += b.micro) {
    const int count = std::min(b.micro, b.sequences - first);
    const Share mine = share(b, first, count, thread);
    w.rows = mine.sequences * rows_of;
    if (mine.sequences > 0) {
      w.loss += kernels_->micro_batch(w.memory->get(), plan_.network(), mine, shared.table,
                                      static_cast<float>(b.z_loss),
                                      static_cast<float>(1.0 / b.divisor), w.fresh, w.clock);
      w.fresh = false;
    }
    wait(thread);
    scatter(thread);
    if (first + b.micro < b.sequences) {
      wait(thread);  // the rows' gradients are about to be overwritten
    }
  }
  wait(thread);
  add_up(thread, shared);
}

void Engine::add_up(int thread, Shared& shared) {
  Worker& w = workers_[static_cast<std::size_t>(thread)];
  for (int i = w.first_unit; i < w.last_unit; i++) {
    const auto at = static_cast<std::size_t>(i);
    squares_[at] = kernels_->sum_gradients(plan_.network(), plan_.units()[at], shared.gradients);
  }
  mark(w, Part::kSum);
  wait(thread);
}

Result Engine::step(float* params, float* m, float* v, const Batch& batch, const Optimizer& o) {
  Shared shared;
  begin(params, batch, shared);
  std::vector<float> keep(static_cast<std::size_t>(parameters()));
  for (std::size_t i = 0; i < keep.size(); i++) {
    keep[i] = static_cast<float>(1.0 - o.lr * o.decay[i]);
  }
  run([&](int thread) {
    accumulate(thread, shared);
    const Result r = finish(shared);  // the same on every thread
    if (thread == 0) {
      shared.result = r;
    }
    if (!r.updated) {
      return;
    }
    UpdateNumbers u;
    const auto t = static_cast<double>(o.step);
    u.p = params;
    u.m = m;
    u.v = v;
    u.scale = static_cast<float>(o.clip > 0 ? std::min(1.0, o.clip / (r.norm + 1e-6)) : 1.0);
    u.beta1 = static_cast<float>(o.beta1);
    u.beta2 = static_cast<float>(o.beta2);
    u.eps = static_cast<float>(o.eps);
    u.rate = static_cast<float>(o.lr / (1.0 - std::pow(o.beta1, t)));
    u.root = static_cast<float>(1.0 / std::sqrt(1.0 - std::pow(o.beta2, t)));
    u.keep = keep.data();
    update(thread, shared.gradients, u);
  });
  return shared.result;
}

Result Engine::gradients(const float* params, const Batch& batch, float* grads) {
  Shared shared;
  begin(params, batch, shared);
  run([&](int thread) {
    accumulate(thread, shared);
    if (thread == 0) {
      shared.result = finish(shared);
      shared.result.updated = false;
      for (const Unit& u : plan_.units()) {
        kernels_->put_gradients(plan_.network(), u, shared.gradients, grads);
      }
    }
  });
  return shared.result;
}

// Which threads will have gradients is known beforehand: those with a sequence in any micro-batch.
void Engine::begin(const float* params, const Batch& batch, Shared& shared) {
  shared.table = params + plan_.network().table.offset;
  shared.batch = &batch;
  for (int i = 0; i < options_.threads; i++) {
    bool any = false;
    for (int first = 0; first < batch.sequences; first += batch.micro) {
      any |= share(batch, first, std::min(batch.micro, batch.sequences - first), i).sequences > 0;
    }
    if (any) {
      shared.of_thread.push_back(workers_[static_cast<std::size_t>(i)].gradient);
    }
  }
  shared.gradients = {shared.of_thread.data(), static_cast<int>(shared.of_thread.size()),
                      static_cast<float*>(table_gradient_->get())};
}

Result Engine::finish(const Shared& shared) const {
  Result r;
  for (const Worker& w : workers_) {
    r.loss += w.loss;
  }
  r.loss /= shared.batch->divisor;
  double squares = 0;
  for (const double s : squares_) {
    squares += s;
  }
  r.norm = std::sqrt(squares);
  r.updated = std::isfinite(r.loss) && std::isfinite(r.norm);
  return r;
}

double Engine::loss(const float* params, const Batch& batch) {
  const float* table = params + plan_.network().table.offset;
  run([&](int thread) {
    Worker& w = workers_[static_cast<std::size_t>(thread)];
    w.loss = 0;
    for (int first = 0; first < batch.sequences; first += batch.micro) {
      const Share mine =
          share(batch, first, std::min(batch.micro, batch.sequences - first), thread);
      if (mine.sequences > 0) {
        w.loss += kernels_->loss(w.memory->get(), plan_.network(), mine, table, w.clock);
      }
    }
  });
  double sum = 0;
  for (const Worker& w : workers_) {
    sum += w.loss;
  }
  return sum;
}

void Engine::trace(std::size_t capacity) {
  trace_start_ = now();
  for (Worker& w : workers_) {
    w.trace.assign(capacity, Stretch{});
    w.clock.trace = w.trace.data();
    w.clock.capacity = capacity;
    w.clock.traced = 0;
  }
}

std::vector<Span> Engine::spans() const {
  std::vector<Span> out;
  const Moment end = now();
  const std::chrono::duration<double> passed = end.time - trace_start_.time;
  const double tick = passed.count() / static_cast<double>(end.ticks - trace_start_.ticks);
  for (std::size_t i = 0; i < workers_.size(); i++) {
    const Clock& c = workers_[i].clock;
    for (std::size_t k = 0; k < c.traced; k++) {
      const Stretch& s = c.trace[k];
      out.push_back({static_cast<int>(i), static_cast<int>(s.part),
                     static_cast<double>(s.start - trace_start_.ticks) * tick,
                     static_cast<double>(s.end - s.start) * tick});
    }
  }
  return out;
}

const Kernels* choose_kernels(const char* name, bool half) {
  struct Candidate {
    const char* name;
    bool here;
    const Kernels* (*get)(bool);
  };
  const Features f = features();
  const Candidate all[] = {{"amx", f.amx_bf16, kernels_amx},
                           {"avx512_bf16", f.avx512_bf16, kernels_avx512_bf16},
                           {"avx512", f.avx512, kernels_avx512},
                           {"avx2", f.avx2, kernels_avx2}};
  const std::string wanted = name == nullptr ? "" : name;
  for (const Candidate& c : all) {
    if (c.here && (wanted.empty() || wanted == c.name)) {
      return c.get(half);
    }
  }
  return nullptr;
}

}  // namespace tgo::engine
