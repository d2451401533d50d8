#include "report.hh"

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>

namespace tgo::tests {

double rounded(double x, bool half) {
  const auto single = static_cast<float>(x);
  if (!half) {
    return static_cast<double>(single);
  }
  std::uint32_t bits = 0;
  std::memcpy(&bits, &single, 4);
  bits = (bits + 0x7fffU + (bits >> 16 & 1U)) & 0xffff0000U;
  float out = 0;
  std::memcpy(&out, &bits, 4);
  return static_cast<double>(out);
}

double Error::value() const {
  const double e = size_ > 0 ? std::sqrt(difference_ / size_) : std::sqrt(difference_);
  return std::isnan(e) ? std::numeric_limits<double>::infinity() : e;
}

void Report::begin(const std::string& kernel, const std::string& isa, bool half, double bound,
                   const std::string& shape) {
  key_ = text("%-22s %-8s", kernel.c_str(), half ? "bfloat16" : "float32");
  if (rows_.find(key_) == rows_.end()) {
    order_.push_back(key_);
  }
  if (std::find(isas_.begin(), isas_.end(), isa) == isas_.end()) {
    isas_.push_back(isa);
  }
  Row& row = rows_[key_];
  row.bound = bound;
  row.worst[isa] += 0;
  row.shapes[isa]++;
  isa_ = isa;
  bound_ = bound;
  shape_ = shape;
  cases_++;
}

void Report::error(const char* what, double value) {
  Row& row = rows_[key_];
  row.worst[isa_] = std::max(row.worst[isa_], value);
  if (value > row.worst_of_all) {
    row.worst_of_all = value;
    row.at = std::string(what) + " of " + shape_;
  }
  if (!(value <= bound_)) {
    fail(text("%s: error %.3g, allowed is %.3g", what, value, bound_));
  }
}

void Report::expect(bool ok, const char* what) {
  if (!ok) {
    fail(what);
  }
}

void Report::fail(const std::string& what) {
  constexpr int kShown = 40;
  failures_++;
  if (failures_ <= kShown) {
    std::fprintf(stderr, "FAIL %s %s, %s: %s\n", key_.c_str(), isa_.c_str(), shape_.c_str(),
                 what.c_str());
  } else if (failures_ == kShown + 1) {
    std::fprintf(stderr, "more failures are counted, not shown\n");
  }
  if (stop_) {
    std::_Exit(1);
  }
}

void Report::skip(const std::string& what, const std::string& why) {
  skipped_.push_back(what + ": " + why);
}

void Report::print() const {
  std::printf("Worst relative error of each kernel.\n\n%-22s %-8s %6s", "kernel", "values",
              "shapes");
  for (const std::string& isa : isas_) {
    std::printf(" %11s", isa.c_str());
  }
  std::printf(" %8s  worst at\n", "bound");
  for (const std::string& key : order_) {
    const Row& row = rows_.at(key);
    std::printf("%s %6d", key.c_str(), row.shapes.begin()->second);
    for (const std::string& isa : isas_) {
      const auto at = row.worst.find(isa);
      std::printf(" %11s", at == row.worst.end() ? "-" : text("%.1e", at->second).c_str());
    }
    std::printf(" %8.0e  %s\n", row.bound, row.at.c_str());
  }
  for (const std::string& s : skipped_) {
    std::printf("not run: %s\n", s.c_str());
  }
  std::printf("%d comparisons, %d instruction sets not run, %d failures\n", cases_,
              static_cast<int>(skipped_.size()), failures_);
}

std::string text(const char* format, ...) {
  char buffer[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(buffer, sizeof buffer, format, arguments);
  va_end(arguments);
  return buffer;
}

}  // namespace tgo::tests
