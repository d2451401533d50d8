// What the kernels' test computes with: device arrays read back as doubles, and the comparison.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "../kernels.hh"

namespace tgo::cuda::testing {

using Doubles = std::vector<double>;

inline int failures = 0;

inline void must(cudaError_t e) {
  if (e != cudaSuccess) {
    std::printf("CUDA: %s\n", cudaGetErrorString(e));
    std::exit(1);
  }
}

template <class T>
double value(T x) {
  return static_cast<double>(x);
}
inline double value(bf16 x) { return static_cast<double>(__bfloat162float(x)); }

template <class T>
T element(double x) {
  if constexpr (std::is_same_v<T, bf16>) {
    return __float2bfloat16(static_cast<float>(x));
  } else {
    return static_cast<T>(x);
  }
}

// Device memory with its values as the kernel sees them.
template <class T>
class Array {
 public:
  explicit Array(size_t n) : n_(n) {
    must(cudaMalloc(reinterpret_cast<void**>(&p_), std::max<size_t>(n, 1) * sizeof(T)));
    must(cudaMemset(p_, 0, n * sizeof(T)));
  }
  explicit Array(const std::vector<T>& x) : Array(x.size()) {
    must(cudaMemcpy(p_, x.data(), x.size() * sizeof(T), cudaMemcpyHostToDevice));
  }
  ~Array() { cudaFree(p_); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  operator T*() const { return p_; }
  Doubles read() const {
    std::vector<T> x(n_);
    must(cudaDeviceSynchronize());
    must(cudaMemcpy(x.data(), p_, n_ * sizeof(T), cudaMemcpyDeviceToHost));
    Doubles out(n_);
    std::transform(x.begin(), x.end(), out.begin(), [](T v) { return value(v); });
    return out;
  }

 private:
  T* p_ = nullptr;
  size_t n_;
};

template <class T>
std::vector<T> normal(size_t n, double mean, double deviation, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<double> draw(mean, deviation);
  std::vector<T> x(n);
  for (T& v : x) v = element<T>(draw(random));
  return x;
}

template <class T>
Doubles doubles(const std::vector<T>& x) {
  Doubles out;
  for (T v : x) out.push_back(value(v));
  return out;
}

inline void check(const std::string& what, const Doubles& got, const Doubles& want, double limit) {
  double scale = 1e-30, worst = 0;
  for (double w : want) scale = std::max(scale, std::abs(w));
  for (size_t i = 0; i < want.size(); i++) {
    const double e = std::abs(got[i] - want[i]) / scale;
    worst = std::isnan(e) ? 1e9 : std::max(worst, e);
  }
  const bool good = worst <= limit && got.size() == want.size();
  failures += good ? 0 : 1;
  std::printf("%s %-44s largest error %.1e of the largest value (limit %.0e)\n",
              good ? "ok  " : "FAIL", what.c_str(), worst, limit);
}

}  // namespace tgo::cuda::testing
