// RMSNorm with the residual stream's addition, before a sub-layer (Llama-2) and behind one
// (OLMo-2).
//
// With r = 1/sqrt(mean(x²) + eps), h = x · r, g = gain:
//   y     = h · g
//   dgain = Σ rows dy · h
//   dx    = r · (dy · g − h · mean(dy · g · h))
//
// P threads share a row, each W neighbouring columns at a time. Backward, a fixed number of blocks
// walks over the rows and keeps the gain's gradient in shared memory, each thread its own columns.
#include "device.cuh"

namespace tgo::cuda {
namespace {

// Where a thread stands: its row in the block, its first column and the distance to its next.
template <int W, int P>
struct Place {
  static constexpr int kRows = kThreads / P;
  static constexpr int64_t kStride = int64_t{P} * W;
  int row = threadIdx.x / P;
  int64_t column = int64_t{threadIdx.x % P} * W;
};

template <int W, int P>
__global__ void norm_kernel(Norm n, const float* x, const bf16* y, float* out, bf16* h) {
  using At = Place<W, P>;
  __shared__ float scratch[kThreads / 32];
  const At at;
  const int64_t row = int64_t{blockIdx.x} * At::kRows + at.row, from = row * n.width;
  const int64_t width = row < n.rows ? n.width : 0;
  const auto value = [&](int64_t c) {
    Vec<W> v = load<W>(x + from + c);
    if (y != nullptr) {
      const Vec<W> more = load<W>(y + from + c);
#pragma unroll
      for (int i = 0; i < W; i++) v.v[i] += more.v[i];
    }
    return v;
  };
  float sum = 0;
  for (int64_t c = at.column; c < width; c += At::kStride) {
    const Vec<W> v = value(c);
#pragma unroll
    for (int i = 0; i < W; i++) sum += v.v[i] * v.v[i];
  }
  sum = row_sum<P>(sum, scratch);
  const float r = 1.0F / sqrtf(sum / static_cast<float>(n.width) + n.eps);
  if (at.column == 0 && width > 0) n.rstd[row] = r;
  for (int64_t c = at.column; c < width; c += At::kStride) {
    Vec<W> v = value(c);
    if (out != nullptr) store<W>(out + from + c, v);
    const Vec<W> g = load<W>(n.gain + c);
#pragma unroll
    for (int i = 0; i < W; i++) v.v[i] *= r * g.v[i];
    store<W>(h + from + c, v);
  }
}

template <int W, int P>
__global__ void post_norm_kernel(Norm n, const bf16* y, float* x, bf16* h) {
  using At = Place<W, P>;
  __shared__ float scratch[kThreads / 32];
  const At at;
  const int64_t row = int64_t{blockIdx.x} * At::kRows + at.row, from = row * n.width;
  const int64_t width = row < n.rows ? n.width : 0;
  float sum = 0;
  for (int64_t c = at.column; c < width; c += At::kStride) {
    const Vec<W> v = load<W>(y + from + c);
#pragma unroll
    for (int i = 0; i < W; i++) sum += v.v[i] * v.v[i];
  }
  sum = row_sum<P>(sum, scratch);
  const float r = 1.0F / sqrtf(sum / static_cast<float>(n.width) + n.eps);
  if (at.column == 0 && width > 0) n.rstd[row] = r;
  for (int64_t c = at.column; c < width; c += At::kStride) {
    const Vec<W> v = load<W>(y + from + c), g = load<W>(n.gain + c);
    Vec<W> sum_of = load<W>(x + from + c);
#pragma unroll
    for (int i = 0; i < W; i++) sum_of.v[i] += v.v[i] * r * g.v[i];
    store<W>(x + from + c, sum_of);
    store<W>(h + from + c, sum_of);
  }
}

// Blocks that a multiprocessor must hold at once, so that all kGainParts run together on a large
// device.
constexpr int kGainBlocks = 4;

// The block's sums for the gain: a copy a row of the block, added up in order at the end. A thread
// with only one stretch of columns keeps its sums in registers.
template <int W, int P>
struct GainSums {
  using At = Place<W, P>;
  float* mine;
  bool one;
  Vec<W> kept{};
  __device__ GainSums(float* shared, const At& at, int64_t width) : one(width <= At::kStride) {
    for (int64_t i = threadIdx.x; i < At::kRows * width; i += kThreads) shared[i] = 0;
    mine = shared + at.row * width;
    __syncthreads();
  }
  __device__ void add(int64_t c, const Vec<W>& x) {
#pragma unroll
    for (int i = 0; i < W; i++) {
      if (one) {
        kept.v[i] += x.v[i];
      } else {
        mine[c + i] += x.v[i];
      }
    }
  }
  __device__ void write(const float* shared, const At& at, float* partial, int64_t width) {
    for (int i = 0; one && at.column < width && i < W; i++) mine[at.column + i] = kept.v[i];
    __syncthreads();
    for (int64_t c = threadIdx.x; c < width; c += kThreads) {
      float sum = 0;
      for (int row = 0; row < At::kRows; row++) sum += shared[row * width + c];
      partial[blockIdx.x * width + c] = sum;
    }
  }
};

struct NormBackward {
  const float* x;
  const bf16* dh;
  bool add;
  float* dx;
  bf16 *dx16, *h;
  float* partial;
};

template <int W, int P>
__global__ void __launch_bounds__(kThreads, kGainBlocks)
    norm_backward_kernel(Norm n, NormBackward b) {
  using At = Place<W, P>;
  extern __shared__ float shared[];
  __shared__ float scratch[kThreads / 32];
  const At at;
  GainSums<W, P> gains(shared, at, n.width);
  for (int64_t first = int64_t{blockIdx.x} * At::kRows; first < n.rows;
       first += int64_t{gridDim.x} * At::kRows) {
    const int64_t row = first + at.row, from = row * n.width;
    const int64_t width = row < n.rows ? n.width : 0;
    const float r = width > 0 ? n.rstd[row] : 0;
    float sum = 0;
    for (int64_t c = at.column; c < width; c += At::kStride) {
      const Vec<W> x = load<W>(b.x + from + c), d = load<W>(b.dh + from + c);
      const Vec<W> g = load<W>(n.gain + c);
#pragma unroll
      for (int i = 0; i < W; i++) sum += d.v[i] * g.v[i] * x.v[i] * r;
    }
    const float mean = row_sum<P>(sum, scratch) / static_cast<float>(n.width);
    for (int64_t c = at.column; c < width; c += At::kStride) {
      // Read again, from the cache: kept in registers, they would leave room for fewer blocks.
      const Vec<W> x = load<W>(b.x + from + c), d = load<W>(b.dh + from + c);
      const Vec<W> g = load<W>(n.gain + c);
      Vec<W> out = b.add ? load<W>(b.dx + from + c) : Vec<W>{}, again, dgain;
#pragma unroll
      for (int i = 0; i < W; i++) {
        const float hat = x.v[i] * r;
        dgain.v[i] = d.v[i] * hat;
        out.v[i] += r * (d.v[i] * g.v[i] - hat * mean);
        again.v[i] = x.v[i] * (r * g.v[i]);
      }
      gains.add(c, dgain);
      store<W>(b.dx + from + c, out);
      if (b.dx16 != nullptr) store<W>(b.dx16 + from + c, out);
      if (b.h != nullptr) store<W>(b.h + from + c, again);
    }
  }
  gains.write(shared, at, b.partial, n.width);
}

template <int W, int P>
__global__ void __launch_bounds__(kThreads, kGainBlocks)
    post_norm_backward_kernel(Norm n, const bf16* y, const bf16* dh, float* dx, bf16* dy,
                              float* partial) {
  using At = Place<W, P>;
  extern __shared__ float shared[];
  __shared__ float scratch[kThreads / 32];
  const At at;
  GainSums<W, P> gains(shared, at, n.width);
  for (int64_t first = int64_t{blockIdx.x} * At::kRows; first < n.rows;
       first += int64_t{gridDim.x} * At::kRows) {
    const int64_t row = first + at.row, from = row * n.width;
    const int64_t width = row < n.rows ? n.width : 0;
    const float r = width > 0 ? n.rstd[row] : 0;
    float sum = 0;
    for (int64_t c = at.column; c < width; c += At::kStride) {
      Vec<W> d = load<W>(dx + from + c);
      const Vec<W> v = load<W>(y + from + c), g = load<W>(n.gain + c);
      if (dh != nullptr) {
        const Vec<W> more = load<W>(dh + from + c);
#pragma unroll
        for (int i = 0; i < W; i++) d.v[i] += more.v[i];
        store<W>(dx + from + c, d);
      }
#pragma unroll
      for (int i = 0; i < W; i++) sum += d.v[i] * g.v[i] * v.v[i] * r;
    }
    const float mean = row_sum<P>(sum, scratch) / static_cast<float>(n.width);
    for (int64_t c = at.column; c < width; c += At::kStride) {
      const Vec<W> d = load<W>(dx + from + c), v = load<W>(y + from + c);
      const Vec<W> g = load<W>(n.gain + c);
      Vec<W> out, dgain;
#pragma unroll
      for (int i = 0; i < W; i++) {
        const float hat = v.v[i] * r;
        dgain.v[i] = d.v[i] * hat;
        out.v[i] = r * (d.v[i] * g.v[i] - hat * mean);
      }
      gains.add(c, dgain);
      store<W>(dy + from + c, out);
    }
  }
  gains.write(shared, at, partial, n.width);
}

template <int W>
__global__ void add_kernel(const bf16* dh, float* dx, int64_t count) {
  const int64_t at = (int64_t{blockIdx.x} * kThreads + threadIdx.x) * W;
  if (at >= count) return;
  Vec<W> x = load<W>(dx + at);
  const Vec<W> d = load<W>(dh + at);
#pragma unroll
  for (int i = 0; i < W; i++) x.v[i] += d.v[i];
  store<W>(dx + at, x);
}

// 32 columns, each summed by kGroups threads over stretches of the rows, these sums then in order.
constexpr int kGroups = 16;

__global__ void sum_gains_kernel(const GainSum* gains, bool add) {
  __shared__ float sums[kGroups][32];
  const GainSum s = gains[blockIdx.y];
  const int64_t c = int64_t{blockIdx.x} * 32 + threadIdx.x;
  float sum = 0;
  if (c < s.width) {
    const float* from = s.partial + threadIdx.y * (kGainParts / kGroups) * s.width + c;
#pragma unroll 8
    for (int i = 0; i < kGainParts / kGroups; i++) sum += from[i * s.width];
  }
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0 || c >= s.width) return;
  float total = add ? s.out[c] : 0;
#pragma unroll
  for (int i = 0; i < kGroups; i++) total += sums[i][threadIdx.x];
  s.out[c] = total;
}

template <class Launch>
void by_threads(int64_t needed, Launch&& launch) {
  if (needed <= 32) {
    launch(std::integral_constant<int, 32>());
  } else if (needed <= 64) {
    launch(std::integral_constant<int, 64>());
  } else if (needed <= 128) {
    launch(std::integral_constant<int, 128>());
  } else {
    launch(std::integral_constant<int, 256>());
  }
}

// Calls launch(W, P): eight columns an access where width and addresses allow it.
template <class Launch>
void by_width(int64_t width, bool addresses, Launch&& launch) {
  if (width % 8 == 0 && addresses) {
    by_threads(width / 8, [&](auto p) { launch(std::integral_constant<int, 8>(), p); });
  } else {
    by_threads(width, [&](auto p) { launch(std::integral_constant<int, 1>(), p); });
  }
}

unsigned blocks_of(int64_t rows, int threads_a_row) {
  return static_cast<unsigned>(ceil_div(rows, kThreads / threads_a_row));
}

// Shared memory of a backward kernel; more than 48 KiB must be asked for.
template <class Kernel>
size_t gain_bytes(Kernel* kernel, int64_t width, int threads_a_row) {
  const size_t bytes = static_cast<size_t>(kThreads / threads_a_row * width) * sizeof(float);
  if (bytes > 47U << 10U) {
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                         static_cast<int>(bytes));
  }
  return bytes;
}

}  // namespace

