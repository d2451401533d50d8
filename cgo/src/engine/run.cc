#include "run.hh"

#include <immintrin.h>

#include <algorithm>
#include <atomic>
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
// Gradients of a small model are read and written once more for little. It is cut into so many
// shares for each thread, where there are sequences enough, that a slow core can take fewer of them
// than a fast one; larger models into one for each thread. And the rows of a share at most.
constexpr std::size_t kSmallGradients = std::size_t{8} << 20;
constexpr int kSmallShares = 4;
constexpr int kSmallShareRows = 256, kShareRows = 4096;

bool small(std::size_t gradient_values) {
  return gradient_values * sizeof(float) <= kSmallGradients;
}

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

std::size_t dx_bytes(const Setup& s, const Options& o) {
  return static_cast<std::size_t>(o.sequences) * static_cast<std::size_t>(s.time) * s.shape.d() *
         sizeof(float);
}

}  // namespace

Cache::Cache(const Shape& shape, bool half, int slots, int capacity)
    : capacity_((capacity + 15) / 16 * 16),
      context_(shape.context),
      slot_bytes_(2 * static_cast<std::size_t>(shape.layers) *
                  static_cast<std::size_t>(shape.kv_heads) * static_cast<std::size_t>(capacity_) *
                  static_cast<std::size_t>(shape.e()) * (half ? 2 : 4)),
      slots_(static_cast<std::size_t>(slots)),
      ids_(static_cast<std::size_t>(slots) * static_cast<std::size_t>(capacity_)),
      memory_(slot_bytes_ * static_cast<std::size_t>(slots)) {}

void Cache::begin(int slot, int from, int length) {
  Slot& s = at(slot);
  if (s.sharers > 0) {
    throw std::invalid_argument("slot " + std::to_string(slot) + " is what " +
                                std::to_string(s.sharers) + " others go on from");
  }
  if (from >= 0) {
    const Slot& f = at(from);
    if (from == slot || f.shared > 0 || length < 1 || length > f.length) {
      throw std::invalid_argument("slot " + std::to_string(slot) + " cannot go on from " +
                                  std::to_string(length) + " positions of slot " +
                                  std::to_string(from));
    }
  }
  if (s.from >= 0) {
    at(s.from).sharers--;
  }
  s = Slot{};
  if (from >= 0) {
    s.length = s.shared = length;
    s.from = from;
    at(from).sharers++;
  }
}

DecodeRow Cache::append(int slot, std::int32_t id) {
  Slot& s = at(slot);
  if (s.length >= context_ || s.length - s.shared >= capacity_) {
    throw std::invalid_argument("slot " + std::to_string(slot) + " is full at " +
                                std::to_string(s.length) + " tokens");
  }
  DecodeRow row;
  row.id = id;
  row.position = s.length++;
  row.own = start(slot);
  row.own_ids = ids(slot);
  ids(slot)[row.position - s.shared] = id;
  row.prefix = s.from >= 0 ? start(s.from) : row.own;
  row.prefix_ids = s.from >= 0 ? ids(s.from) : row.own_ids;
  row.prefix_length = s.shared;
  return row;
}

Setup Engine::setup(const Shape& shape, const Options& options, std::size_t gradient_values) {
  Setup s;
  s.shape = shape;
  s.time = padded(shape.context);
  // Activations that go there and back before they leave the cache, or, where gradients are too
  // many to be read again so often, as many rows as memory allows.
  const bool few = !options.backward || small(gradient_values);
  const int most = std::max((few ? kSmallShareRows : kShareRows) / s.time, 1);
  const int enough = options.threads * (few ? kSmallShares : 1);
  s.rows = std::min(most, (options.sequences + enough - 1) / enough) * s.time;
  s.chunk_rows = std::min(s.rows, std::max(kChunkRows / s.time, 1) * s.time);
  s.head_rows =
      std::min(s.chunk_rows, shape.vocab > kLargeVocabulary ? kChunkRows / 2 : kChunkRows);
  s.backward = options.backward;
  return s;
}

// How many times there is room for all gradients.
int Engine::sums(const Setup& setup, const Options& options, std::size_t gradient_values) {
  if (!options.backward) {
    return 1;
  }
  const int of_share = setup.rows / setup.time;
  const int shares = (options.sequences + of_share - 1) / of_share;
  const bool one_more = options.threads > 1 && small(gradient_values);
  return std::min(shares, options.threads + (one_more ? 1 : 0));
}

