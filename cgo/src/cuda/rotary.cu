// Rotary embedding in the half-split layout, on the rows of the fused product q, k, v; with
// OLMo-2's norm over all query heads and over all key heads before it.
//
// Backward turns by the opposite angle. The norm's formulas are those of norm.cu, with a row's
// queries (H·E) and keys (G·E) as two vectors.
#include "device.cuh"

namespace tgo::cuda {
namespace {

// W elements of a head's first half and the W they are turned with.
template <int W>
struct Pair {
  Vec<W> a, b;
};

template <int W>
__device__ inline Pair<W> load_pair(const bf16* p, int half) {
  return {load<W>(p), load<W>(p + half)};
}

template <int W>
__device__ inline void store_pair(bf16* p, int half, const Pair<W>& x) {
  store<W>(p, x.a);
  store<W>(p + half, x.b);
}

// Turns by the angles at `angle`; sign +1 forward, −1 back.
template <int W>
__device__ inline Pair<W> turn(const Pair<W>& x, const Heads& h, int64_t angle, float sign) {
  const Vec<W> c = load<W>(h.cosine + angle), s = load<W>(h.sine + angle);
  Pair<W> y;
#pragma unroll
  for (int i = 0; i < W; i++) {
    const float sine = sign * s.v[i];
    y.a.v[i] = x.a.v[i] * c.v[i] - x.b.v[i] * sine;
    y.b.v[i] = x.b.v[i] * c.v[i] + x.a.v[i] * sine;
  }
  return y;
}

// The pair at element i of key or value head `head` in a gradient of `given` heads a row: that
// head's, or the sum over its query heads' copies.
template <int W>
__device__ inline Pair<W> kv_pair(const Heads& h, const bf16* d, int given, int64_t row, int head,
                                  int i) {
  const int copies = given / h.kv_heads;
  const bf16* from = d + (row * given + int64_t{head} * copies) * h.size + i;
  Pair<W> x = load_pair<W>(from, h.size / 2);
  for (int copy = 1; copy < copies; copy++) {
    const Pair<W> more = load_pair<W>(from + int64_t{copy} * h.size, h.size / 2);
#pragma unroll
    for (int j = 0; j < W; j++) x.a.v[j] += more.a.v[j], x.b.v[j] += more.b.v[j];
  }
  return x;
}

template <int W>
__device__ inline Pair<W> gradient_pair(const Heads& h, const HeadGradients& d, int64_t row,
                                        int head, int i) {
  if (head < h.heads) {
    return load_pair<W>(d.q + (row * h.heads + head) * h.size + i, h.size / 2);
  }
  if (head < h.heads + h.kv_heads) {
    return kv_pair<W>(h, d.k, d.kv_given, row, head - h.heads, i);
  }
  return kv_pair<W>(h, d.v, d.kv_given, row, head - h.heads - h.kv_heads, i);
}

// Which pair a thread of a flat grid has: `heads` heads a row.
template <int W>
struct Item {
  int64_t row;
  int head, i;
  __device__ Item(const Heads& h, int heads) {
    const auto flat = static_cast<uint32_t>(blockIdx.x * kThreads + threadIdx.x);
    const auto per_head = static_cast<uint32_t>(h.size / 2 / W);
    const uint32_t all = flat / per_head;
    i = static_cast<int>(flat % per_head) * W;
    head = static_cast<int>(all % static_cast<uint32_t>(heads));
    row = all / static_cast<uint32_t>(heads);
  }
};

template <int W>
__global__ void rotate_kernel(Heads h, bf16* qkv) {
  const Item<W> at(h, h.heads + h.kv_heads);
  if (at.row >= h.rows) return;
  const int64_t stride = int64_t{h.heads + 2 * h.kv_heads} * h.size;
  bf16* p = qkv + at.row * stride + int64_t{at.head} * h.size + at.i;
  const int64_t angle = at.row % h.time * (h.size / 2) + at.i;
  store_pair<W>(p, h.size / 2, turn<W>(load_pair<W>(p, h.size / 2), h, angle, 1.0F));
}

template <int W>
__global__ void rotate_backward_kernel(Heads h, HeadGradients d, bf16* dqkv) {
  const int heads = h.heads + 2 * h.kv_heads;
  const Item<W> at(h, heads);
  if (at.row >= h.rows) return;
  Pair<W> x = gradient_pair<W>(h, d, at.row, at.head, at.i);
  if (at.head < h.heads + h.kv_heads) {
    x = turn<W>(x, h, at.row % h.time * (h.size / 2) + at.i, -1.0F);
  }
  bf16* p = dqkv + (at.row * heads + at.head) * h.size + at.i;
  store_pair<W>(p, h.size / 2, x);
}

// A stretch of heads that one norm covers.
struct Stretch {
  int first, count;
  const float* gain;
};

__device__ inline Stretch stretch_of(const Heads& h, const QKNorm& n, int which) {
  return which == 0 ? Stretch{0, h.heads, n.q_gain} : Stretch{h.heads, h.kv_heads, n.k_gain};
}

// Calls body(head, i) for the pairs of a stretch that are this thread's.
template <int W, class Body>
__device__ inline void each_pair(const Heads& h, const Stretch& s, Body&& body) {
  const int per_head = h.size / 2 / W;
  for (int item = threadIdx.x; item < s.count * per_head; item += kThreads) {
    body(item / per_head, item % per_head * W);
  }
}

template <int W>
__device__ inline float square(const Pair<W>& x) {
  float sum = 0;
#pragma unroll
  for (int j = 0; j < W; j++) sum += x.a.v[j] * x.a.v[j] + x.b.v[j] * x.b.v[j];
  return sum;
}

template <int W>
__global__ void norm_rotate_kernel(Heads h, QKNorm n, const bf16* qkv, bf16* qk) {
  __shared__ float scratch[kThreads / 32];
  const int64_t row = blockIdx.x;
  const int half = h.size / 2;
  for (int which = 0; which < 2; which++) {
    const Stretch s = stretch_of(h, n, which);
    const bf16* from = qkv + (row * (h.heads + 2 * h.kv_heads) + s.first) * h.size;
    bf16* to = qk + (row * (h.heads + h.kv_heads) + s.first) * h.size;
    float sum = 0;
    each_pair<W>(h, s, [&](int head, int i) {
      sum += square<W>(load_pair<W>(from + head * h.size + i, half));
    });
    sum = row_sum<kThreads>(sum, scratch);
    const float r = 1.0F / sqrtf(sum / static_cast<float>(s.count * h.size) + n.eps);
    if (threadIdx.x == 0) n.rstd[row * 2 + which] = r;
    each_pair<W>(h, s, [&](int head, int i) {
      const int at = head * h.size + i;
      Pair<W> x = load_pair<W>(from + at, half);
      const Vec<W> ga = load<W>(s.gain + at), gb = load<W>(s.gain + at + half);
#pragma unroll
      for (int j = 0; j < W; j++) {
        x.a.v[j] = rounded(x.a.v[j] * r * ga.v[j]);
        x.b.v[j] = rounded(x.b.v[j] * r * gb.v[j]);
      }
      store_pair<W>(to + at, half, turn<W>(x, h, row % h.time * half + i, 1.0F));
    });
  }
}

template <int W>
__device__ void norm_rotate_backward_row(const Heads& h, const QKNorm& n, const HeadGradients& d,
                                         bf16* qkv, float* gains, float* scratch, int64_t row,
                                         int which) {
  const Stretch s = stretch_of(h, n, which);
  const int half = h.size / 2;
  const float r = n.rstd[row * 2 + which];
  bf16* base = qkv + (row * (h.heads + 2 * h.kv_heads) + s.first) * h.size;
  const auto gradient = [&](int head, int i) {
    Pair<W> x = gradient_pair<W>(h, d, row, s.first + head, i);
    x = turn<W>(x, h, row % h.time * half + i, -1.0F);
#pragma unroll
    for (int j = 0; j < W; j++) x.a.v[j] = rounded(x.a.v[j]), x.b.v[j] = rounded(x.b.v[j]);
    return x;
  };
  float sum = 0;
  each_pair<W>(h, s, [&](int head, int i) {
    const int at = head * h.size + i;
    const Pair<W> dy = gradient(head, i), x = load_pair<W>(base + at, half);
    const Vec<W> ga = load<W>(s.gain + at), gb = load<W>(s.gain + at + half);
#pragma unroll
    for (int j = 0; j < W; j++) {
      sum += dy.a.v[j] * ga.v[j] * x.a.v[j] * r + dy.b.v[j] * gb.v[j] * x.b.v[j] * r;
    }
  });
  const float mean = row_sum<kThreads>(sum, scratch) / static_cast<float>(s.count * h.size);
  float* mine = gains + s.first * h.size;
  each_pair<W>(h, s, [&](int head, int i) {
    const int at = head * h.size + i;
    const Pair<W> dy = gradient(head, i), x = load_pair<W>(base + at, half);
    const Vec<W> ga = load<W>(s.gain + at), gb = load<W>(s.gain + at + half);
    Pair<W> out;
#pragma unroll
    for (int j = 0; j < W; j++) {
      const float ha = x.a.v[j] * r, hb = x.b.v[j] * r;
      mine[at + j] += dy.a.v[j] * ha;
      mine[at + half + j] += dy.b.v[j] * hb;
      out.a.v[j] = r * (dy.a.v[j] * ga.v[j] - ha * mean);
      out.b.v[j] = r * (dy.b.v[j] * gb.v[j] - hb * mean);
    }
    store_pair<W>(base + at, half, out);
  });
}

template <int W>
__global__ void norm_rotate_backward_kernel(Heads h, QKNorm n, HeadGradients d, bf16* qkv,
                                            float* q_partial, float* k_partial) {
  extern __shared__ float gains[];  // (H + G)·E
  __shared__ float scratch[kThreads / 32];
  const int q_width = h.heads * h.size, k_width = h.kv_heads * h.size;
  for (int i = threadIdx.x; i < q_width + k_width; i += kThreads) gains[i] = 0;
  __syncthreads();
  const Stretch values{h.heads + h.kv_heads, h.kv_heads, nullptr};
  for (int64_t row = blockIdx.x; row < h.rows; row += gridDim.x) {
    for (int which = 0; which < 2; which++) {
      norm_rotate_backward_row<W>(h, n, d, qkv, gains, scratch, row, which);
    }
    bf16* base = qkv + (row * (h.heads + 2 * h.kv_heads) + values.first) * h.size;
    each_pair<W>(h, values, [&](int head, int i) {
      const Pair<W> x = gradient_pair<W>(h, d, row, values.first + head, i);
      store_pair<W>(base + head * h.size + i, h.size / 2, x);
    });
  }
  __syncthreads();
  for (int i = threadIdx.x; i < q_width; i += kThreads)
    q_partial[blockIdx.x * q_width + i] = gains[i];
  for (int i = threadIdx.x; i < k_width; i += kThreads) {
    k_partial[blockIdx.x * k_width + i] = gains[q_width + i];
  }
}

bool wide(const Heads& h, std::initializer_list<const void*> pointers) {
  return h.size % 16 == 0 && aligned({h.cosine, h.sine}) && aligned(pointers);
}

unsigned flat_grid(const Heads& h, int heads, int per_item) {
  const int64_t items = h.rows * heads * (h.size / 2 / per_item);
  if (items >= int64_t{1} << 31) throw std::runtime_error("rotary: too many rows in a micro-batch");
  return static_cast<unsigned>(ceil_div(items, kThreads));
}

}  // namespace

void rotate(const Heads& h, bf16* qkv, cudaStream_t stream) {
  const int heads = h.heads + h.kv_heads;
  if (wide(h, {qkv})) {
    rotate_kernel<8><<<flat_grid(h, heads, 8), kThreads, 0, stream>>>(h, qkv);
  } else {
    rotate_kernel<1><<<flat_grid(h, heads, 1), kThreads, 0, stream>>>(h, qkv);
  }
  check_launch("rotate");
}

void rotate_backward(const Heads& h, const HeadGradients& d, bf16* dqkv, cudaStream_t stream) {
  const int heads = h.heads + 2 * h.kv_heads;
  if (wide(h, {d.q, d.k, d.v, dqkv})) {
    rotate_backward_kernel<8><<<flat_grid(h, heads, 8), kThreads, 0, stream>>>(h, d, dqkv);
  } else {
    rotate_backward_kernel<1><<<flat_grid(h, heads, 1), kThreads, 0, stream>>>(h, d, dqkv);
  }
  check_launch("rotate_backward");
}

void norm_rotate(const Heads& h, const QKNorm& n, const bf16* qkv, bf16* qk, cudaStream_t stream) {
  const auto grid = static_cast<unsigned>(h.rows);
  if (wide(h, {qkv, qk, n.q_gain, n.k_gain})) {
    norm_rotate_kernel<8><<<grid, kThreads, 0, stream>>>(h, n, qkv, qk);
  } else {
    norm_rotate_kernel<1><<<grid, kThreads, 0, stream>>>(h, n, qkv, qk);
  }
  check_launch("norm_rotate");
}

void norm_rotate_backward(const Heads& h, const QKNorm& n, const HeadGradients& d, bf16* qkv,
                          float* q_partial, float* k_partial, cudaStream_t stream) {
  auto* kernel = wide(h, {d.q, d.k, d.v, qkv, n.q_gain, n.k_gain}) ? norm_rotate_backward_kernel<8>
                                                                   : norm_rotate_backward_kernel<1>;
  const size_t bytes = static_cast<size_t>((h.heads + h.kv_heads) * h.size) * sizeof(float);
  if (bytes > 47U << 10U) {
    cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                         static_cast<int>(bytes));
  }
  kernel<<<kGainParts, kThreads, bytes, stream>>>(h, n, d, qkv, q_partial, k_partial);
  check_launch("norm_rotate_backward");
}

}  // namespace tgo::cuda
