// The border of the engine (engine/): shapes, sizes and ids are checked here, before anything runs.
#include <algorithm>
#include <limits>
#include <memory>

#include "engine/run.hh"
#include "guard.hh"

struct tgo_engine {
  std::unique_ptr<tgo::engine::Engine> engine;
};
struct tgo_cache {
  std::unique_ptr<tgo::engine::Cache> cache;
  tgo::engine::Shape shape;
  bool half;
};

namespace tgo {
namespace {

using engine::Batch;
using engine::Engine;
using engine::Options;
using engine::Shape;

constexpr int64_t kLargest = 1 << 24;  // of any dimension

int dimension(int64_t n, const char* name) {
  TORCH_CHECK(n >= 1 && n <= kLargest, name, " is ", n, ", from 1 to ", kLargest, " are possible");
  return static_cast<int>(n);
}

// Sequences, and their tokens, are counted in 32 bits; the rows of a share are those of one
// sequence, or 4,096.
constexpr int kMost = 1 << 24;

Shape shape_of(const tgo_model* m) {
  TORCH_CHECK(m != nullptr, "no model given");
  TORCH_CHECK(m->family == TGO_LLAMA2 || m->family == TGO_OLMO2, "family ", m->family);
  Shape s;
  s.reordered_norm = m->family == TGO_OLMO2;
  s.tied = m->tied != 0;
  s.layers = dimension(m->layers, "layers");
  s.width = dimension(m->width, "width");
  s.heads = dimension(m->heads, "heads");
  s.kv_heads = dimension(m->kv_heads, "kv_heads");
  s.ffn = dimension(m->ffn, "ffn");
  s.vocab = dimension(m->vocab, "vocab");
  s.context = dimension(m->context, "context");
  s.eps = static_cast<float>(m->norm_eps);
  s.theta = m->rope_theta;
  TORCH_CHECK(s.width % s.heads == 0 && s.head_size() % 2 == 0, "width ", s.width, " over ",
              s.heads, " heads gives no even head size");
  TORCH_CHECK(s.heads % s.kv_heads == 0, "heads ", s.heads, " is no multiple of kv_heads ",
              s.kv_heads);
  TORCH_CHECK(s.context <= kMost, "a context of ", s.context, " tokens, at most ", kMost,
              " are possible");
  TORCH_CHECK(s.theta > 0 && s.eps >= std::numeric_limits<float>::min(), "rope_theta ", s.theta,
              ", norm_eps ", m->norm_eps);
  return s;
}

Options options_of(const tgo_engine_options* o) {
  TORCH_CHECK(o != nullptr, "no options given");
  TORCH_CHECK(o->precision == TGO_FLOAT32 || o->precision == TGO_BFLOAT16, "precision ",
              o->precision);
  Options out;
  out.half = o->precision == TGO_BFLOAT16;
  out.threads = dimension(o->threads, "threads");
  TORCH_CHECK(out.threads <= 1024, "threads is ", out.threads, ", at most 1024 are possible");
  out.backward = o->backward != 0;
  out.sequences = dimension(o->sequences, "sequences");
  TORCH_CHECK(out.sequences <= kMost, out.sequences, " sequences, at most ", kMost,
              " are possible");
  out.isa = o->isa == nullptr ? "" : o->isa;
  return out;
}

const at::Tensor& flat_of(const tgo_tensor* t, const char* what) {
  const at::Tensor& x = borrow(t);
  TORCH_CHECK(x.is_cpu() && x.dim() == 1 && x.is_contiguous() && x.scalar_type() == at::kFloat,
              what, " must be a flat float32 tensor in host memory");
  return x;
}

// A buffer that holds every parameter of the engine's model.
const at::Tensor& params_of(const Engine& e, const tgo_tensor* t, const char* what) {
  const at::Tensor& x = flat_of(t, what);
  TORCH_CHECK(x.numel() >= e.values(), what, " has ", x.numel(), " values, the model reaches to ",
              e.values());
  return x;
}

Engine& engine_of(tgo_engine* e) {
  TORCH_CHECK(e != nullptr, "no engine given");
  return *e->engine;
}

// Every id must be a token and every target a token or −1: the engine reads rows of the table by
// them.
Batch batch_of(const Engine& e, const tgo_batch& b) {
  const Shape& s = e.shape();
  Batch out;
  out.ids = b.ids;
  out.targets = b.targets;
  out.sequences = dimension(b.sequences, "sequences");
  out.time = dimension(b.time, "time");
  out.micro = dimension(b.micro, "micro");
  out.divisor = b.divisor;
  out.z_loss = b.z_loss;
  TORCH_CHECK(out.time <= s.context, "a sequence of ", out.time, " tokens, the context has ",
              s.context);
  TORCH_CHECK(out.micro <= e.options().sequences, "a micro-batch of ", out.micro,
              " sequences, the engine was made for ", e.options().sequences);
  TORCH_CHECK(b.ids != nullptr && b.targets != nullptr, "no tokens given");
  for (int64_t i = 0; i < b.sequences * b.time; i++) {
    TORCH_CHECK(b.ids[i] >= 0 && b.ids[i] < s.vocab, "id ", b.ids[i], " of ", s.vocab);
    TORCH_CHECK(b.targets[i] >= -1 && b.targets[i] < s.vocab, "target ", b.targets[i], " of ",
                s.vocab);
  }
  return out;
}

bool same(const Shape& a, const Shape& b) {
  return a.layers == b.layers && a.kv_heads == b.kv_heads && a.e() == b.e() &&
         a.context == b.context;
}

// Checks rows and returns how many results they want, each at most `most`.
int64_t wanted_of(const Engine& e, const engine::Cache& cache, const tgo_row* in, int64_t count,
                  int64_t most) {
  TORCH_CHECK(in != nullptr, "no rows given");
  dimension(count, "rows");
  const int vocab = e.shape().vocab;
  std::vector<bool> seen(static_cast<size_t>(cache.slots()));
  int64_t results = 0;
  for (int64_t i = 0; i < count; i++) {
    const tgo_row& r = in[i];
    TORCH_CHECK(r.slot >= 0 && r.slot < cache.slots(), "slot ", r.slot, " of ", cache.slots());
    TORCH_CHECK(r.id >= 0 && r.id < vocab, "id ", r.id, " of ", vocab);
    const auto slot = static_cast<size_t>(r.slot);
    TORCH_CHECK(!seen[slot] || r.slot == in[i - 1].slot, "the rows of slot ", r.slot,
                " are not one behind the other");
    seen[slot] = true;
    TORCH_CHECK(r.wanted >= 0 && r.wanted <= most, "wanted is ", r.wanted, ", at most ", most);
    results += r.wanted;
  }
  return results;
}

// All rows or none: what a refused row's predecessors took is given back.
std::vector<engine::DecodeRow> rows_of(engine::Cache& cache, const tgo_row* in, int64_t count) {
  std::vector<engine::DecodeRow> rows;
  rows.reserve(static_cast<size_t>(count));
  try {
    for (int64_t i = 0; i < count; i++) {
      rows.push_back(cache.append(in[i].slot, in[i].id));
    }
  } catch (...) {
    for (size_t i = 0; i < rows.size(); i++) {
      cache.take_back(in[i].slot);
    }
    throw;
  }
  return rows;
}

// The engine and cache of a continuation, which belong together.
Engine& decoder_of(tgo_engine* engine, const tgo_cache* cache) {
  Engine& e = engine_of(engine);
  TORCH_CHECK(!e.options().backward, "the engine was made for training");
  TORCH_CHECK(cache != nullptr, "no cache given");
  TORCH_CHECK(e.options().half == cache->half && same(e.shape(), cache->shape),
              "the cache is of another engine's model");
  return e;
}

engine::Drawing drawing_of(const Engine& e, const tgo_drawing* d) {
  TORCH_CHECK(d != nullptr, "it is not said how to draw");
  TORCH_CHECK(d->temperature >= 0 && d->penalty > 0, "temperature ", d->temperature, ", penalty ",
              d->penalty);
  TORCH_CHECK(d->known >= 1 && d->known <= e.shape().vocab, d->known, " tokens of ",
              e.shape().vocab, " may be drawn");
  constexpr double kLog2E = 1.4426950408889634, kSteepest = 1e30;
  engine::Drawing out;
  if (d->temperature > 0) {
    out.scale = static_cast<float>(std::min(kLog2E / d->temperature, kSteepest));
  }
  out.penalty = static_cast<float>(d->penalty);
  out.known = static_cast<int>(d->known);
  return out;
}

void check_divisor(const Batch& b) {
  TORCH_CHECK(b.divisor > 0 && b.z_loss >= 0, "divisor ", b.divisor, ", z_loss ", b.z_loss);
}

void put(const engine::Result& r, tgo_engine_result* out) {
  *out = {r.loss, r.norm, r.updated ? 1 : 0};
}

constexpr const char* kParts[] = {"embedding",
                                  "norm",
                                  "qkv",
                                  "attention",
                                  "out",
                                  "gate_up",
                                  "down",
                                  "head",
                                  "draw",
                                  "cross_entropy",
                                  "head_back",
                                  "down_back",
                                  "gate_up_back",
                                  "out_back",
                                  "attention_back",
                                  "qkv_back",
                                  "norm_back",
                                  "pack",
                                  "weight_gradient",
                                  "embedding_back",
                                  "gradient_sum",
                                  "adamw",
                                  "wait"};
static_assert(std::size(kParts) == static_cast<size_t>(engine::Part::kCount));

}  // namespace
}  // namespace tgo

