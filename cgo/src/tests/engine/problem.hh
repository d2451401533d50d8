// A model with random parameters and tokens, in the engine's flat buffers and as the reference has
// it.
#ifndef TGO_TESTS_PROBLEM_HH
#define TGO_TESTS_PROBLEM_HH

#include <string>
#include <vector>

#include "../../engine/run.hh"
#include "reference.hh"
#include "report.hh"

namespace tgo::tests {

using reference::Values;

// A shape of the whole engine.
struct Case {
  reference::Model model;
  int context = 0, sequences = 1, time = 0, micro = 1, threads = 1;
  double z_loss = 0;
  double masked = 0;    // share of targets that do not count
  int masked_rows = 0;  // sequences without any target, −1: all
  std::string name() const;
};

class Problem {
 public:
  // Parameters of products are rounded to bfloat16 with `half`.
  Problem(const Case& c, bool half, std::uint64_t seed);

  engine::Shape shape() const;
  engine::Options options(const char* isa) const;
  engine::Batch batch() const;
  const std::vector<std::int64_t>& offsets() const { return offsets_; }
  const std::vector<float>& flat() const { return flat_; }
  const std::vector<Values>& parameters() const { return parameters_; }
  // Values in the order of offsets; buffers have `kGap` between parameters.
  std::vector<float> flatten(const std::vector<Values>& values) const;
  std::vector<Values> unflatten(const std::vector<float>& flat) const;
  // Whether what lies between the parameters is as flatten made it.
  bool gaps_intact(const std::vector<float>& flat) const;

  // The reference's answer, computed at the first call.
  double loss();
  const std::vector<Values>& gradients();
  double plain_loss() const;  // the sum of losses without z-loss and divisor

  // Errors of gradients: of all together, and of each parameter in units of its own gradient's
  // norm, or of a share of the whole's where its own is smaller: there it is the difference of
  // larger numbers.
  void compare(Report& report, const std::vector<Values>& got);

  static constexpr float kGap = 12345.0F;

 private:
  void draw_parameters(Random& random);
  void draw_tokens(Random& random);
  void place(Random& random);
  void solve();

  Case case_;
  bool half_;
  std::vector<std::int64_t> sizes_, offsets_;
  std::int64_t length_ = 0;
  std::vector<Values> parameters_, gradients_;
  std::vector<float> flat_;
  std::vector<std::int32_t> ids_, targets_;
  double divisor_ = 1, loss_ = 0;
  bool solved_ = false;
};

}  // namespace tgo::tests

#endif
