// The whole engine: loss and the gradient of every parameter, over hand-picked corners and random
// shapes.
#include <cmath>

#include "cases.hh"
#include "problem.hh"

namespace tgo::tests {
namespace {

constexpr double kModel = 1e-4;
// A gradient has passed some ten roundings of 1.7e-3 for each layer, on the way forward and back.
// Where a norm is over a few values it divides by what may be nearly nothing, and magnifies all of
// them.
constexpr double kModelHalf = 3e-2, kModelHalfNarrow = 1e-1;
constexpr int kNarrow = 24;

Case make(bool olmo2, int layers, int width, int heads, int kv_heads, int ffn, int vocab) {
  Case c;
  c.model.olmo2 = olmo2;
  c.model.layers = layers;
  c.model.width = width;
  c.model.heads = heads;
  c.model.kv_heads = kv_heads;
  c.model.ffn = ffn;
  c.model.vocab = vocab;
  return c;
}
Case& tokens(Case& c, int sequences, int micro, int time, int context) {
  c.sequences = sequences;
  c.micro = micro;
  c.time = time;
  c.context = context;
  return c;
}

// What random shapes may miss.
std::vector<Case> corners(bool olmo2) {
  std::vector<Case> all;
  auto add = [&](Case c, int sequences, int micro, int time, int context) -> Case& {
    all.push_back(tokens(c, sequences, micro, time, context));
    return all.back();
  };
  add(make(olmo2, 1, 2, 1, 1, 1, 7), 1, 1, 1, 1);
  add(make(olmo2, 1, 32, 1, 1, 32, 32), 1, 1, 32, 32).threads = 4;  // more threads than work
  add(make(olmo2, 2, 64, 2, 2, 96, 77), 2, 2, 64, 64).z_loss = 1e-3;
  add(make(olmo2, 1, 192, 4, 2, 31, 33), 1, 1, 31, 33);               // heads of 48
  add(make(olmo2, 1, 96, 16, 1, 65, 101), 3, 2, 33, 40).threads = 2;  // multi-query, heads of 6
  add(make(olmo2, 1, 128, 1, 1, 20, 7), 1, 1, 70, 70).model.tied = true;
  add(make(olmo2, 1, 200, 1, 1, 33, 11), 2, 1, 5, 64);  // a head of 200
  Case& masked = add(make(olmo2, 2, 24, 3, 1, 50, 60), 4, 2, 20, 20);
  masked.masked_rows = 2;  // a whole micro-batch without targets
  masked.threads = 2;
  add(make(olmo2, 1, 24, 3, 3, 50, 60), 3, 2, 20, 20).masked_rows = -1;
  Case& tied = add(make(olmo2, 1, 48, 6, 2, 40, 65), 5, 5, 3, 3);
  tied.model.tied = true;
  tied.z_loss = 0.1;
  tied.threads = 4;
  add(make(olmo2, 1, 16, 2, 1, 24, 19), 9, 9, 33, 40);    // more rows than a chunk
  add(make(olmo2, 1, 16, 2, 1, 24, 19), 2, 2, 300, 300);  // a sequence longer than a chunk
  add(make(olmo2, 1, 8, 1, 1, 8, 13), 1, 1, 2048, 2048).threads = 2;
  add(make(olmo2, 1, 8, 2, 1, 8, 50000), 1, 1, 9, 16).z_loss = 1e-4;
  add(make(olmo2, 1, 6, 1, 1, 6, 5000), 6, 6, 40, 40).threads =
      2;  // large vocabulary, several chunks
  add(make(olmo2, 4, 20, 2, 2, 30, 40), 2, 1, 40, 64).threads = 2;
  return all;
}

Case random_case(Random& random) {
  const int size = random.one_of(std::vector<int>{2, 6, 8, 10, 16, 20, 32, 48, 64, 80, 128});
  int heads = random.whole(1, 16);
  while (heads * size > 200) {
    heads = (heads + 1) / 2 == heads ? 1 : (heads + 1) / 2;
  }
  int kv_heads = random.whole(1, heads);
  while (heads % kv_heads != 0) {
    kv_heads--;
  }
  Case c = make(random.chance(0.5), random.chance(0.8) ? 1 : 2, heads * size, heads, kv_heads,
                random.whole(1, 150), random.whole(7, random.chance(0.1) ? 600 : 90));
  const int time = random.one_of(std::vector<int>{1, 2, 7, 16, 31, 32, 33, 47, 64, 70});
  const int sequences = random.whole(1, time > 32 ? 2 : 5);
  tokens(c, sequences, random.whole(1, sequences), time, time + random.whole(0, 40));
  c.model.tied = random.chance(0.4);
  c.model.eps = random.one_of(std::vector<double>{1e-5, 1e-6, 1e-3});
  c.model.theta = random.one_of(std::vector<double>{10000, 500000, 10});
  c.threads = random.one_of(std::vector<int>{1, 1, 2, 2, 4});
  c.z_loss = random.one_of(std::vector<double>{0, 0, 1e-4, 0.02});
  c.masked = random.one_of(std::vector<double>{0, 0.2, 0.7});
  c.masked_rows = random.chance(0.15) ? 1 : 0;
  return c;
}

void model_case(const std::vector<const char*>& isas, Report& r, const Case& c,
                std::uint64_t seed) {
  for (const bool half : {false, true}) {
    Problem problem(c, half, seed);
    const int norm = c.model.olmo2 ? c.model.kv_heads * c.model.size() : c.model.width;
    const std::string name = text("%s%s", c.model.olmo2 ? "whole OLMo-2" : "whole Llama-2",
                                  norm < kNarrow ? ", narrow" : "");
    const double bound = !half ? kModel : norm < kNarrow ? kModelHalfNarrow : kModelHalf;
    for (const char* isa : isas) {
      r.begin(name, isa, half, bound, c.name());
      engine::Engine engine(problem.shape(), problem.options(isa), problem.offsets().data());
      engine.load(problem.flat().data());
      std::vector<float> flat(problem.flat().size());
      const engine::Result result =
          engine.gradients(problem.flat().data(), problem.batch(), flat.data());
      const std::vector<Values> got = problem.unflatten(flat);
      problem.compare(r, got);
      Error loss, norm, plain;
      loss.add(result.loss, problem.loss());
      double square = 0;
      for (const Values& v : got) {
        for (const double g : v) {
          square += g * g;
        }
      }
      norm.add(result.norm, std::sqrt(square));
      plain.add(engine.loss(problem.flat().data(), problem.batch()), problem.plain_loss());
      r.error("loss", loss);
      r.error("loss for evaluation", plain);
      r.expect(norm.value() < 1e-5, "the norm is that of the gradients");
    }
  }
}

}  // namespace

void model_cases(const std::vector<const char*>& isas, Report& r) {
  std::uint64_t seed = 100;
  for (const bool olmo2 : {false, true}) {
    for (const Case& c : corners(olmo2)) {
      model_case(isas, r, c, seed++);
    }
  }
  // Each random shape on two instruction sets, in turn.
  constexpr int kRandom = 70;
  Random random(2026);
  for (int i = 0; i < kRandom; i++) {
    std::vector<const char*> two;
    for (std::size_t k = 0; k < isas.size() && k < 2; k++) {
      two.push_back(isas[(static_cast<std::size_t>(i) + k * (isas.size() / 2)) % isas.size()]);
    }
    model_case(two, r, random_case(random), seed++);
  }
}

}  // namespace tgo::tests
