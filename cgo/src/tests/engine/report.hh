// What the engine's tests share: reproducible random numbers, the measure of an error, and the
// table of what was compared.
#ifndef TGO_TESTS_REPORT_HH
#define TGO_TESTS_REPORT_HH

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace tgo::tests {

// xorshift64*: the same numbers everywhere.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15U + 0x1234567U) { next(); }
  std::uint64_t next() {
    state_ ^= state_ >> 12;
    state_ ^= state_ << 25;
    state_ ^= state_ >> 27;
    return state_ * 0x2545f4914f6cdd1dU;
  }
  // From first to last, both included.
  int whole(int first, int last) {
    return first + static_cast<int>((next() >> 33) % static_cast<std::uint64_t>(last - first + 1));
  }
  double uniform() { return static_cast<double>(next() >> 11) * 0x1p-53; }
  // About normal, within ±6: the sum of twelve uniform numbers.
  double normal() {
    double sum = -6;
    for (int i = 0; i < 12; i++) {
      sum += uniform();
    }
    return sum;
  }
  bool chance(double p) { return uniform() < p; }
  template <class X>
  X one_of(const std::vector<X>& all) {
    return all[static_cast<std::size_t>(whole(0, static_cast<int>(all.size()) - 1))];
  }

 private:
  std::uint64_t state_;
};

// A double rounded to float32, or to the nearest bfloat16.
double rounded(double x, bool half);

// ‖got − want‖ / ‖want‖; ‖got‖ where the wanted is all zeros; NaN counts as infinitely wrong.
class Error {
 public:
  void add(double got, double want) {
    difference_ += (got - want) * (got - want);
    size_ += want * want;
  }
  double value() const;

 private:
  double difference_ = 0, size_ = 0;
};

// Collects errors under kernel, precision and instruction set, and prints the worst ones.
class Report {
 public:
  // `stop`: the first failure ends the program.
  explicit Report(bool stop) : stop_(stop) {}
  // What the next errors belong to. `shape` names the case in messages.
  void begin(const std::string& kernel, const std::string& isa, bool half, double bound,
             const std::string& shape);
  // An error of the case: above its bound it is a failure.
  void error(const char* what, double value);
  void error(const char* what, const Error& e) { error(what, e.value()); }
  // A condition of the case.
  void expect(bool ok, const char* what);
  // Cases that cannot run here.
  void skip(const std::string& what, const std::string& why);

  void print() const;
  int failures() const { return failures_; }

 private:
  struct Row {
    double bound = 0;
    std::map<std::string, double> worst;  // by instruction set
    std::map<std::string, int> shapes;
    double worst_of_all = 0;
    std::string at;  // shape and quantity of the worst
  };
  void fail(const std::string& what);

  std::map<std::string, Row> rows_;
  std::vector<std::string> order_, isas_, skipped_;
  std::string key_, isa_, shape_;
  double bound_ = 0;
  int failures_ = 0, cases_ = 0;
  bool stop_;
};

// printf to a string.
[[gnu::format(printf, 1, 2)]] std::string text(const char* format, ...);

}  // namespace tgo::tests

#endif