Engine::Engine(const Shape& shape, const Options& options, const std::int64_t* offsets)
    : options_(options),
      kernels_(kernels_or_throw(options)),
      plan_(shape, offsets, options.half ? 2 : 4),
      setup_(setup(shape, options, plan_.gradient_values())),
      workers_(static_cast<std::size_t>(options.threads)),
      sums_(static_cast<std::size_t>(sums(setup_, options, plan_.gradient_values()))),
      chains_(static_cast<int>(sums_.size())),
      adding_(divide_units()),
      updating_(divide_units()),
      squares_(plan_.units().size()),
      barrier_(options.threads),
      pool_(options.threads) {
  options_.isa = kernels_->name;
  if (options.backward) {
    table_gradient_ = std::make_unique<Memory>(table_bytes(shape));
    dx_ = std::make_unique<Memory>(dx_bytes(setup_, options));
    for (Sum& s : sums_) {
      s.gradient = std::make_unique<Memory>(plan_.gradient_values() * sizeof(float));
    }
  }
  const std::size_t bytes = kernels_->state_bytes(setup_);
  for (Worker& w : workers_) {
    w.memory = std::make_unique<Memory>(bytes);
    kernels_->init(setup_, w.memory->get());
  }
}

std::size_t Engine::bytes(const Shape& shape, const Options& options) {
  const Kernels* k = kernels_or_throw(options);
  const int word_bytes = options.half ? 2 : 4;
  const std::size_t panels = Plan::panel_bytes(shape, word_bytes);
  // Gradients have the panels' values, once, and the gains.
  const std::size_t gains =
      static_cast<std::size_t>(shape.layers) *
          (2 * shape.d() + (shape.reordered_norm ? shape.q() + shape.k() : 0)) +
      shape.d();
  const std::size_t values = panels / (2 * static_cast<std::size_t>(word_bytes)) + gains;
  const Setup s = setup(shape, options, values);
  const std::size_t bytes = panels + static_cast<std::size_t>(options.threads) * k->state_bytes(s);
  if (!options.backward) {
    return bytes;
  }
  return bytes + table_bytes(shape) + dx_bytes(s, options) +
         static_cast<std::size_t>(sums(s, options, values)) * values * sizeof(float);
}