tgo_status tgo_engine_new(const tgo_model* model, const tgo_engine_options* options,
                          const int64_t* offsets, int64_t count, tgo_engine** out) noexcept {
  return tgo::guard([&] {
    const tgo::Shape s = tgo::shape_of(model);
    const int64_t want = tgo::engine::Plan::count(s);
    TORCH_CHECK(offsets != nullptr && count == want, count, " offsets for ", want, " parameters");
    for (int64_t i = 0; i < count; i++) {
      TORCH_CHECK(offsets[i] >= 0, "offset ", offsets[i]);
    }
    const tgo::Options o = tgo::options_of(options);
    auto engine = std::make_unique<tgo::Engine>(s, o, offsets);
    *out = new tgo_engine{std::move(engine)};
    tgo::count_handles(1);
  });
}

void tgo_engine_free(tgo_engine* engine) noexcept {
  if (engine != nullptr) {
    delete engine;
    tgo::count_handles(-1);
  }
}

const char* tgo_engine_isa(const tgo_engine* engine) noexcept {
  return engine == nullptr ? "" : engine->engine->isa();
}

tgo_status tgo_engine_bytes(const tgo_model* model, const tgo_engine_options* options,
                            int64_t* out) noexcept {
  return tgo::guard([&] {
    const tgo::Shape s = tgo::shape_of(model);
    const tgo::Options o = tgo::options_of(options);
    *out = static_cast<int64_t>(tgo::Engine::bytes(s, o));
  });
}

