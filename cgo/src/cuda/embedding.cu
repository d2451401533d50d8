// The embedding's gather, and its gradient without atomics: rows are visited in an order in which
// equal ids are neighbours, and the block at the head of such a stretch adds the whole stretch up.
#include "device.cuh"

namespace tgo::cuda {
namespace {

template <int W>
__global__ void embed_kernel(const float* table, const int32_t* ids, float* x, bf16* h,
                             int64_t width) {
  const int64_t row = blockIdx.x;
  const float* from = table + ids[row] * width;
  for (int64_t c = threadIdx.x * W; c < width; c += int64_t{kThreads} * W) {
    const Vec<W> v = load<W>(from + c);
    store<W>(x + row * width + c, v);
    if (h != nullptr) store<W>(h + row * width + c, v);
  }
}

// Rows read ahead of their sum, so that their latencies overlap.
constexpr int kAhead = 8;

template <int W>
__global__ void embed_backward_kernel(const float* dx, const int32_t* ids, const int32_t* order,
                                      float* dtable, int64_t rows, int64_t width) {
  const int64_t first = blockIdx.x;
  if (order[first] < 0) return;  // left out
  const int32_t id = ids[order[first]];
  if (first > 0 && ids[order[first - 1]] == id) return;  // not the head of a stretch
  const int64_t c = (int64_t{blockIdx.y} * kThreads + threadIdx.x) * W;
  if (c >= width) return;
  Vec<W> sum{};
  bool more = true;
  for (int64_t at = first; more; at += kAhead) {
    Vec<W> v[kAhead];
    bool same[kAhead];
#pragma unroll
    for (int i = 0; i < kAhead; i++) {
      const int32_t row = at + i < rows ? order[at + i] : -1;
      same[i] = row >= 0 && ids[row] == id;
      v[i] = same[i] ? load<W>(dx + row * width + c) : Vec<W>{};
    }
#pragma unroll
    for (int i = 0; i < kAhead; i++) {
      more = more && same[i];
      if (!more) continue;
#pragma unroll
      for (int j = 0; j < W; j++) sum.v[j] += v[i].v[j];
    }
  }
  float* to = dtable + id * width + c;
  Vec<W> total = load<W>(to);
#pragma unroll
  for (int j = 0; j < W; j++) total.v[j] += sum.v[j];
  store<W>(to, total);
}

}  // namespace

void embed(const float* table, const int32_t* ids, float* x, bf16* h, int64_t rows, int64_t width,
           cudaStream_t stream) {
  const auto grid = static_cast<unsigned>(rows);
  if (width % 8 == 0 && aligned({table, x, h})) {
    embed_kernel<8><<<grid, kThreads, 0, stream>>>(table, ids, x, h, width);
  } else {
    embed_kernel<1><<<grid, kThreads, 0, stream>>>(table, ids, x, h, width);
  }
  check_launch("embed");
}

void embed_backward(const float* dx, const int32_t* ids, const int32_t* order, float* dtable,
                    int64_t rows, int64_t width, cudaStream_t stream) {
  const bool wide = width % 4 == 0 && aligned({dx, dtable});
  const int64_t columns = ceil_div(width, kThreads * (wide ? 4 : 1));
  const dim3 grid(static_cast<unsigned>(rows), static_cast<unsigned>(columns));
  if (wide) {
    embed_backward_kernel<4><<<grid, kThreads, 0, stream>>>(dx, ids, order, dtable, rows, width);
  } else {
    embed_backward_kernel<1><<<grid, kThreads, 0, stream>>>(dx, ids, order, dtable, rows, width);
  }
  check_launch("embed_backward");
}

}  // namespace tgo::cuda
