// What holds of the engine besides its numbers: the same bits again, nothing left behind by what
// came before, whole optimizer steps, and failures that change nothing.
#include <cmath>
#include <cstring>
#include <limits>
#include <new>
#include <stdexcept>

#include "cases.hh"
#include "memory.hh"
#include "problem.hh"

namespace tgo::tests {
namespace {

using engine::Engine;
using engine::Result;

struct Outcome {
  std::vector<float> flat;
  double loss = 0, norm = 0;
  bool operator==(const Outcome&) const = default;
};

Engine make(const Problem& p, const char* isa) {
  return {p.shape(), p.options(isa), p.offsets().data()};
}

Outcome gradients(Engine& e, const Problem& p, const std::vector<float>& params) {
  Outcome o;
  o.flat.resize(params.size());
  const Result r = e.gradients(params.data(), p.batch(), o.flat.data());
  o.loss = r.loss;
  o.norm = r.norm;
  return o;
}
Outcome loaded(Engine& e, const Problem& p) {
  e.load(p.flat().data());
  return gradients(e, p, p.flat());
}

std::vector<Case> shapes() {
  std::vector<Case> all;
  for (const bool olmo2 : {false, true}) {
    Case c;
    c.model.olmo2 = olmo2;
    c.model.tied = olmo2;
    c.model.layers = 2;
    c.model.width = 36;
    c.model.heads = 6;
    c.model.kv_heads = 2;
    c.model.ffn = 45;
    c.model.vocab = olmo2 ? 301 : 53;  // one run of weights to draw from, or three
    c.context = 70;
    c.time = 33;
    c.sequences = 5;
    c.micro = 3;
    c.threads = olmo2 ? 2 : 1;
    c.z_loss = 1e-3;
    c.masked = 0.2;
    all.push_back(c);
  }
  return all;
}

// Everything that the engine computes with is written before it is read, in every step.
void same_bits(const Problem& p, const char* isa, Report& r) {
  Engine e = make(p, isa);
  const Outcome first = loaded(e, p);
  r.expect(gradients(e, p, p.flat()) == first, "a second time gives the same bits");
  for (const int byte : {0xff, 0x7f, 0x55}) {  // NaN, 3e38, 1e13
    const FreshMemory filled(byte);
    Engine other = make(p, isa);
    r.expect(loaded(other, p) == first, "what was in memory before does not matter");
  }
  std::vector<float> bad = p.flat();
  for (const float poison : {std::numeric_limits<float>::quiet_NaN(), 1e15F}) {
    std::fill(bad.begin(), bad.end(), poison);
    e.load(bad.data());
    const Outcome other = gradients(e, p, bad);
    r.expect(!std::isnan(poison) || std::isnan(other.loss),
             "parameters that are no numbers give no loss");
    r.expect(loaded(e, p) == first, "no trace of a step with such parameters");
  }
}

// A longer batch before leaves nothing behind, nor does a shorter one.
void other_batches(const Case& c, bool half, const char* isa, Report& r) {
  const Problem p(c, half, 7);
  Case longer = c, one = c;
  longer.time = c.context;
  one.time = 1;
  one.sequences = 1;
  Engine e = make(p, isa);
  const Outcome first = loaded(e, p);
  for (const Case& before : {longer, one}) {
    const Problem other(before, half, 7);
    loaded(e, other);
    r.expect(loaded(e, p) == first, "no trace of a batch of another size");
  }
}

void losses(Problem& p, const char* isa, Report& r, double bound) {
  Engine e = make(p, isa);
  const Outcome first = loaded(e, p);
  const double there = e.loss(p.flat().data(), p.batch());
  r.expect(gradients(e, p, p.flat()) == first, "a loss leaves no trace in training");
  engine::Options o = p.options(isa);
  o.backward = false;
  const FreshMemory filled(0xff);
  Engine only(p.shape(), o, p.offsets().data());
  only.load(p.flat().data());
  const double alone = only.loss(p.flat().data(), p.batch());
  r.expect(alone == there && alone == only.loss(p.flat().data(), p.batch()),
           "the loss of an engine for losses has the same bits");
  engine::Batch plain = p.batch();
  plain.z_loss = 0;
  std::vector<float> unused(p.flat().size());
  const double trained = e.gradients(p.flat().data(), plain, unused.data()).loss * plain.divisor;
  r.expect(std::abs(trained - alone) <= bound * std::abs(alone),
           "training and evaluation have one loss");
}

// −log p of a target among the logits of what follows.
double loss_of(const std::vector<float>& logits, std::int32_t target) {
  double total = 0;
  for (const float l : logits) {
    total += std::exp(static_cast<double>(l));
  }
  return std::log(total) - static_cast<double>(logits[static_cast<std::size_t>(target)]);
}

// A number by which a token is drawn: the middle of its part of all weights exp(logit).
double middle_of(std::int32_t token, const std::vector<float>& logits) {
  double before = 0, total = 0;
  for (std::size_t i = 0; i < logits.size(); i++) {
    const double w = std::exp(static_cast<double>(logits[i]));
    const auto at = static_cast<std::size_t>(token);
    before += i < at ? w : i == at ? w / 2 : 0;
    total += w;
  }
  return before / total;
}

// Continued in pieces, one from a shared prefix, sequences have the losses that evaluation has.
void continued(const Problem& p, const char* isa, Report& r, double bound) {
  engine::Options o = p.options(isa);
  o.backward = false;
  const FreshMemory filled(0xff);
  Engine e(p.shape(), o, p.offsets().data());
  e.load(p.flat().data());
  const engine::Batch b = p.batch();
  engine::Cache cache(p.shape(), o.half, b.sequences + 1, b.time);
  std::vector<float> logits(static_cast<std::size_t>(p.shape().vocab));
  double sum = 0;
  auto append = [&](int slot, int sequence, int from, int to) {
    std::vector<engine::DecodeRow> rows;
    for (int t = from; t < to; t++) {
      rows.push_back(cache.append(slot, b.ids[sequence * b.time + t]));
    }
    const std::int32_t target = b.targets[sequence * b.time + to - 1];
    rows.back().logits = target < 0 ? nullptr : logits.data();
    e.decode(p.flat().data(), cache, rows, {});
    sum += target < 0 ? 0 : loss_of(logits, target);
  };
  const int half = b.time / 2, spare = b.sequences;
  for (int t = 0; t < half; t++) {
    append(spare, 0, t, t + 1);
  }
  cache.begin(0, spare, half);
  for (int i = 0; i < b.sequences; i++) {
    for (int t = i == 0 ? half : 0; t < b.time; t++) {
      append(i, i, t, t + 1);
    }
  }
  const double want = e.loss(p.flat().data(), b);
  r.expect(std::abs(sum - want) <= bound * std::abs(want),
           "continued sequences have the loss of whole ones");
  // All tokens of a prompt at once give what its last one alone gives.
  const std::vector<float> alone = logits;
  sum = 0;
  cache.begin(1, -1, 0);
  append(1, b.sequences - 1, 0, b.time);
  r.expect(logits == alone, "a prompt at once has the bits of a prompt in pieces");
  if (b.targets[b.sequences * b.time - 1] < 0) {
    return;
  }
  // A number in the middle of a token's weight draws that token.
  std::vector<std::int32_t> chosen, drawn(3);
  std::vector<double> u;
  for (const std::int32_t token : {0, p.shape().vocab / 2, p.shape().vocab - 1}) {
    chosen.push_back(token);
    u.push_back(middle_of(token, logits));
  }
  std::vector<engine::DecodeRow> rows;
  cache.begin(1, -1, 0);
  for (int t = 0; t < b.time; t++) {
    rows.push_back(cache.append(1, b.ids[(b.sequences - 1) * b.time + t]));
  }
  rows.back().draws = static_cast<int>(drawn.size());
  rows.back().u = u.data();
  rows.back().tokens = drawn.data();
  e.decode(p.flat().data(), cache, rows, {1.44269504F, 1, p.shape().vocab});
  r.expect(drawn == chosen, "tokens are drawn by their weights");
}

// Gradients are added to what is there.
void added(const Problem& p, const char* isa, Report& r) {
  Engine e = make(p, isa);
  const Outcome first = loaded(e, p);
  std::vector<float> twice = first.flat, params = p.flat();
  e.gradients(params.data(), p.batch(), twice.data());
  bool ok = params == p.flat();
  for (std::size_t i = 0; i < twice.size(); i++) {
    ok &= twice[i] == 2 * first.flat[i];
  }
  r.expect(ok, "gradients are added, parameters stay");
}

struct Moments {
  std::vector<float> p, m, v;
};

// Some steps of AdamW with clipping, each compared with the reference's from the gradients of the
// engine itself.
void steps(const Problem& p, const char* isa, Report& r) {
  Moments now{p.flat(), std::vector<float>(p.flat().size(), Problem::kGap),
              std::vector<float>(p.flat().size(), Problem::kGap)};
  for (std::size_t i = 0; i < p.offsets().size(); i++) {
    for (auto* x : {&now.m, &now.v}) {
      std::fill_n(x->begin() + p.offsets()[i], p.parameters()[i].size(), 0.0F);
    }
  }
  std::vector<double> decay;
  for (std::size_t i = 0; i < p.offsets().size(); i++) {
    decay.push_back(0.5 * static_cast<double>(i % 3));
  }
  Engine e = make(p, isa);
  e.load(p.flat().data());
  Error change, first, second;
  for (int step = 1; step <= 3; step++) {
    const Outcome g = gradients(e, p, now.p);
    const double clip = step == 2 ? 0 : 0.3 * g.norm;
    reference::AdamW o{0.02, 0.9, 0.95, 1e-6, 0, 1, step};
    o.scale = clip > 0 ? std::min(1.0, clip / (g.norm + 1e-6)) : 1;
    const Moments before = now;
    const Result result = e.step(now.p.data(), now.m.data(), now.v.data(), p.batch(),
                                 {o.lr, o.beta1, o.beta2, o.eps, clip, o.step, decay.data()});
    r.expect(result.updated && result.loss == g.loss && result.norm == g.norm,
             "a step's loss and norm are those of the gradients");
    for (std::size_t i = 0; i < decay.size(); i++) {
      o.decay = decay[i];
      for (std::size_t k = 0; k < p.parameters()[i].size(); k++) {
        const std::size_t at = static_cast<std::size_t>(p.offsets()[i]) + k;
        const auto gradient = static_cast<double>(g.flat[at]),
                   old = static_cast<double>(before.p[at]);
        double x = old, m = static_cast<double>(before.m[at]),
               v = static_cast<double>(before.v[at]);
        reference::adamw(o, 1, &gradient, &x, &m, &v);
        change.add(static_cast<double>(now.p[at]) - old, x - old);
        first.add(static_cast<double>(now.m[at]), m);
        second.add(static_cast<double>(now.v[at]), v);
      }
    }
    r.expect(p.gaps_intact(now.p) && p.gaps_intact(now.m) && p.gaps_intact(now.v),
             "between parameters nothing changes");
  }
  r.error("change of p", change);
  r.error("m", first);
  r.error("v", second);
  Engine fresh = make(p, isa);
  fresh.load(now.p.data());
  r.expect(gradients(fresh, p, now.p) == gradients(e, p, now.p), "copies are renewed by a step");
}

// A loss or norm that is not finite changes nothing.
void not_finite(const Problem& p, const char* isa, Report& r) {
  Engine e = make(p, isa);
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    std::vector<float> params = p.flat();
    params[static_cast<std::size_t>(p.offsets()[1])] = bad;
    std::vector<float> m(params.size(), 0.5F), v(params.size(), 0.25F), copy = params;
    const std::vector<double> decay(p.offsets().size(), 0.1);
    e.load(params.data());
    const Result result = e.step(params.data(), m.data(), v.data(), p.batch(),
                                 {0.1, 0.9, 0.95, 1e-8, 1, 1, decay.data()});
    r.expect(!result.updated && !(std::isfinite(result.loss) && std::isfinite(result.norm)),
             "no update without a finite loss and norm");
    r.expect(std::memcmp(params.data(), copy.data(), copy.size() * 4) == 0, "parameters stay");
    r.expect(m == std::vector<float>(m.size(), 0.5F) && v == std::vector<float>(v.size(), 0.25F),
             "moments stay");
  }
}

// One thread or several: the sums have another order, no more.
void thread_counts(const Case& c, bool half, const char* isa, Report& r) {
  std::vector<Outcome> all;
  for (const int threads : {1, 2, 3, 4}) {
    Case with = c;
    with.threads = threads;
    const Problem p(with, half, 7);
    Engine e = make(p, isa);
    all.push_back(loaded(e, p));
    Error error;
    for (std::size_t i = 0; i < all[0].flat.size(); i++) {
      error.add(static_cast<double>(all.back().flat[i]), static_cast<double>(all[0].flat[i]));
    }
    r.expect(error.value() < 1e-5, "the number of threads changes only the order of sums");
  }
}

// Every request for memory fails once.
void no_memory(const Problem& p, const char* isa, Report& r) {
  const int before = pieces_in_use();
  bool failed = true;
  for (int n = 0; failed && n < 100; n++) {
    const NoMemory none(n);
    try {
      const Engine e = make(p, isa);
    } catch (const std::bad_alloc&) {
      r.expect(none.failed(), "a failure has a reason");
    }
    failed = none.failed();
    r.expect(n > 0 || failed, "the first request fails");
    r.expect(pieces_in_use() == before, "all memory is given back");
  }
  try {
    const Engine e = make(p, "sse9");
    r.expect(false, "an unknown instruction set is refused");
  } catch (const std::invalid_argument&) {
  }
}

// Sizes that the border relies on.
void sizes(const Problem& p, const char* isa, Report& r) {
  const Engine e = make(p, isa);
  const auto count = static_cast<int>(p.offsets().size());
  r.expect(e.parameters() == count && engine::Plan::count(p.shape()) == count,
           "number of parameters");
  std::int64_t end = 0;
  for (std::size_t i = 0; i < p.offsets().size(); i++) {
    end = std::max(end, p.offsets()[i] + static_cast<std::int64_t>(p.parameters()[i].size()));
  }
  r.expect(e.values() == end, "the end of the last parameter");
  r.expect(std::string(e.isa()) == isa, "the instruction set asked for");
  r.expect(Engine::bytes(p.shape(), p.options(isa)) > static_cast<std::size_t>(end) * 2, "bytes");
}

}  // namespace

void engine_cases(const std::vector<const char*>& isas, Report& r) {
  for (const Case& c : shapes()) {
    for (const bool half : {false, true}) {
      Problem p(c, half, 7);
      for (const char* isa : isas) {
        r.begin("same bits, no trace", isa, half, 0, c.name());
        same_bits(p, isa, r);
        other_batches(c, half, isa, r);
        thread_counts(c, half, isa, r);
        added(p, isa, r);
        // In bfloat16 training keeps rounded logits, evaluation keeps none.
        losses(p, isa, r, half ? 1e-3 : 1e-6);
        continued(p, isa, r, half ? 2e-3 : 1e-6);
        r.begin("three steps", isa, half, 2e-5, c.name());
        steps(p, isa, r);
        r.begin("failures", isa, half, 0, c.name());
        not_finite(p, isa, r);
        no_memory(p, isa, r);
        sizes(p, isa, r);
      }
    }
  }
}

}  // namespace tgo::tests