tgo_status tgo_engine_load(tgo_engine* engine, const tgo_tensor* params) noexcept {
  return tgo::guard([&] {
    tgo::Engine& e = tgo::engine_of(engine);
    e.load(tgo::params_of(e, params, "the parameters").const_data_ptr<float>());
  });
}

tgo_status tgo_engine_step(tgo_engine* engine, tgo_tensor* params, tgo_tensor* m, tgo_tensor* v,
                           tgo_batch batch, tgo_adamw options, double clip, const double* decay,
                           tgo_engine_result* out) noexcept {
  return tgo::guard([&] {
    tgo::Engine& e = tgo::engine_of(engine);
    TORCH_CHECK(e.options().backward, "the engine was made for losses only");
    const at::Tensor &p = tgo::params_of(e, params, "the parameters"),
                     &first = tgo::params_of(e, m, "the first moment"),
                     &second = tgo::params_of(e, v, "the second moment");
    const tgo::Batch b = tgo::batch_of(e, batch);
    tgo::check_divisor(b);
    TORCH_CHECK(options.step >= 1, "the first update is step 1, not ", options.step);
    // Smaller ones are flushed to zero, and a moment of 0 would be divided by 0.
    TORCH_CHECK(options.eps >= std::numeric_limits<float>::min(), "eps ", options.eps);
    TORCH_CHECK(decay != nullptr, "no weight decay given");
    const tgo::engine::Optimizer o{options.lr, options.beta1, options.beta2, options.eps,
                                   clip,       options.step,  decay};
    tgo::put(e.step(p.mutable_data_ptr<float>(), first.mutable_data_ptr<float>(),
                    second.mutable_data_ptr<float>(), b, o),
             out);
  });
}

tgo_status tgo_engine_gradients(tgo_engine* engine, const tgo_tensor* params, tgo_tensor* grads,
                                tgo_batch batch, tgo_engine_result* out) noexcept {
  return tgo::guard([&] {
    tgo::Engine& e = tgo::engine_of(engine);
    TORCH_CHECK(e.options().backward, "the engine was made for losses only");
    const at::Tensor &p = tgo::params_of(e, params, "the parameters"),
                     &g = tgo::params_of(e, grads, "the gradients");
    const tgo::Batch b = tgo::batch_of(e, batch);
    tgo::check_divisor(b);
    tgo::put(e.gradients(p.const_data_ptr<float>(), b, g.mutable_data_ptr<float>()), out);
  });
}

tgo_status tgo_engine_loss(tgo_engine* engine, const tgo_tensor* params, tgo_batch batch,
                           double* out) noexcept {
  return tgo::guard([&] {
    tgo::Engine& e = tgo::engine_of(engine);
    *out = e.loss(tgo::params_of(e, params, "the parameters").const_data_ptr<float>(),
                  tgo::batch_of(e, batch));
  });
}

tgo_status tgo_cache_new(const tgo_engine* engine, int64_t slots, int64_t capacity,
                         tgo_cache** out) noexcept {
  return tgo::guard([&] {
    TORCH_CHECK(engine != nullptr, "no engine given");
    const tgo::Shape& s = engine->engine->shape();
    const bool half = engine->engine->options().half;
    const int own = tgo::dimension(capacity, "capacity"), count = tgo::dimension(slots, "slots");
    TORCH_CHECK(own <= s.context, "a capacity of ", own, " tokens, the context has ", s.context);
    *out = new tgo_cache{std::make_unique<tgo::engine::Cache>(s, half, count, own), s, half};
    tgo::count_handles(1);
  });
}

