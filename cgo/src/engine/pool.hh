// Threads that wait for work and barriers between them. Both spin for a moment before they sleep: a
// step of a small model is shorter than waking a thread.
#ifndef TGO_ENGINE_POOL_HH
#define TGO_ENGINE_POOL_HH

#include <immintrin.h>

#include <atomic>
#include <functional>
#include <thread>
#include <vector>

namespace tgo::engine {

// Returns when `value` differs from `old`.
template <class V>
void wait_for_change(const std::atomic<V>& value, V old) {
  constexpr int kSpins = 4000;  // some tens of microseconds
  for (int i = 0; i < kSpins; i++) {
    if (value.load(std::memory_order_acquire) != old) {
      return;
    }
    _mm_pause();
  }
  value.wait(old, std::memory_order_acquire);
}

class Barrier {
 public:
  explicit Barrier(int threads) : threads_(threads) {}
  void wait() {
    const unsigned round = round_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads_) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
      round_.notify_all();
      return;
    }
    wait_for_change(round_, round);
  }

 private:
  const int threads_;
  std::atomic<int> arrived_{0};
  std::atomic<unsigned> round_{0};
};

// `threads` − 1 threads of its own; the caller of run is thread 0.
class Pool {
 public:
  explicit Pool(int threads) : finished_(threads) {
    for (int i = 1; i < threads; i++) {
      threads_.emplace_back([this, i] { serve(i); });
    }
  }
  ~Pool() {
    task_ = nullptr;
    announce();
    for (std::thread& t : threads_) {
      t.join();
    }
  }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;

  // Calls task(i) on every thread i and returns when all have returned. The task must not throw.
  void run(const std::function<void(int)>& task) {
    task_ = &task;
    announce();
    task(0);
    finished_.wait();
  }

 private:
  void announce() {
    round_.fetch_add(1, std::memory_order_release);
    round_.notify_all();
  }
  void serve(int i) {
    for (unsigned seen = 0;; seen++) {
      wait_for_change(round_, seen);
      if (task_ == nullptr) {
        return;
      }
      (*task_)(i);
      finished_.wait();
    }
  }

  std::atomic<unsigned> round_{0};
  const std::function<void(int)>* task_ = nullptr;
  Barrier finished_;
  std::vector<std::thread> threads_;
};

}  // namespace tgo::engine

#endif
