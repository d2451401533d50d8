// Runs the C ABI under AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer: a training
// step's operations over odd shapes, every one of them failing at every call, and nothing left.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "../../tgo.h"

namespace {

int failures = 0;

void expect(bool ok, const char* what, const char* detail = "") {
  if (!ok) {
    std::fprintf(stderr, "FAIL: %s %s\n", what, detail);
    failures++;
  }
}

// Owns the tensors of one step and remembers the first error, as package torch's scope does.
class Scope {
 public:
  ~Scope() { tgo_tensors_free(tensors_.data(), static_cast<int64_t>(tensors_.size())); }
  bool failed() const { return failed_; }

  template <class Call>
  tgo_tensor* run(const Call& call) {
    tgo_out out{};
    if (failed_ || !check(call(&out))) {
      return nullptr;
    }
    tensors_.push_back(out.tensor);
    return out.tensor;
  }

  template <class Call>
  void act(const Call& call) {
    if (!failed_) {
      check(call());
    }
  }

 private:
  bool check(tgo_status status) {
    failed_ = status.code != TGO_OK;
    expect(failed_ == (status.message != nullptr), "a message comes with a failure and only then");
    tgo_status_free(status);
    return !failed_;
  }

  std::vector<tgo_tensor*> tensors_;
  bool failed_ = false;
};

struct Shape {
  int64_t batch, time, heads, groups, size, ffn, vocab;
  bool bf16;
};

std::vector<float> numbers(int64_t n, int64_t seed) {
  std::vector<float> out(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; i++) {
    out[static_cast<size_t>(i)] = std::sin(static_cast<float>(i * 37 + seed)) * 0.3F;
  }
  return out;
}

// One layer with its loss, backward and update; every native call of a training step.
void step(const Shape& c, Scope* s, double* norm) {
  const int64_t width = c.heads * c.size, rows = c.batch * c.time;
  const int64_t kv = c.groups * c.size,
                total = width * (2 * width + 2 * kv + 3 * c.ffn + 2 * c.vocab + 1);
  const auto flat = [&](int32_t type) {
    return s->run([&](tgo_out* out) { return tgo_zeros(type, &total, 1, out); });
  };
  tgo_tensor *params = flat(TGO_FLOAT32), *grads = flat(TGO_FLOAT32), *m = flat(TGO_FLOAT32);
  tgo_tensor *v = flat(TGO_FLOAT32), *copy = c.bf16 ? flat(TGO_BFLOAT16) : nullptr;
  const std::vector<float> start = numbers(total, 1);
  s->act([&] { return tgo_write_float32(params, 0, start.data(), total); });
  if (copy != nullptr) {
    s->act([&] { return tgo_flat_round(params, copy); });
  }
  int64_t at = 0;
  struct Weight {
    tgo_tensor *value, *rounded;
  };
  const auto weight = [&](int64_t out_dim, int64_t in_dim) {
    const int64_t dims[] = {out_dim, in_dim};
    const int64_t from = at;
    at += out_dim * in_dim;
    return Weight{
        s->run([&](tgo_out* o) { return tgo_flat_leaf(params, grads, from, dims, 2, o); }),
        copy == nullptr ? nullptr : s->run([&](tgo_out* o) {
          return tgo_flat_view(copy, from, dims, 2, o);
        })};
  };
  const auto linear = [&](tgo_tensor* x, const Weight& w) {
    return s->run([&](tgo_out* o) { return tgo_linear(1, x, w.value, w.rounded, o); });
  };
  const auto reshape = [&](tgo_tensor* x, std::vector<int64_t> dims) {
    return s->run([&](tgo_out* o) {
      return tgo_reshape(1, x, dims.data(), static_cast<int32_t>(dims.size()), o);
    });
  };
  const Weight table = weight(c.vocab, width), wq = weight(width, width), wk = weight(kv, width);
  const Weight wv = weight(kv, width), wo = weight(width, width), wg = weight(c.ffn, width);
  const Weight wu = weight(c.ffn, width), wd = weight(width, c.ffn), head = weight(c.vocab, width);
  const int64_t gain_from = at;
  tgo_tensor* gain =
      s->run([&](tgo_out* o) { return tgo_flat_leaf(params, grads, gain_from, &width, 1, o); });
  std::vector<int32_t> tokens(static_cast<size_t>(rows));
  for (int64_t i = 0; i < rows; i++) {
    tokens[static_cast<size_t>(i)] = static_cast<int32_t>(i * 5 % c.vocab);
  }
  const int64_t grid[] = {c.batch, c.time}, angles[] = {c.time, c.size / 2};
  const std::vector<float> turns = numbers(c.time * c.size / 2, 3);
  tgo_tensor* ids =
      s->run([&](tgo_out* o) { return tgo_from_ids(tokens.data(), 0, c.vocab, grid, 2, o); });
  tgo_tensor* targets =
      s->run([&](tgo_out* o) { return tgo_from_ids(tokens.data(), -1, c.vocab, &rows, 1, o); });
  tgo_tensor* table_cos =
      s->run([&](tgo_out* o) { return tgo_from_float32(turns.data(), angles, 2, o); });
  tgo_tensor* x = s->run([&](tgo_out* o) { return tgo_embedding(1, ids, table.value, o); });
  const int32_t type = c.bf16 ? TGO_BFLOAT16 : TGO_FLOAT32;
  const auto norm_of = [&](tgo_tensor* t) {
    return s->run([&](tgo_out* o) { return tgo_rms_norm(1, t, gain, 1e-5, type, o); });
  };
  const auto rope = [&](tgo_tensor* t) {
    return s->run([&](tgo_out* o) { return tgo_rope(1, t, table_cos, table_cos, 0, o); });
  };
  tgo_tensor* h = norm_of(x);
  tgo_tensor* q = rope(reshape(linear(h, wq), {c.batch, c.time, c.heads, c.size}));
  tgo_tensor* k = rope(reshape(linear(h, wk), {c.batch, c.time, c.groups, c.size}));
  tgo_tensor* val = reshape(linear(h, wv), {c.batch, c.time, c.groups, c.size});
  tgo_tensor* mixed = s->run([&](tgo_out* o) { return tgo_attention(1, q, k, val, 0, o); });
  tgo_tensor* out = linear(reshape(mixed, {c.batch, c.time, width}), wo);
  x = s->run([&](tgo_out* o) { return tgo_add(1, x, out, o); });
  h = norm_of(x);
  tgo_tensor *g = linear(h, wg), *u = linear(h, wu);
  tgo_tensor* act = s->run([&](tgo_out* o) { return tgo_swiglu(1, g, u, o); });
  tgo_tensor* down = linear(act, wd);
  x = s->run([&](tgo_out* o) { return tgo_add(1, x, down, o); });
  tgo_tensor* last = reshape(norm_of(x), {rows, width});
  tgo_tensor* loss = s->run([&](tgo_out* o) {
    return tgo_linear_cross_entropy(1, last, head.value, head.rounded, targets, 1e-4,
                                    static_cast<double>(rows), o);
  });
  s->act([&] { return tgo_backward(loss); });
  s->act([&] { return tgo_flat_norm(grads, norm); });
  const tgo_segment segment{0, total, 0.1};
  s->act([&] {
    return tgo_adamw_step(params, grads, m, v, copy, &segment, 1, {1e-3, 0.9, 0.95, 1e-8, 1.0, 1});
  });
}

void steps_leave_nothing() {
  for (const Shape& c : {Shape{1, 1, 1, 1, 2, 1, 2, false}, Shape{2, 7, 3, 1, 6, 13, 11, false},
                         Shape{2, 7, 4, 2, 10, 5, 33, true}, Shape{1, 131, 2, 2, 8, 17, 7, true}}) {
    Scope s;
    double norm = NAN;
    step(c, &s, &norm);
    expect(!s.failed() && std::isfinite(norm) && norm > 0, "a step runs");
  }
  expect(tgo_live() == 0, "no handle is live after the steps");
}

void failures_leave_nothing() {
  const Shape c{2, 5, 2, 1, 4, 6, 9, true};
  int64_t calls = 0;
  for (bool failed = true; failed; calls++) {
    Scope s;
    double norm = 0;
    tgo_fail_after(calls, static_cast<int32_t>(1 + calls % 4));
    step(c, &s, &norm);
    tgo_fail_after(-1, TGO_INTERNAL);
    failed = s.failed();
  }
  expect(tgo_live() == 0, "no handle is live after the failures");
  std::printf("%lld calls of a step, each failed once\n", static_cast<long long>(calls - 1));
}

// An engine's life: made, loaded, a step, losses and gradients, its trace. Returns whether every
// call succeeded.
bool engine_lives(int32_t precision, tgo_engine** engine) {
  const tgo_model model{TGO_LLAMA2, 1, 1, 6, 1, 1, 5, 7, 4, 1e-5, 1e4};
  const tgo_engine_options options{precision, 2, 1, 2, nullptr};
  std::vector<int64_t> offsets;
  int64_t total = 0;
  for (const int64_t n : {42, 36, 36, 36, 36, 30, 30, 30, 6, 6, 6}) {
    offsets.push_back(total);
    total += n;
  }
  const int32_t ids[] = {0, 6, 3, 1, 2, 4}, targets[] = {6, -1, 1, 2, 4, 0};
  const tgo_batch batch{ids, targets, 3, 2, 2, 6, 1e-3};
  const std::vector<float> start = numbers(total, 5);
  const std::vector<double> decay(offsets.size(), 0.1);
  tgo_engine_result result{};
  double loss = 0;
  int64_t bytes = 0, spans = 0;
  tgo_span span{};
  Scope s;
  tgo_tensor* flat[4] = {};
  for (tgo_tensor*& t : flat) {
    t = s.run([&](tgo_out* o) { return tgo_zeros(TGO_FLOAT32, &total, 1, o); });
  }
  auto [p, m, v, g] = flat;
  s.act([&] { return tgo_write_float32(p, 0, start.data(), total); });
  s.act([&] { return tgo_engine_bytes(&model, &options, &bytes); });
  s.act([&] {
    return tgo_engine_new(&model, &options, offsets.data(), static_cast<int64_t>(offsets.size()),
                          engine);
  });
  s.act([&] { return tgo_engine_load(*engine, p); });
  s.act([&] { return tgo_engine_trace(*engine, 4); });
  s.act([&] {
    return tgo_engine_step(*engine, p, m, v, batch, {1e-3, 0.9, 0.95, 1e-8, 1.0, 1}, 1.0,
                           decay.data(), &result);
  });
  s.act([&] { return tgo_engine_gradients(*engine, p, g, batch, &result); });
  s.act([&] { return tgo_engine_loss(*engine, p, batch, &loss); });
  s.act([&] { return tgo_engine_spans(*engine, &span, 1, &spans); });
  expect(s.failed() || (std::isfinite(loss) && loss > 0 && result.grad_norm > 0 && bytes > 0),
         "an engine's step runs");
  return !s.failed();
}

void engines_leave_nothing() {
  int64_t calls = 0;
  for (bool lived = false; !lived; calls++) {
    tgo_engine* engine = nullptr;
    tgo_fail_after(calls, static_cast<int32_t>(1 + calls % 4));
    lived = engine_lives(calls % 2 == 0 ? TGO_FLOAT32 : TGO_BFLOAT16, &engine);
    tgo_fail_after(-1, TGO_INTERNAL);
    tgo_engine_free(engine);
  }
  expect(tgo_live() == 0, "no handle is live after the engines");
  std::printf("%lld calls of an engine's life, each failed once\n",
              static_cast<long long>(calls - 1));
}

void refusals_are_named() {
  Scope s;
  const int64_t dims[] = {2, 3};
  tgo_tensor* x = s.run([&](tgo_out* o) { return tgo_zeros(TGO_FLOAT32, dims, 2, o); });
  tgo_out out{};
  for (const tgo_status status :
       {tgo_matmul(0, x, x, &out), tgo_narrow(0, x, 0, 1, 9, &out), tgo_zeros(99, dims, 2, &out),
        tgo_attention(0, x, x, x, 0, &out), tgo_add(0, nullptr, x, &out), tgo_flat_norm(x, nullptr),
        tgo_rope(0, x, x, x, 0, &out), tgo_set_threads(0), tgo_zeros(TGO_FLOAT32, dims, 7, &out)}) {
    expect(status.code == TGO_INVALID && status.message != nullptr, "a mistake is refused");
    tgo_status_free(status);
  }
}

}  // namespace

int main() {
  steps_leave_nothing();
  failures_leave_nothing();
  engines_leave_nothing();
  refusals_are_named();
  std::printf(failures == 0 ? "border_test: all passed\n" : "border_test: %d failures\n", failures);
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
