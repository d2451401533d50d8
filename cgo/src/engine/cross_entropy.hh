// Cross-entropy with z-loss over rows of logits l: L = lse − l[target] + z · lse², lse = log Σ
// exp(l), and dL/dl = p · (1 + 2·z·lse) − [target], p = exp(l − lse). A target below 0 does not
// count.
#ifndef TGO_ENGINE_CROSS_ENTROPY_HH
#define TGO_ENGINE_CROSS_ENTROPY_HH

#include "pack.hh"

namespace tgo::engine::TGO_ISA {

// Columns beyond the vocabulary do not count.
TGO_INLINE void mask_vocabulary(int valid, Vec* a, Vec* b) {
  if (valid < kBlock) {
    *a = keep_first(*a, at_most(kLanes, valid), -1e30F);
    *b = keep_first(*b, at_least(0, valid - kLanes), -1e30F);
  }
}

// A block of logits for training: kept, with the largest of each row so far noted lane by lane.
template <class T>
struct KeepLogits {
  TiledBlock<T> logits;
  float* top;  // [32 × 16]
  int valid;   // columns from the block's first on that are of the vocabulary

  TGO_INLINE void soon(int i) const { logits.expect(i); }
  TGO_INLINE void put(int i, const float* c) const {
    Vec a = load(c), b = load(c + kLanes);
    mask_vocabulary(valid, &a, &b);
    logits.put(i, a, b);
    float* t = top + i * kLanes;
    store(t, max(load(t), max(a, b)));
  }
};

// Value n of row m of tiled logits.
template <class T>
TGO_INLINE float logit_at(T* logits, int m, int n, int columns) {
  alignas(64) float block[kBlock];
  Vec a, b;
  TiledBlock(logits, m, n / kBlock * kBlock, columns).get(0, &a, &b);
  store(block, a);
  store(block + kLanes, b);
  return block[n % kBlock];
}

// 32 rows from m on of tiled logits with `columns` columns, whose largest are in top [32 × 16]:
// overwrites them with exp(l − largest), then with dL/dl · unit, and returns the sum of L.
template <class T>
double cross_entropy(T* logits, int m, int columns, const std::int32_t* targets, float* top,
                     float z_loss, float unit) {
  alignas(64) float sums[kBlock * kLanes];
  float shift[kBlock], logit[kBlock], factor[kBlock];
  for (int r = 0; r < kBlock; r++) {
    shift[r] = -largest(load(top + r * kLanes)) * kLog2E;
    logit[r] = targets[r] < 0 ? 0 : logit_at(logits, m + r, targets[r], columns);
    store(sums + r * kLanes, set1(0));
  }
  const Vec log2e = set1(kLog2E);
  Vec a, b;
  for (int n = 0; n < columns; n += kBlock) {
    const TiledBlock block(logits, m, n, columns);
    for (int r = 0; r < kBlock; r++) {
      block.get(r, &a, &b);
      const Vec s = set1(shift[r]);
      a = exp2<float>(fma(a, log2e, s));
      b = exp2<float>(fma(b, log2e, s));
      store(sums + r * kLanes, load(sums + r * kLanes) + (a + b));
      block.put(r, a, b);
    }
  }
  double loss = 0;
  float at_target[kBlock] = {};
  for (int r = 0; r < kBlock; r++) {
    factor[r] = 0;
    if (targets[r] < 0) {
      continue;
    }
    const float total = sum(load(sums + r * kLanes));
    const float lse = __builtin_logf(total) - shift[r] / kLog2E;
    loss += static_cast<double>(lse - logit[r]) + static_cast<double>(z_loss * lse * lse);
    factor[r] = unit * (1 + 2 * z_loss * lse) / total;
    at_target[r] = __builtin_exp2f(__builtin_fmaf(logit[r], kLog2E, shift[r])) * factor[r] - unit;
  }
  for (int n = 0; n < columns; n += kBlock) {
    const TiledBlock block(logits, m, n, columns);
    for (int r = 0; r < kBlock; r++) {
      block.get(r, &a, &b);
      const Vec k = set1(factor[r]);
      block.put(r, a * k, b * k);
    }
  }
  for (int r = 0; r < kBlock; r++) {
    if (targets[r] >= 0) {
      T* p = logits + tiled<T>(m + r, targets[r], columns);
      if constexpr (sizeof(T) == 4) {
        *p = at_target[r];
      } else {
        alignas(32) T rounded[kLanes];
        store(rounded, set1(at_target[r]));
        *p = rounded[0];
      }
    }
  }
  return loss;
}

// The same loss without any logits in memory, for evaluation: a running maximum and sum for each
// lane of each row, and the target's logit as it passes.
struct RunningLoss {
  float *top, *sums;  // [rows × 16]
  float* logit;       // [rows]

  TGO_INLINE void start(int rows) const {
    for (int r = 0; r < rows; r++) {
      store(top + r * kLanes, set1(-1e30F));
      store(sums + r * kLanes, set1(0));
      logit[r] = 0;
    }
  }
  // 32 logits of row m from column n on.
  TGO_INLINE void add(int m, int n, Vec a, Vec b, int target) const {
    const std::size_t at = static_cast<std::size_t>(m) * kLanes;
    const Vec old = load(top + at), now = max(old, max(a, b)), k = set1(kLog2E);
    store(sums + at, load(sums + at) * exp2<float>((old - now) * k) + exp2<float>((a - now) * k) +
                         exp2<float>((b - now) * k));
    store(top + at, now);
    if (target >= n && target < n + kBlock) {
      alignas(64) float block[kBlock];
      store(block, a);
      store(block + kLanes, b);
      logit[m] = block[target - n];
    }
  }
  // lse − l[target] of row m.
  TGO_INLINE double loss(int m) const {
    const std::size_t at = static_cast<std::size_t>(m) * kLanes;
    const Vec t = load(top + at);
    const float largest_of_row = largest(t);
    const float total =
        sum(load(sums + at) * exp2<float>((t - set1(largest_of_row)) * set1(kLog2E)));
    return __builtin_log(total) + largest_of_row - logit[m];
  }
};

// A block of logits for evaluation.
struct AddToLoss {
  const RunningLoss& running;
  const std::int32_t* targets;
  int m, n, valid;

  TGO_INLINE void soon(int) const {}
  TGO_INLINE void put(int i, const float* c) const {
    Vec a = load(c), b = load(c + kLanes);
    mask_vocabulary(valid, &a, &b);
    running.add(m + i, n, a, b, targets[m + i]);
  }
};

}  // namespace tgo::engine::TGO_ISA

#endif
