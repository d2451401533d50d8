// Times every kernel at the sizes of a 1.1 B model (16,384 rows) and of a 6.8 M one (8,192 rows):
// microseconds, and the bytes that must move at least, per second. Needs a device: make gpu-bench.
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "../kernels.hh"

namespace {

using namespace tgo::cuda;

template <class T>
T* room(int64_t count) {
  T* p = nullptr;
  if (cudaMalloc(reinterpret_cast<void**>(&p), static_cast<size_t>(count) * sizeof(T)) !=
      cudaSuccess) {
    std::printf("no memory for %lld elements\n", static_cast<long long>(count));
    std::exit(1);
  }
  cudaMemset(p, 0, static_cast<size_t>(count) * sizeof(T));
  return p;
}

void report(const char* what, double bytes, const std::function<void()>& launch) {
  constexpr int kRepeats = 20;
  cudaEvent_t start = nullptr, end = nullptr;
  cudaEventCreate(&start);
  cudaEventCreate(&end);
  for (int i = 0; i < 3; i++) launch();
  cudaEventRecord(start);
  for (int i = 0; i < kRepeats; i++) launch();
  cudaEventRecord(end);
  cudaEventSynchronize(end);
  float ms = 0;
  cudaEventElapsedTime(&ms, start, end);
  const double us = static_cast<double>(ms) * 1e3 / kRepeats;
  std::printf("%-24s %9.1f us %8.0f GB/s\n", what, us, bytes / us / 1e3);
}

void time_all(int64_t n, int64_t d, int heads, int kv_heads, int64_t f, int64_t v,
              int64_t parameters) {
  const int size = static_cast<int>(d) / heads;
  const int64_t s = int64_t{heads + 2 * kv_heads} * size, time = 256;
  const double N = static_cast<double>(n), D = N * static_cast<double>(d),
               F = N * static_cast<double>(f), S = N * static_cast<double>(s);
  std::printf("rows %lld, width %lld\n", static_cast<long long>(n), static_cast<long long>(d));
  auto *x = room<float>(n * d), *out = room<float>(n * d), *rstd = room<float>(n * 2),
       *gain = room<float>(2 * d);
  auto *partial = room<float>(kGainParts * d), *dgain = room<float>(d);
  auto *y = room<bf16>(n * d), *h = room<bf16>(n * d), *dh = room<bf16>(n * d),
       *qkv = room<bf16>(n * s), *wide = room<bf16>(2 * n * f), *act = room<bf16>(n * f);
  auto* tables = room<float>(time * size);
  auto *ids = room<int32_t>(n), *order = room<int32_t>(n);
  std::vector<int32_t> host(static_cast<size_t>(n));
  for (size_t i = 0; i < host.size(); i++)
    host[i] = static_cast<int32_t>(i % static_cast<size_t>(v));
  cudaMemcpy(ids, host.data(), host.size() * 4, cudaMemcpyHostToDevice);
  for (size_t i = 0; i < host.size(); i++) host[i] = static_cast<int32_t>(i);
  cudaMemcpy(order, host.data(), host.size() * 4, cudaMemcpyHostToDevice);
  auto* table = room<float>(v * d);
  const Norm norm_{gain, rstd, n, d, 1e-5F};
  const Heads hs{n, time, heads, kv_heads, size, tables, tables + time * size / 2};
  report("embed", 8 * D, [&] { embed(table, ids, x, nullptr, n, d, nullptr); });
  report("embed_backward", 12 * D, [&] { embed_backward(x, ids, order, table, n, d, nullptr); });
  report("norm", 12 * D, [&] { norm(norm_, x, y, out, h, nullptr); });
  report("norm_backward", 16 * D,
         [&] { norm_backward(norm_, x, dh, true, out, y, nullptr, partial, nullptr); });
  report("post_norm", 12 * D, [&] { post_norm(norm_, y, x, h, nullptr); });
  report("post_norm_backward", 14 * D,
         [&] { post_norm_backward(norm_, y, dh, out, h, partial, nullptr); });
  const GainSum sum{partial, dgain, d};
  auto* list = room<GainSum>(1);
  cudaMemcpy(list, &sum, sizeof sum, cudaMemcpyHostToDevice);
  report("sum_gains", 4.0 * kGainParts * static_cast<double>(d),
         [&] { sum_gains(list, 1, d, false, nullptr); });
  report("rotate", 4 * S, [&] { rotate(hs, qkv, nullptr); });
  report("rotate_backward", 4 * S, [&] {
    rotate_backward(hs, {y, h, dh, kv_heads}, qkv, nullptr);
  });
  const QKNorm qk{gain, gain, rstd, 1e-6F};
  report("norm_rotate", 4 * S, [&] { norm_rotate(hs, qk, qkv, wide, nullptr); });
  report("norm_rotate_backward", 6 * S, [&] {
    norm_rotate_backward(hs, qk, {y, h, dh, kv_heads}, qkv, partial, partial, nullptr);
  });
  report("swiglu", 6 * F, [&] { swiglu(wide, act, n, f, nullptr); });
  report("swiglu_backward", 10 * F, [&] { swiglu_backward(wide, act, false, n, f, nullptr); });
  auto* logits = room<bf16>(8192 * v);
  auto* losses = room<double>(8192);
  auto* update = room<Update>(1);
  report("cross_entropy", 4.0 * 8192 * static_cast<double>(v), [&] {
    cross_entropy({0, &update->inverse_divisor}, logits, ids, losses, 8192, v, nullptr);
  });
  auto *p = room<float>(parameters), *g = room<float>(parameters), *m = room<float>(parameters),
       *w = room<float>(parameters);
  auto* copy = room<bf16>(parameters);
  auto* parts = room<double>(kSumParts);
  auto* decision = room<Decision>(1);
  std::vector<Tile> tiles;
  for (int64_t at = 0; at < parameters; at += kTile)
    tiles.push_back({at, static_cast<int32_t>(std::min<int64_t>(kTile, parameters - at)), 0.1F});
  auto* device_tiles = room<Tile>(static_cast<int64_t>(tiles.size()));
  cudaMemcpy(device_tiles, tiles.data(), tiles.size() * sizeof(Tile), cudaMemcpyHostToDevice);
  const auto P = static_cast<double>(parameters);
  report("square_sums", 4 * P, [&] { square_sums(g, parameters, parts, nullptr); });
  report("decide", 16.0 * kSumParts, [&] { decide(parts, parts, update, 1, decision, nullptr); });
  report("adamw", 30 * P, [&] {
    adamw({0.9F, 0.95F, 1e-8F}, device_tiles, static_cast<int64_t>(tiles.size()), update, decision,
          p, g, m, w, copy, nullptr);
  });
}

}  // namespace

int main() {
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::printf("no device\n");
    return 2;
  }
  time_all(16384, 2048, 32, 4, 5632, 32000, int64_t{1} << 29);
  time_all(8192, 256, 8, 4, 688, 4096, 6800000);
  return 0;
}