// Contiguous runs of units, of about the same number of values each: where each ends.
std::vector<int> Engine::divide_units() const {
  const Shape& s = shape();
  std::vector<std::size_t> cost;
  std::size_t total = 0;
  for (const Unit& u : plan_.units()) {
    const int columns = u.kind == Unit::Kind::kMatrix ? u.matrix->columns : s.d();
    total += static_cast<std::size_t>(columns);
    cost.push_back(total);
  }
  const auto n = static_cast<std::size_t>(options_.threads);
  std::vector<int> ends;
  for (std::size_t part = 1; part <= n; part++) {
    const auto end = std::upper_bound(cost.begin(), cost.end(), total * part / n);
    ends.push_back(static_cast<int>(part == n ? cost.size() : end - cost.begin()));
  }
  return ends;
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

int Engine::shares(int sequences) const {
  const int of_share = setup_.rows / setup_.time;
  return (sequences + of_share - 1) / of_share;
}

// Share `index` of sequences first … first + count of a batch.
Share Engine::share(const Batch& b, int first, int count, int index) const {
  const int of_share = setup_.rows / setup_.time, from = index * of_share;
  const std::size_t at = static_cast<std::size_t>(first + from) * b.time;
  return {b.ids + at, b.targets + at, std::min(of_share, count - from), b.time};
}

// The threads are about to take shares of the micro-batch that starts at sequence `first`.
void Engine::begin_shares(const Batch& b, int first) {
  chains_.reset(shares(std::min(b.micro, b.sequences - first)));
}

void Engine::load(const float* params) {
  UpdateNumbers numbers;
  numbers.p = const_cast<float*>(params);  // without moments nothing is written
  updating_.reset();
  run([&](int thread) { update(thread, Gradients{}, numbers); });
}

void Engine::update(int thread, const Gradients& gradients, const UpdateNumbers& numbers) {
  Worker& w = workers_[static_cast<std::size_t>(thread)];
  for (int i = updating_.take(thread); i >= 0; i = updating_.take(thread)) {
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
void Engine::scatter(int thread, const Batch& b, int first, int count) {
  const int columns = shape().d(), rows = padded(b.time);
  const auto [from, to] = columns_of(thread);
  const auto* dx = static_cast<const float*>(dx_->get());
  auto* table = static_cast<float*>(table_gradient_->get());
  for (int i = 0; i < count; i++) {
    kernels_->embedding_backward(dx + static_cast<std::size_t>(i) * static_cast<std::size_t>(rows) *
                                          static_cast<std::size_t>(columns),
                                 b.ids + static_cast<std::size_t>(first + i) * b.time, b.time,
                                 columns, from, to, table);
  }
  mark(workers_[static_cast<std::size_t>(thread)], Part::kEmbeddingBack);
}

// Shares of sequences first … first + count, as long as there are any.
void Engine::micro_batch(int thread, const Shared& shared, int first, int count) {
  Worker& w = workers_[static_cast<std::size_t>(thread)];
  const Batch& b = *shared.batch;
  auto* dx = static_cast<float*>(dx_->get());
  const std::size_t values = static_cast<std::size_t>(setup_.rows / setup_.time) *
                             static_cast<std::size_t>(padded(b.time)) *
                             static_cast<std::size_t>(shape().d());
  for (Chains::Item i = chains_.take(thread, -1); i.chain >= 0; i = chains_.take(thread, i.chain)) {
    Sum& sum = sums_[static_cast<std::size_t>(i.chain)];
    Share mine = share(b, first, count, i.item);
    mine.dx = dx + static_cast<std::size_t>(i.item) * values;
    mine.gradient = static_cast<float*>(sum.gradient->get());
    mine.fresh = sum.fresh;
    sum.fresh = false;
    sum.loss +=
        kernels_->train(w.memory->get(), plan_.network(), mine, shared.table,
                        static_cast<float>(b.z_loss), static_cast<float>(1.0 / b.divisor), w.clock);
  }
}

void Engine::accumulate(int thread, Shared& shared) {
  const Batch& b = *shared.batch;
  clear_table(thread);
  for (int first = 0; first < b.sequences; first += b.micro) {
    const int count = std::min(b.micro, b.sequences - first);
    micro_batch(thread, shared, first, count);
    wait(thread);
    if (thread == 0 && first + b.micro < b.sequences) {
      begin_shares(b, first + b.micro);
    }
    scatter(thread, b, first, count);
    wait(thread);  // all rows' gradients have been read
  }
  add_up(thread, shared);
}

void Engine::add_up(int thread, Shared& shared) {
  for (int i = adding_.take(thread); i >= 0; i = adding_.take(thread)) {
    const auto at = static_cast<std::size_t>(i);
    squares_[at] = kernels_->sum_gradients(plan_.network(), plan_.units()[at], shared.gradients);
  }
  mark(workers_[static_cast<std::size_t>(thread)], Part::kSum);
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

// Which sums will have gradients is known beforehand: as many as the largest micro-batch has
// shares.
void Engine::begin(const float* params, const Batch& batch, Shared& shared) {
  shared.table = params + plan_.network().table.offset;
  shared.batch = &batch;
  const auto used = static_cast<std::size_t>(shares(std::min(batch.micro, batch.sequences)));
  for (std::size_t i = 0; i < sums_.size(); i++) {
    sums_[i].fresh = true;
    sums_[i].loss = 0;
    if (i < used) {
      shared.of_sum.push_back(static_cast<float*>(sums_[i].gradient->get()));
    }
  }
  shared.gradients = {shared.of_sum.data(), static_cast<int>(shared.of_sum.size()),
                      static_cast<float*>(table_gradient_->get())};
  begin_shares(batch, 0);
  adding_.reset();
  updating_.reset();
}

Result Engine::finish(const Shared& shared) const {
  Result r;
  for (const Sum& s : sums_) {
    r.loss += s.loss;
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
  const int count = shares(batch.sequences);
  std::vector<double> losses(static_cast<std::size_t>(count));
  std::atomic<int> next{0};
  run([&](int thread) {
    Worker& w = workers_[static_cast<std::size_t>(thread)];
    for (int i = next.fetch_add(1); i < count; i = next.fetch_add(1)) {
      losses[static_cast<std::size_t>(i)] = kernels_->loss(
          w.memory->get(), plan_.network(), share(batch, 0, batch.sequences, i), table, w.clock);
    }
  });
  double sum = 0;
  for (const double l : losses) {
    sum += l;
  }
  return sum;
}

// Items of rows, whole slots each where they fit: small enough that every thread has some.
void Engine::decode(const float* params, const Cache& cache, const std::vector<DecodeRow>& rows,
                    const Drawing& drawing) {
  const float* table = params + plan_.network().table.offset;
  const int count = static_cast<int>(rows.size()), enough = options_.threads * kSmallShares;
  const int size = std::min(kDecodeRows, padded((count + enough - 1) / enough));
  std::vector<int> ends;
  for (int i = 0, start = 0; i < count; i++) {
    const bool slot_ends = i + 1 == count || rows[static_cast<std::size_t>(i)].own !=
                                                 rows[static_cast<std::size_t>(i) + 1].own;
    if (slot_ends && (i + 1 == count || i + 1 - start >= size)) {
      ends.push_back(i + 1);
      start = i + 1;
    }
  }
  std::atomic<std::size_t> next{0};
  run([&](int thread) {
    Worker& w = workers_[static_cast<std::size_t>(thread)];
    for (std::size_t i = next.fetch_add(1); i < ends.size(); i = next.fetch_add(1)) {
      const int start = i == 0 ? 0 : ends[i - 1];
      kernels_->decode(w.memory->get(), plan_.network(), rows.data() + start, ends[i] - start,
                       cache.capacity(), table, drawing, w.clock);
    }
  });
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
