// Norms in a fixed order, the decision whether a step counts, and AdamW over all parameters in one
// pass.
#include "device.cuh"

namespace tgo::cuda {
namespace {

constexpr int kSumThreads = 512;

// Sum over a block of kSumThreads threads, the same order every time; valid in thread 0.
__device__ double block_sum(double x) {
  __shared__ double scratch[kSumThreads / 32];
  x = warp_sum(x);
  __syncthreads();
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = x;
  __syncthreads();
  double sum = 0;
  for (int i = 0; i < kSumThreads / 32; i++) sum += scratch[i];
  return sum;
}

// Block b sums its stretch of `length` elements, a multiple of 4.
template <int W>
__global__ void square_sums_kernel(const float* x, int64_t n, int64_t length, double* parts) {
  const int64_t end = min(n, (int64_t{blockIdx.x} + 1) * length);
  double sum = 0;
  for (int64_t i = blockIdx.x * length + threadIdx.x * W; i < end; i += int64_t{kSumThreads} * W) {
    const Vec<W> v = load<W>(x + i);
    double part = 0;
#pragma unroll
    for (int j = 0; j < W; j++) part += static_cast<double>(v.v[j]) * static_cast<double>(v.v[j]);
    sum += part;
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

__global__ void sums_kernel(const double* x, int64_t n, int64_t length, double* parts) {
  const int64_t end = min(n, (int64_t{blockIdx.x} + 1) * length);
  double sum = 0;
  for (int64_t i = blockIdx.x * length + threadIdx.x; i < end; i += kSumThreads) sum += x[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

__device__ double sum_of_parts(const double* parts) {
  double sum = 0;
  for (int i = threadIdx.x; i < kSumParts; i += kSumThreads) sum += parts[i];
  return block_sum(sum);
}

__global__ void root_of_sum_kernel(const double* parts, double* out) {
  const double sum = sum_of_parts(parts);
  if (threadIdx.x == 0) *out = sqrt(sum);
}

__global__ void decide_kernel(const double* loss_parts, const double* norm_parts,
                              const Update* update, double clip_norm, Decision* out) {
  const double loss = sum_of_parts(loss_parts) * update->inverse_divisor;
  const double norm = sqrt(sum_of_parts(norm_parts));
  if (threadIdx.x > 0) return;
  out->loss = loss;
  out->norm = norm;
  out->clip = clip_norm > 0 ? static_cast<float>(fmin(1.0, clip_norm / (norm + 1e-6))) : 1.0F;
  if (!isfinite(loss) || !isfinite(norm)) out->stopped = 1;
}

struct Buffers {
  float* p;
  const float* g;
  float *m, *v;
  bf16* copy16;
};

struct Numbers {
  float shrink, rate, root, scale;
};

template <int W>
__device__ void adamw_tile(const AdamW& o, const Numbers& u, const Buffers& b, int64_t from,
                           int64_t end) {
  for (int64_t i = from + threadIdx.x * W; i < end; i += int64_t{kThreads} * W) {
    Vec<W> p = load<W>(b.p + i), m = load<W>(b.m + i), v = load<W>(b.v + i);
    const Vec<W> g = load<W>(b.g + i);
#pragma unroll
    for (int j = 0; j < W; j++) {
      const float gradient = g.v[j] * u.scale;
      m.v[j] = o.beta1 * m.v[j] + (1.0F - o.beta1) * gradient;
      v.v[j] = o.beta2 * v.v[j] + (1.0F - o.beta2) * gradient * gradient;
      p.v[j] = p.v[j] * u.shrink - u.rate * m.v[j] / (sqrtf(v.v[j]) * u.root + o.eps);
    }
    store<W>(b.p + i, p);
    store<W>(b.m + i, m);
    store<W>(b.v + i, v);
    store<W>(b.copy16 + i, p);
  }
}

__global__ void adamw_kernel(AdamW o, const Tile* tiles, const Update* update,
                             const Decision* decision, Buffers b) {
  if (decision->stopped != 0) return;
  const Tile t = tiles[blockIdx.x];
  const Numbers u{static_cast<float>(1.0 - update->lr * (update->decay * t.weight_decay)),
                  static_cast<float>(update->rate), static_cast<float>(update->root),
                  decision->clip};
  const int64_t end = t.offset + t.length;
  if (t.offset % 4 == 0 && t.length % 4 == 0) {
    adamw_tile<4>(o, u, b, t.offset, end);
  } else {
    adamw_tile<1>(o, u, b, t.offset, end);
  }
}

}  // namespace

void square_sums(const float* x, int64_t n, double* parts, cudaStream_t stream) {
  const int64_t length = ceil_div(ceil_div(n, kSumParts), 4) * 4;
  if (n % 4 == 0 && aligned({x})) {
    square_sums_kernel<4><<<kSumParts, kSumThreads, 0, stream>>>(x, n, length, parts);
  } else {
    square_sums_kernel<1><<<kSumParts, kSumThreads, 0, stream>>>(x, n, length, parts);
  }
  check_launch("square_sums");
}

void sums(const double* x, int64_t n, double* parts, cudaStream_t stream) {
  sums_kernel<<<kSumParts, kSumThreads, 0, stream>>>(x, n, ceil_div(n, kSumParts), parts);
  check_launch("sums");
}

void root_of_sum(const double* parts, double* out, cudaStream_t stream) {
  root_of_sum_kernel<<<1, kSumThreads, 0, stream>>>(parts, out);
  check_launch("root_of_sum");
}

void decide(const double* loss_parts, const double* norm_parts, const Update* update,
            double clip_norm, Decision* out, cudaStream_t stream) {
  decide_kernel<<<1, kSumThreads, 0, stream>>>(loss_parts, norm_parts, update, clip_norm, out);
  check_launch("decide");
}

void adamw(const AdamW& o, const Tile* tiles, int64_t count, const Update* update,
           const Decision* decision, float* p, const float* g, float* m, float* v, bf16* copy16,
           cudaStream_t stream) {
  adamw_kernel<<<static_cast<unsigned>(count), kThreads, 0, stream>>>(o, tiles, update, decision,
                                                                      {p, g, m, v, copy16});
  check_launch("adamw");
}

}  // namespace tgo::cuda
