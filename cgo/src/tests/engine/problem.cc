#include "problem.hh"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace tgo::tests {
namespace {

constexpr double kLeast = 0.01, kLeastHalf = 0.2;

}  // namespace

std::string Case::name() const {
  const reference::Model& m = model;
  return text("%s%s L%d D%d H%d/%d F%d V%d T%d/%d S%d/%d threads %d z %g masked %g/%d θ %g ε %g",
              m.olmo2 ? "olmo2" : "llama2", m.tied ? " tied" : "", m.layers, m.width, m.heads,
              m.kv_heads, m.ffn, m.vocab, time, context, sequences, micro, threads, z_loss, masked,
              masked_rows, m.theta, m.eps);
}

Problem::Problem(const Case& c, bool half, std::uint64_t seed)
    : case_(c), half_(half), sizes_(reference::parameter_sizes(c.model)) {
  Random random(seed);
  draw_parameters(random);
  place(
      random);  // before the tokens: batches of other sizes find the parameters in the same places
  draw_tokens(random);
  flat_ = flatten(parameters_);
}

// Gains about 1, weights about 1/√columns, so that every part of the model has something to say.
void Problem::draw_parameters(Random& random) {
  const std::vector<bool> products = reference::product_weights(case_.model);
  for (std::size_t i = 0; i < sizes_.size(); i++) {
    Values v(static_cast<std::size_t>(sizes_[i]));
    const bool table = i == 0 || (!case_.model.tied && i + 1 == sizes_.size());
    const bool gain = !products[i] && !table;
    const double columns =
        products[i] && !table ? std::sqrt(static_cast<double>(sizes_[i])) : case_.model.width;
    const double scale = i == 0 && !case_.model.tied ? 1 : 1 / std::sqrt(columns);
    for (double& x : v) {
      const double n = random.normal();
      x = rounded(gain ? 1 + 0.3 * n : scale * n, half_ && products[i]);
    }
    parameters_.push_back(std::move(v));
  }
}

void Problem::draw_tokens(Random& random) {
  int counted = 0;
  for (int i = 0; i < case_.sequences; i++) {
    const bool none = case_.masked_rows < 0 || i < case_.masked_rows;
    for (int t = 0; t < case_.time; t++) {
      ids_.push_back(random.whole(0, case_.model.vocab - 1));
      const int target = random.whole(0, case_.model.vocab - 1);
      targets_.push_back(none || random.chance(case_.masked) ? -1 : target);
      counted += targets_.back() < 0 ? 0 : 1;
    }
  }
  divisor_ = std::max(counted, 1);
}

// Parameters lie in any order, with gaps.
void Problem::place(Random& random) {
  std::vector<std::size_t> order(sizes_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (std::size_t i = order.size() - 1; i > 0; i--) {
    std::swap(order[i], order[static_cast<std::size_t>(random.whole(0, static_cast<int>(i)))]);
  }
  offsets_.resize(sizes_.size());
  for (const std::size_t i : order) {
    length_ += random.whole(0, 5);
    offsets_[i] = length_;
    length_ += sizes_[i];
  }
}

std::vector<float> Problem::flatten(const std::vector<Values>& values) const {
  std::vector<float> flat(static_cast<std::size_t>(length_), kGap);
  for (std::size_t i = 0; i < values.size(); i++) {
    for (std::size_t k = 0; k < values[i].size(); k++) {
      flat[static_cast<std::size_t>(offsets_[i]) + k] = static_cast<float>(values[i][k]);
    }
  }
  return flat;
}

std::vector<Values> Problem::unflatten(const std::vector<float>& flat) const {
  std::vector<Values> values;
  for (std::size_t i = 0; i < sizes_.size(); i++) {
    const auto from = flat.begin() + offsets_[i];
    values.emplace_back(from, from + sizes_[i]);
  }
  return values;
}

bool Problem::gaps_intact(const std::vector<float>& flat) const {
  std::vector<bool> used(flat.size());
  for (std::size_t i = 0; i < sizes_.size(); i++) {
    std::fill_n(used.begin() + offsets_[i], sizes_[i], true);
  }
  for (std::size_t k = 0; k < flat.size(); k++) {
    if (!used[k] && flat[k] != kGap) {
      return false;
    }
  }
  return true;
}

engine::Shape Problem::shape() const {
  const reference::Model& m = case_.model;
  engine::Shape s;
  s.reordered_norm = m.olmo2;
  s.tied = m.tied;
  s.layers = m.layers;
  s.width = m.width;
  s.heads = m.heads;
  s.kv_heads = m.kv_heads;
  s.ffn = m.ffn;
  s.vocab = m.vocab;
  s.context = case_.context;
  s.eps = static_cast<float>(m.eps);
  s.theta = m.theta;
  return s;
}

engine::Options Problem::options(const char* isa) const {
  engine::Options o;
  o.half = half_;
  o.threads = case_.threads;
  o.backward = true;
  o.sequences = case_.micro;
  o.isa = isa;
  return o;
}

engine::Batch Problem::batch() const {
  engine::Batch b;
  b.ids = ids_.data();
  b.targets = targets_.data();
  b.sequences = case_.sequences;
  b.time = case_.time;
  b.micro = case_.micro;
  b.divisor = divisor_;
  b.z_loss = case_.z_loss;
  return b;
}

void Problem::solve() {
  if (!solved_) {
    const reference::Tokens tokens{ids_.data(), targets_.data(), case_.sequences, case_.time};
    loss_ =
        reference::model(case_.model, parameters_, tokens, case_.z_loss, 1 / divisor_, &gradients_);
    solved_ = true;
  }
}

double Problem::loss() {
  solve();
  return loss_;
}

const std::vector<Values>& Problem::gradients() {
  solve();
  return gradients_;
}

double Problem::plain_loss() const {
  const reference::Tokens tokens{ids_.data(), targets_.data(), case_.sequences, case_.time};
  return reference::model(case_.model, parameters_, tokens, 0, 1, nullptr);
}

void Problem::compare(Report& report, const std::vector<Values>& got) {
  const std::vector<Values>& want = gradients();
  std::vector<double> differences, sizes;
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < want.size(); i++) {
    double d = 0, s = 0;
    for (std::size_t k = 0; k < want[i].size(); k++) {
      d += (got[i][k] - want[i][k]) * (got[i][k] - want[i][k]);
      s += want[i][k] * want[i][k];
    }
    differences.push_back(std::sqrt(d));
    sizes.push_back(std::sqrt(s));
    difference += d;
    size += s;
  }
  if (size == 0) {  // no target counts
    report.error("gradients that are zero", std::sqrt(difference));
    return;
  }
  report.error("all gradients", std::sqrt(difference / size));
  const double least = std::sqrt(size) * (half_ ? kLeastHalf : kLeast);
  for (std::size_t i = 0; i < want.size(); i++) {
    const double e = differences[i] / std::max(sizes[i], least);
    report.error(text("gradient %d", static_cast<int>(i)).c_str(), std::isnan(e) ? 1e300 : e);
  }
}

}  // namespace tgo::tests
