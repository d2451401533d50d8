// Tokens drawn from the scores of what follows a row, by inverse transform: token i has the weight
// exp((score i − largest) / temperature), and a number from 0 to 1 of the sum of all weights falls
// into one token's. Weights are float32, their sums over runs of tokens add up in double. What is
// drawn depends on the row alone.
#ifndef TGO_ENGINE_DRAW_HH
#define TGO_ENGINE_DRAW_HH

#include "engine.hh"
#include "vec.hh"

namespace tgo::engine::TGO_ISA {

constexpr int kRun = 128;                  // tokens whose weights have a sum of their own
constexpr float kLowest = -3.4028235e38F;  // no score is below

// Rows whose scores lie in the cache until tokens are drawn from them.
TGO_INLINE int drawn_rows(int head_rows, int columns) {
  constexpr int kScores = 1 << 18;
  return at_most(head_rows, at_least(kBlock, kScores / columns / kBlock * kBlock));
}
// From one row of scores to the next: not a power of two, or all rows would share cache sets.
TGO_INLINE int score_stride(int columns) { return columns + kLanes; }

// Divides the positive scores of the tokens of a sequence and multiplies the negative ones, once
// each however often a token is there. `before` has room for all.
TGO_INLINE void penalise(float* scores, const DecodeRow& row, const Drawing& d, float* before) {
  const int own = row.position + 1 - row.prefix_length;
  const auto each = [&](auto&& f) {
    for (int i = 0; i < row.prefix_length; i++) {
      f(i, row.prefix_ids[i]);
    }
    for (int i = 0; i < own; i++) {
      f(row.prefix_length + i, row.own_ids[i]);
    }
  };
  each([&](int i, std::int32_t id) { before[i] = scores[id]; });
  each([&](int i, std::int32_t id) {
    scores[id] = before[i] > 0 ? before[i] / d.penalty : before[i] * d.penalty;
  });
}

// The first token of a run with which the weights exceed `left`; the heaviest when rounding has
// used them up.
TGO_INLINE std::int32_t token_of_run(const float* weights, int from, int to, double left) {
  int heaviest = from;
  for (int i = from; i < to; i++) {
    left -= static_cast<double>(weights[i]);
    if (left < 0) {
      return i;
    }
    heaviest = weights[i] > weights[heaviest] ? i : heaviest;
  }
  return heaviest;
}

// Draws the tokens that a row wants and overwrites its scores; −1 when they are not numbers. `sums`
// has room for those of all runs.
TGO_INLINE void draw(float* scores, const DecodeRow& row, const Drawing& d, double* sums) {
  const int last = (d.known - 1) / kLanes * kLanes, end = last + kLanes;
  store(scores + last, keep_first(load(scores + last), d.known - last, kLowest));
  Vec top = set1(kLowest), zero = set1(0);
  for (int i = 0; i < end; i += kLanes) {
    const Vec x = load(scores + i);
    top = max(top, x);
    zero = fma(x, set1(0), zero);
  }
  const float most = largest(top);
  if (!(sum(zero) == 0)) {
    for (int i = 0; i < row.draws; i++) {
      row.tokens[i] = -1;
    }
    return;
  }
  if (d.scale == 0) {
    int first = 0;
    while (scores[first] < most) {
      first++;
    }
    for (int i = 0; i < row.draws; i++) {
      row.tokens[i] = first;
    }
    return;
  }
  const Vec shift = set1(most), scale = set1(d.scale);
  double total = 0;
  for (int from = 0; from < end; from += kRun) {
    Vec of_run = set1(0);
    for (int i = from; i < at_most(end, from + kRun); i += kLanes) {
      const Vec w = exp2<float>(max((load(scores + i) - shift) * scale, set1(-200)));
      store(scores + i, w);
      of_run = of_run + w;
    }
    total += static_cast<double>(sum(of_run));
    sums[from / kRun] = total;
  }
  for (int i = 0; i < row.draws; i++) {
    const double at = row.u[i] * total;
    int run = 0;
    while ((run + 1) * kRun < d.known && sums[run] <= at) {
      run++;
    }
    row.tokens[i] = token_of_run(scores, run * kRun, at_most(d.known, (run + 1) * kRun),
                                 at - (run > 0 ? sums[run - 1] : 0));
  }
}

}  // namespace tgo::engine::TGO_ISA

#endif
