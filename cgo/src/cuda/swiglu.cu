// SwiGLU: act = silu(gate) · up with silu(x) = x · σ(x).
//
//   dgate = dact · up · σ(gate) · (1 + gate · (1 − σ(gate)))
//   dup   = dact · silu(gate)
//
// Backward overwrites gate and up with their gradients and, when the activation was not kept, dact
// with act, which the product for the next weight gradient needs.
#include "device.cuh"

namespace tgo::cuda {
namespace {

__device__ inline float sigmoid(float x) { return 1.0F / (1.0F + __expf(-x)); }

template <int W>
__global__ void swiglu_kernel(const bf16* gate_up, bf16* act, int64_t ffn) {
  const int64_t c = (int64_t{blockIdx.y} * kThreads + threadIdx.x) * W, row = blockIdx.x;
  if (c >= ffn) return;
  const Vec<W> gate = load<W>(gate_up + row * 2 * ffn + c);
  const Vec<W> up = load<W>(gate_up + (row * 2 + 1) * ffn + c);
  Vec<W> out;
#pragma unroll
  for (int i = 0; i < W; i++) out.v[i] = gate.v[i] * sigmoid(gate.v[i]) * up.v[i];
  store<W>(act + row * ffn + c, out);
}

template <int W>
__global__ void swiglu_backward_kernel(bf16* gate_up, bf16* dact, bool again, int64_t ffn) {
  const int64_t c = (int64_t{blockIdx.y} * kThreads + threadIdx.x) * W, row = blockIdx.x;
  if (c >= ffn) return;
  bf16 *g = gate_up + row * 2 * ffn + c, *u = g + ffn, *a = dact + row * ffn + c;
  const Vec<W> gate = load<W>(g), up = load<W>(u), d = load<W>(a);
  Vec<W> dgate, dup, act;
#pragma unroll
  for (int i = 0; i < W; i++) {
    const float s = sigmoid(gate.v[i]), silu = gate.v[i] * s;
    dgate.v[i] = d.v[i] * up.v[i] * s * (1.0F + gate.v[i] * (1.0F - s));
    dup.v[i] = d.v[i] * silu;
    act.v[i] = silu * up.v[i];
  }
  store<W>(g, dgate);
  store<W>(u, dup);
  if (again) store<W>(a, act);
}

}  // namespace

void swiglu(const bf16* gate_up, bf16* act, int64_t rows, int64_t ffn, cudaStream_t stream) {
  const bool wide = ffn % 8 == 0 && aligned({gate_up, act});
  const dim3 grid(static_cast<unsigned>(rows),
                  static_cast<unsigned>(ceil_div(ffn, kThreads * (wide ? 8 : 1))));
  if (wide) {
    swiglu_kernel<8><<<grid, kThreads, 0, stream>>>(gate_up, act, ffn);
  } else {
    swiglu_kernel<1><<<grid, kThreads, 0, stream>>>(gate_up, act, ffn);
  }
  check_launch("swiglu");
}

void swiglu_backward(bf16* gate_up, bf16* dact, bool again, int64_t rows, int64_t ffn,
                     cudaStream_t stream) {
  const bool wide = ffn % 8 == 0 && aligned({gate_up, dact});
  const dim3 grid(static_cast<unsigned>(rows),
                  static_cast<unsigned>(ceil_div(ffn, kThreads * (wide ? 8 : 1))));
  if (wide) {
    swiglu_backward_kernel<8><<<grid, kThreads, 0, stream>>>(gate_up, dact, again, ffn);
  } else {
    swiglu_backward_kernel<1><<<grid, kThreads, 0, stream>>>(gate_up, dact, again, ffn);
  }
  check_launch("swiglu_backward");
}

}  // namespace tgo::cuda