void norm(const Norm& n, const float* x, const bf16* y, float* out, bf16* h, cudaStream_t stream) {
  by_width(n.width, aligned({x, y, out, h, n.gain}), [&](auto w, auto p) {
    norm_kernel<w(), p()><<<blocks_of(n.rows, p()), kThreads, 0, stream>>>(n, x, y, out, h);
  });
  check_launch("norm");
}

void norm_backward(const Norm& n, const float* x, const bf16* dh, bool add, float* dx, bf16* dx16,
                   bf16* h, float* partial, cudaStream_t stream) {
  by_width(n.width, aligned({x, dh, dx, dx16, h, n.gain}), [&](auto w, auto p) {
    auto* kernel = norm_backward_kernel<w(), p()>;
    const size_t bytes = gain_bytes(kernel, n.width, p());
    kernel<<<kGainParts, kThreads, bytes, stream>>>(n, {x, dh, add, dx, dx16, h, partial});
  });
  check_launch("norm_backward");
}

void post_norm(const Norm& n, const bf16* y, float* x, bf16* h, cudaStream_t stream) {
  by_width(n.width, aligned({x, y, h, n.gain}), [&](auto w, auto p) {
    post_norm_kernel<w(), p()><<<blocks_of(n.rows, p()), kThreads, 0, stream>>>(n, y, x, h);
  });
  check_launch("post_norm");
}

