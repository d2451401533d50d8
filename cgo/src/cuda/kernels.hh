// The kernels of the training step on a GPU, as plain functions over device memory: no torch here,
// so that a kernel file compiles in seconds. Each launches on `stream` and returns at once; a
// launch that CUDA refuses throws std::runtime_error.
//
// Letters: N rows (tokens), D width, H heads, G key/value heads, E head size, T time, S = (H +
// 2G)·E, F feed-forward width, V vocabulary.
//
// No kernel adds with atomics: sums run in a fixed order, so that equal inputs give equal bits.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

#include <cstdint>

#include "sizes.hh"

namespace tgo::cuda {

using bf16 = __nv_bfloat16;

// ---- embedding.cu ---------------------------------------------------------------------------

// x[n] = table[ids[n]], and h = bf16(x) unless null. An id is below the table's height.
void embed(const float* table, const int32_t* ids, float* x, bf16* h, int64_t rows, int64_t width,
           cudaStream_t stream);
// dtable[ids[n]] += dx[n] for rows in the order `order`, in which equal ids are neighbours. Rows
// that are left out have −1 at its end.
void embed_backward(const float* dx, const int32_t* ids, const int32_t* order, float* dtable,
                    int64_t rows, int64_t width, cudaStream_t stream);

// ---- norm.cu --------------------------------------------------------------------------------

// Of one norm over `width` columns; r = 1/sqrt(mean(·²) + eps).
struct Norm {
  const float* gain;
  float* rstd;  // [N] r of each row, written forward and read back
  int64_t rows, width;
  float eps;
};

// Before a sub-layer: out = x + y (y null: x), h = out · r · gain. out may be x, and null if y is.
void norm(const Norm& n, const float* x, const bf16* y, float* out, bf16* h, cudaStream_t stream);
// dx = [dx +] its gradient for dh; dx16 = bf16(dx) and h, computed again, unless null;
// partial [kGainParts, D] gets the gain's.
void norm_backward(const Norm& n, const float* x, const bf16* dh, bool add, float* dx, bf16* dx16,
                   bf16* h, float* partial, cudaStream_t stream);
// Behind a sub-layer: x += y · r · gain, h = bf16(x).
void post_norm(const Norm& n, const bf16* y, float* x, bf16* h, cudaStream_t stream);
// dx += dh (null: nothing), then dy = gradient for the norm of y whose result's gradient is dx.
void post_norm_backward(const Norm& n, const bf16* y, const bf16* dh, float* dx, bf16* dy,
                        float* partial, cudaStream_t stream);
// dx += dh.
void add(const bf16* dh, float* dx, int64_t count, cudaStream_t stream);

// One gain's gradient out[width] (+)= Σ over kGainParts rows of partial.
struct GainSum {
  const float* partial;
  float* out;
  int64_t width;
};
// All of them in one launch; `sums` lies on the device, the widest has `widest` columns.
void sum_gains(const GainSum* sums, int64_t count, int64_t widest, bool add, cudaStream_t stream);

// ---- rotary.cu ------------------------------------------------------------------------------

// The heads of a row of q, k, v: q at 0, k at H·E, v at (H+G)·E.
struct Heads {
  int64_t rows, time;
  int heads, kv_heads, size;
  const float *cosine, *sine;  // [T, E/2]
};

// Gains and scales of OLMo-2's norm over all query heads together, and over all key heads.
struct QKNorm {
  const float *q_gain, *k_gain;
  float* rstd;  // [N, 2]
  float eps;
};

// The gradients that attention's backward gave: [N, H, E] and twice [N, kv_given, E]; kv_given is
// G, or H when every query head had its own copy, and copies are then summed.
struct HeadGradients {
  const bf16 *q, *k, *v;
  int kv_given;
};

// Turns q and k of qkv [N, S] in place.
void rotate(const Heads& h, bf16* qkv, cudaStream_t stream);
// The opposite turn, into dqkv [N, S].
void rotate_backward(const Heads& h, const HeadGradients& d, bf16* dqkv, cudaStream_t stream);
// Normalises q and k of qkv [N, S], turns them, and writes them to qk [N, (H+G)·E].
void norm_rotate(const Heads& h, const QKNorm& n, const bf16* qkv, bf16* qk, cudaStream_t stream);
// Its gradient: qkv [N, S] becomes dqkv; partials are [kGainParts, H·E] and [kGainParts, G·E].
void norm_rotate_backward(const Heads& h, const QKNorm& n, const HeadGradients& d, bf16* qkv,
                          float* q_partial, float* k_partial, cudaStream_t stream);

// ---- swiglu.cu ------------------------------------------------------------------------------

// act = silu(gate) · up; a row of gate_up [N, 2F] is gate, then up.
void swiglu(const bf16* gate_up, bf16* act, int64_t rows, int64_t ffn, cudaStream_t stream);
// gate_up becomes its gradient, and with `again` dact becomes act, computed again.
void swiglu_backward(bf16* gate_up, bf16* dact, bool again, int64_t rows, int64_t ffn,
                     cudaStream_t stream);

// ---- loss.cu --------------------------------------------------------------------------------

struct CrossEntropy {
  float z_loss;
  const double* inverse_divisor;  // in device memory; null: logits stay as they are
};

// losses[n] = lse − logit[target] + z · lse², 0 when the target is negative; logits [N, V] become
// (softmax · (1 + 2 z · lse) − onehot) · inverse_divisor, 0 when the target is negative.
void cross_entropy(const CrossEntropy& c, bf16* logits, const int32_t* targets, double* losses,
                   int64_t rows, int64_t vocab, cudaStream_t stream);

// ---- optim.cu -------------------------------------------------------------------------------

constexpr int kSumParts = 1024;

// What the host says of a step, in device memory.
struct Update {
  double lr, decay;        // the schedules' values; a tile's weight decay is multiplied by decay
  double rate, root;       // lr / (1 − β1ᵗ) and 1 / √(1 − β2ᵗ)
  double inverse_divisor;  // 1 / targets of the step that count
};

// What the device says of it.
struct Decision {
  double loss, norm;
  float clip;       // multiplies every gradient
  int32_t stopped;  // 1: the loss or norm of this step or an earlier one was not finite
};

struct AdamW {
  float beta1, beta2, eps;
};

// A stretch of the flat buffers with one weight decay, handled by one block.
struct Tile {
  int64_t offset;
  int32_t length;
  float weight_decay;
};
constexpr int kTile = 8192;

// parts[i] = Σ x², or Σ x, over the i-th of kSumParts equal stretches.
void square_sums(const float* x, int64_t n, double* parts, cudaStream_t stream);
void sums(const double* x, int64_t n, double* parts, cudaStream_t stream);
// √Σ parts.
void root_of_sum(const double* parts, double* out, cudaStream_t stream);
// Fills `out` from both sums: the losses' over the divisor, the norm, and the factor that brings
// the norm down to clip_norm (0: no clipping). `stopped` is never taken back.
void decide(const double* loss_parts, const double* norm_parts, const Update* update,
            double clip_norm, Decision* out, cudaStream_t stream);
// p ← p − lr·λ·p − lr·m̂/(√v̂ + eps) for every tile, unless stopped; copy16 gets the rounded p.
void adamw(const AdamW& o, const Tile* tiles, int64_t count, const Update* update,
           const Decision* decision, float* p, const float* g, float* m, float* v, bf16* copy16,
           cudaStream_t stream);

}  // namespace tgo::cuda
