// What the host does with a step's tokens before the device sees them. Needs no CUDA.
#pragma once

#include <c10/util/Exception.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace tgo::cuda {

// Refuses an id that is not in [low, high), and copies. Returns how many are not negative.
inline int64_t copy_ids(const int32_t* from, int32_t* to, int64_t count, int32_t low,
                        int32_t high) {
  int64_t counted = 0;
  for (int64_t i = 0; i < count; i++) {
    TORCH_CHECK(from[i] >= low && from[i] < high, "id ", from[i], " at position ", i, " is not in ",
                low, " … ", high - 1);
    to[i] = from[i];
    counted += from[i] >= 0 ? 1 : 0;
  }
  return counted;
}

// How many rows of a sequence have a gradient. Attention is causal: nothing that counts sees a row
// behind the last target that does.
inline int64_t length_of(const int32_t* targets, int64_t time) {
  while (time > 0 && targets[time - 1] < 0) {
    time--;
  }
  return time;
}

// Sorts the rows that have a gradient by their id, equal ids in the order of rows; −1 follows.
// Padding, all of it one id, would else be a single block's work. `starts` is scratch, one longer
// than the vocabulary.
inline void sort_rows(const int32_t* ids, const int32_t* targets, int64_t sequences, int64_t time,
                      int32_t* order, std::vector<int32_t>& starts) {
  const auto visit = [&](const auto& row) {
    for (int64_t first = 0; first < sequences * time; first += time) {
      const int64_t end = first + length_of(targets + first, time);
      for (int64_t i = first; i < end; i++) {
        row(i);
      }
    }
  };
  std::fill(starts.begin(), starts.end(), 0);
  visit([&](int64_t i) { starts[static_cast<size_t>(ids[i]) + 1]++; });
  for (size_t id = 1; id < starts.size(); id++) {
    starts[id] += starts[id - 1];
  }
  std::fill(order, order + sequences * time, -1);
  visit([&](int64_t i) { order[starts[static_cast<size_t>(ids[i])]++] = static_cast<int32_t>(i); });
}

}  // namespace tgo::cuda