void tgo_cache_free(tgo_cache* cache) noexcept {
  if (cache != nullptr) {
    delete cache;
    tgo::count_handles(-1);
  }
}

tgo_status tgo_cache_begin(tgo_cache* cache, int64_t slot, int64_t from, int64_t length) noexcept {
  return tgo::guard([&] {
    TORCH_CHECK(cache != nullptr, "no cache given");
    const int64_t slots = cache->cache->slots();
    TORCH_CHECK(slot >= 0 && slot < slots, "slot ", slot, " of ", slots);
    TORCH_CHECK(from < slots && length <= cache->shape.context, "slot ", from, " of ", slots, ", ",
                length, " positions");
    cache->cache->begin(static_cast<int>(slot), static_cast<int>(std::max<int64_t>(from, -1)),
                        static_cast<int>(length));
  });
}

tgo_status tgo_engine_decode(tgo_engine* engine, const tgo_tensor* params, tgo_cache* cache,
                             const tgo_row* rows, int64_t count, float* logits,
                             int64_t logit_count) noexcept {
  return tgo::guard([&] {
    tgo::Engine& e = tgo::decoder_of(engine, cache);
    const float* p = tgo::params_of(e, params, "the parameters").const_data_ptr<float>();
    const int64_t wanted = tgo::wanted_of(e, *cache->cache, rows, count, 1),
                  vocab = e.shape().vocab;
    TORCH_CHECK(logit_count == wanted * vocab && (logits != nullptr || logit_count == 0),
                "room for ", logit_count, " logits, ", wanted, " rows of ", vocab, " are wanted");
    std::vector<tgo::engine::DecodeRow> all = tgo::rows_of(*cache->cache, rows, count);
    for (size_t i = 0; i < all.size(); i++) {
      if (rows[i].wanted != 0) {
        all[i].logits = logits;
        logits += vocab;
      }
    }
    e.decode(p, *cache->cache, all, {});
  });
}

tgo_status tgo_engine_draw(tgo_engine* engine, const tgo_tensor* params, tgo_cache* cache,
                           const tgo_row* rows, int64_t count, const tgo_drawing* drawing,
                           const double* u, int32_t* tokens, int64_t token_count) noexcept {
  return tgo::guard([&] {
    tgo::Engine& e = tgo::decoder_of(engine, cache);
    const float* p = tgo::params_of(e, params, "the parameters").const_data_ptr<float>();
    const tgo::engine::Drawing d = tgo::drawing_of(e, drawing);
    const int64_t wanted = tgo::wanted_of(e, *cache->cache, rows, count, tgo::kLargest);
    TORCH_CHECK(token_count == wanted && ((u != nullptr && tokens != nullptr) || wanted == 0),
                "room for ", token_count, " tokens, ", wanted, " are wanted");
    for (int64_t i = 0; i < wanted; i++) {
      TORCH_CHECK(u[i] >= 0 && u[i] <= 1, "number ", i, " to draw by is ", u[i]);
    }
    std::vector<tgo::engine::DecodeRow> all = tgo::rows_of(*cache->cache, rows, count);
    for (size_t i = 0; i < all.size(); i++) {
      all[i].draws = rows[i].wanted;
      all[i].u = u;
      all[i].tokens = tokens;
      u += rows[i].wanted;
      tokens += rows[i].wanted;
    }
    e.decode(p, *cache->cache, all, d);
  });
}

const char* tgo_engine_part(int32_t part) noexcept {
  return part >= 0 && part < static_cast<int32_t>(std::size(tgo::kParts)) ? tgo::kParts[part]
                                                                          : nullptr;
}

tgo_status tgo_engine_trace(tgo_engine* engine, int64_t capacity) noexcept {
  return tgo::guard([&] {
    TORCH_CHECK(capacity >= 0 && capacity <= tgo::kLargest, "capacity ", capacity);
    tgo::engine_of(engine).trace(static_cast<size_t>(capacity));
  });
}

tgo_status tgo_engine_spans(const tgo_engine* engine, tgo_span* spans, int64_t capacity,
                            int64_t* count) noexcept {
  return tgo::guard([&] {
    TORCH_CHECK(engine != nullptr, "no engine given");
    const auto all = engine->engine->spans();
    for (size_t i = 0; i < all.size() && static_cast<int64_t>(i) < capacity; i++) {
      spans[i] = {all[i].thread, all[i].part, all[i].start, all[i].seconds};
    }
    *count = static_cast<int64_t>(all.size());
  });
}
