// Softmax cross-entropy over rows of logits, which become their own gradient.
//
// For a row l with target y and lse = log Σ exp(l):
//   loss = lse − l[y] + z · lse²
//   dl   = (softmax(l) · (1 + 2 z · lse) − onehot(y)) / divisor
// A row whose target is negative has loss 0 and gradient 0. The divisor is read on the device: it
// differs from step to step of one graph.
#include "device.cuh"

namespace tgo::cuda {
namespace {

// Σ exp(l − top) over the logits seen, with top their largest.
struct Peak {
  float top, sum;
};

__device__ inline Peak join(Peak a, Peak b) {
  const float top = fmaxf(a.top, b.top);
  // Nothing seen yet: top is −∞, and exp(−∞ − −∞) would be NaN. A NaN among the logits must stay
  // one.
  const float left = a.sum == 0 ? 0 : a.sum * __expf(a.top - top);
  const float right = b.sum == 0 ? 0 : b.sum * __expf(b.top - top);
  return {top, left + right};
}

__device__ Peak block_join(Peak p, Peak* scratch) {
#pragma unroll
  for (int step = 16; step > 0; step /= 2) {
    p = join(
        p, {__shfl_xor_sync(0xffffffffU, p.top, step), __shfl_xor_sync(0xffffffffU, p.sum, step)});
  }
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = p;
  __syncthreads();
  p = scratch[0];
  for (int i = 1; i < kThreads / 32; i++) p = join(p, scratch[i]);
  return p;
}

template <int W>
__global__ void cross_entropy_kernel(CrossEntropy o, bf16* logits, const int32_t* targets,
                                     double* losses, int64_t vocab) {
  __shared__ Peak scratch[kThreads / 32];
  const int64_t row = blockIdx.x;
  const int32_t target = targets[row];
  const bool grad = o.inverse_divisor != nullptr;
  bf16* l = logits + row * vocab;
  if (target < 0) {
    if (threadIdx.x == 0) losses[row] = 0;
    for (int64_t c = threadIdx.x * W; grad && c < vocab; c += int64_t{kThreads} * W) {
      store<W>(l + c, Vec<W>{});
    }
    return;
  }
  const float at_target = __bfloat162float(l[target]);
  Peak peak{-INFINITY, 0};
  for (int64_t c = threadIdx.x * W; c < vocab; c += int64_t{kThreads} * W) {
    const Vec<W> x = load<W>(l + c);
    float top = peak.top;
#pragma unroll
    for (int i = 0; i < W; i++) top = fmaxf(top, x.v[i]);
    float sum = peak.sum == 0 ? 0 : peak.sum * __expf(peak.top - top);
#pragma unroll
    for (int i = 0; i < W; i++) sum += __expf(x.v[i] - top);
    peak = {top, sum};
  }
  peak = block_join(peak, scratch);
  const float lse = peak.top + logf(peak.sum);
  if (threadIdx.x == 0) losses[row] = static_cast<double>(lse - at_target + o.z_loss * lse * lse);
  if (!grad) return;
  const auto inverse_divisor = static_cast<float>(*o.inverse_divisor);
  const float scale = (1.0F + 2.0F * o.z_loss * lse) * inverse_divisor / peak.sum;
  for (int64_t c = threadIdx.x * W; c < vocab; c += int64_t{kThreads} * W) {
    Vec<W> x = load<W>(l + c);
#pragma unroll
    for (int i = 0; i < W; i++) {
      x.v[i] = __expf(x.v[i] - peak.top) * scale - (c + i == target ? inverse_divisor : 0.0F);
    }
    store<W>(l + c, x);
  }
}

}  // namespace

void cross_entropy(const CrossEntropy& c, bf16* logits, const int32_t* targets, double* losses,
                   int64_t rows, int64_t vocab, cudaStream_t stream) {
  const auto grid = static_cast<unsigned>(rows);
  if (vocab % 8 == 0 && aligned({logits})) {
    cross_entropy_kernel<8><<<grid, kThreads, 0, stream>>>(c, logits, targets, losses, vocab);
  } else {
    cross_entropy_kernel<1><<<grid, kThreads, 0, stream>>>(c, logits, targets, losses, vocab);
  }
  check_launch("cross_entropy");
}

}  // namespace tgo::cuda