void post_norm_backward(const Norm& n, const bf16* y, const bf16* dh, float* dx, bf16* dy,
                        float* partial, cudaStream_t stream) {
  by_width(n.width, aligned({y, dh, dx, dy, n.gain}), [&](auto w, auto p) {
    auto* kernel = post_norm_backward_kernel<w(), p()>;
    const size_t bytes = gain_bytes(kernel, n.width, p());
    kernel<<<kGainParts, kThreads, bytes, stream>>>(n, y, dh, dx, dy, partial);
  });
  check_launch("post_norm_backward");
}

void add(const bf16* dh, float* dx, int64_t count, cudaStream_t stream) {
  const bool wide = count % 8 == 0 && aligned({dh, dx});
  const auto grid = static_cast<unsigned>(ceil_div(count, kThreads * (wide ? 8 : 1)));
  if (wide) {
    add_kernel<8><<<grid, kThreads, 0, stream>>>(dh, dx, count);
  } else {
    add_kernel<1><<<grid, kThreads, 0, stream>>>(dh, dx, count);
  }
  check_launch("add");
}

void sum_gains(const GainSum* sums, int64_t count, int64_t widest, bool add, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(ceil_div(widest, 32)), static_cast<unsigned>(count));
  sum_gains_kernel<<<grid, dim3(32, kGroups), 0, stream>>>(sums, add);
  check_launch("sum_gains");
}

}  // namespace tgo::cuda
