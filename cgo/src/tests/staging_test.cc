// The order of rows that the GPU step is given, and what it refuses: the part of it that needs no
// GPU.
#include "../cuda/staging.hh"

#include <cstdio>
#include <cstdlib>
#include <numeric>

namespace {

int failures = 0;

void expect(bool ok, const char* what) {
  if (!ok) {
    std::fprintf(stderr, "FAIL: %s\n", what);
    failures++;
  }
}

using Ids = std::vector<int32_t>;

// Three sequences of four rows: whole, padded behind a gap in what counts, and nothing but padding.
void order_of_rows() {
  const Ids ids{2, 0, 2, 1, 2, 0, 0, 0, 0, 0, 0, 0};
  const Ids targets{0, 2, 1, 2, 0, -1, 1, -1, -1, -1, -1, -1};
  Ids order(ids.size(), 77), starts(4);
  for (int twice = 0; twice < 2; twice++) {
    tgo::cuda::sort_rows(ids.data(), targets.data(), 3, 4, order.data(), starts);
    expect(order == Ids({1, 5, 6, 3, 0, 2, 4, -1, -1, -1, -1, -1}), "rows by id, then none");
  }
  const Ids all(ids.size(), 1);
  tgo::cuda::sort_rows(ids.data(), all.data(), 3, 4, order.data(), starts);
  Ids sorted = order, want(ids.size());
  std::sort(sorted.begin(), sorted.end());
  std::iota(want.begin(), want.end(), 0);
  expect(sorted == want, "without padding every row is there");
  expect(std::is_sorted(order.begin(), order.end(),
                        [&](int32_t a, int32_t b) {
                          return ids[static_cast<size_t>(a)] < ids[static_cast<size_t>(b)];
                        }),
         "equal ids are neighbours");
}

void ids_are_counted_and_refused() {
  const Ids targets{3, -1, 0, -1};
  Ids copy(4);
  expect(tgo::cuda::copy_ids(targets.data(), copy.data(), 4, -1, 4) == 2, "two targets count");
  expect(copy == targets, "all are copied");
  for (const int32_t high : {3, 4}) {
    const int32_t low = high == 3 ? -1 : 0;
    bool refused = false;
    try {
      tgo::cuda::copy_ids(targets.data(), copy.data(), 4, low, high);
    } catch (const c10::Error&) {
      refused = true;
    }
    expect(refused, "an id outside its range is refused");
  }
}

}  // namespace

int main() {
  order_of_rows();
  ids_are_counted_and_refused();
  std::printf(failures == 0 ? "staging_test: all passed\n" : "staging_test: %d failures\n",
              failures);
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
