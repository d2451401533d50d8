// Threads that wait for work, barriers between them, and work that is handed out. Threads and
// barriers spin for a moment before they sleep: a step of a small model is shorter than waking a
// thread.
#ifndef TGO_ENGINE_POOL_HH
#define TGO_ENGINE_POOL_HH

#include <immintrin.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <string>
#include <system_error>
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

// Items 0 … n − 1, of which each thread has a run of its own. Who is done with its run goes on with
// the others', so that a slow core does not keep the others waiting.
class Runs {
 public:
  // Items from ends[i − 1] to ends[i] are thread i's.
  explicit Runs(std::vector<int> ends) : ends_(std::move(ends)), next_(ends_.size()) { reset(); }
  void reset() {
    for (std::size_t i = 0; i < next_.size(); i++) {
      next_[i].value.store(i == 0 ? 0 : ends_[i - 1], std::memory_order_relaxed);
    }
  }
  // The next item for a thread, or −1 when all have been taken.
  int take(int thread) {
    const std::size_t n = ends_.size();
    for (std::size_t i = 0; i < n; i++) {
      const std::size_t run = (static_cast<std::size_t>(thread) + i) % n;
      const int item = next_[run].value.fetch_add(1, std::memory_order_relaxed);
      if (item < ends_[run]) {
        return item;
      }
    }
    return -1;
  }

 private:
  struct alignas(64) Next {
    std::atomic<int> value{0};
  };
  std::vector<int> ends_;
  std::vector<Next> next_;
};

// Items 0 … n − 1 in chains: item i is the next of chain i mod (number of chains) when the chain's
// items before it are done. A chain is in one thread's hands at a time, so what is added up along
// it is added in the same order whoever does it; and with one chain more than threads, a thread
// that is free finds one as long as there is work for it.
class Chains {
 public:
  explicit Chains(int chains) : next_(static_cast<std::size_t>(chains)), held_(next_.size()) {}
  void reset(int items) {
    items_ = items;
    for (std::size_t c = 0; c < next_.size(); c++) {
      next_[c] = static_cast<int>(c);
      held_[c] = false;
    }
  }
  struct Item {
    int chain, item;
  };
  // The next item of a free chain, the one with most left, of equal ones the thread's own; −1 when
  // no free chain has any. `done` is the chain that the thread gives back, −1 for none.
  Item take(int thread, int done) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const int n = static_cast<int>(next_.size());
    if (done >= 0) {
      held_[static_cast<std::size_t>(done)] = false;
      next_[static_cast<std::size_t>(done)] += n;
    }
    Item best{-1, -1};
    int most = 0;
    for (int i = 0; i < n; i++) {
      const int chain = (thread + i) % n;
      const int next = next_[static_cast<std::size_t>(chain)];
      const int left = (items_ - next + n - 1) / n;
      if (!held_[static_cast<std::size_t>(chain)] && next < items_ && left > most) {
        best = {chain, next};
        most = left;
      }
    }
    if (best.chain >= 0) {
      held_[static_cast<std::size_t>(best.chain)] = true;
    }
    return best;
  }

 private:
  std::mutex mutex_;
  std::vector<int> next_;
  std::vector<bool> held_;
  int items_ = 0;
};

// `threads` − 1 threads of its own; the caller of run is thread 0.
class Pool {
 public:
  explicit Pool(int threads) : finished_(threads) {
    threads_.reserve(static_cast<std::size_t>(threads));
    try {
      for (int i = 1; i < threads; i++) {
        threads_.emplace_back([this, i] { serve(i); });
      }
    } catch (const std::system_error&) {  // the destructor does not run, and no thread may be left
      const std::size_t started = threads_.size() + 1;
      stop();
      throw std::runtime_error("only " + std::to_string(started) + " of " +
                               std::to_string(threads) +
                               " threads can be started here: set threads to fewer");
    }
  }
  ~Pool() { stop(); }
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
  void stop() {
    task_ = nullptr;
    announce();
    for (std::thread& t : threads_) {
      t.join();
    }
  }
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
