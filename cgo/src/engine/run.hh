// The engine as a whole: plan, threads, their memory, and the order in which they work.
#ifndef TGO_ENGINE_RUN_HH
#define TGO_ENGINE_RUN_HH

#include <chrono>
#include <memory>
#include <vector>

#include "isa.hh"
#include "plan.hh"
#include "pool.hh"

namespace tgo::engine {

struct Options {
  bool half = true;  // products in bfloat16
  int threads = 1;
  bool backward = true;
  int sequences = 1;  // of the largest micro-batch
  const char* isa = "";
};

struct Batch {
  const std::int32_t *ids = nullptr, *targets = nullptr;
  int sequences = 0, time = 0, micro = 0;
  double divisor = 1, z_loss = 0;
};

// What an optimizer step needs besides its batch.
struct Optimizer {
  double lr, beta1, beta2, eps, clip;
  std::int64_t step;    // 1 for the first
  const double* decay;  // of every parameter
};

struct Result {
  double loss = 0, norm = 0;
  bool updated = false;
};

// On the time-stamp counter, which spans are measured with, and on the clock that knows seconds.
struct Moment {
  std::uint64_t ticks = 0;
  std::chrono::steady_clock::time_point time;
};

struct Span {
  int thread, part;
  double start, seconds;
};

// Keys and values of sequences that are being continued, each in a slot.
class Cache {
 public:
  // `capacity` positions of a slot's own, besides those that it shares.
  Cache(const Shape& shape, bool half, int slots, int capacity);

  // An empty sequence, or, with from ≥ 0, one that goes on from the first `length` positions of
  // slot `from`, which has none from another itself.
  void begin(int slot, int from, int length);
  // Appends a token: its row, of which nothing is wanted yet.
  DecodeRow append(int slot, std::int32_t id);
  // Takes the last token of a slot back.
  void take_back(int slot) { at(slot).length--; }
  int slots() const { return static_cast<int>(slots_.size()); }
  int capacity() const { return capacity_; }

 private:
  struct Slot {
    int length = 0;  // with what is shared
    int from = -1, shared = 0;
    int sharers = 0;  // other slots that go on from this one
  };
  Slot& at(int slot) { return slots_.at(static_cast<std::size_t>(slot)); }
  char* start(int slot) const {
    return static_cast<char*>(memory_.get()) + static_cast<std::size_t>(slot) * slot_bytes_;
  }
  std::int32_t* ids(int slot) {
    return ids_.data() + static_cast<std::size_t>(slot) * static_cast<std::size_t>(capacity_);
  }

  int capacity_, context_;
  std::size_t slot_bytes_;
  std::vector<Slot> slots_;
  std::vector<std::int32_t> ids_;  // own tokens [slots × capacity]
  Memory memory_;
};

class Engine {
 public:
  Engine(const Shape& shape, const Options& options, const std::int64_t* offsets);

  const char* isa() const { return kernels_->name; }
  const Shape& shape() const { return plan_.network().shape; }
  const Options& options() const { return options_; }
  int parameters() const { return plan_.parameters(); }
  // Elements that the flat buffers must have.
  std::int64_t values() const { return plan_.values(); }
  static std::size_t bytes(const Shape& shape, const Options& options);

  void load(const float* params);
  Result step(float* params, float* m, float* v, const Batch& batch, const Optimizer& o);
  Result gradients(const float* params, const Batch& batch, float* grads);
  double loss(const float* params, const Batch& batch);
  // Rows of a cache of this engine's model, those of a slot one behind the other.
  void decode(const float* params, const Cache& cache, const std::vector<DecodeRow>& rows,
              const Drawing& drawing);

  void trace(std::size_t capacity);
  std::vector<Span> spans() const;

 private:
  struct Worker {
    std::unique_ptr<Memory> memory;
    Clock clock;
    std::vector<Stretch> trace;
  };
  // What is added up along a chain of shares.
  struct Sum {
    std::unique_ptr<Memory> gradient;
    bool fresh = true;  // nothing of this step yet
    double loss = 0;
  };
  // What the threads of a step share.
  struct Shared {
    const float* table;
    const Batch* batch;
    Gradients gradients;
    std::vector<float*> of_sum;
    Result result;
  };

  static Setup setup(const Shape& shape, const Options& options, std::size_t gradient_values);
  static int sums(const Setup& setup, const Options& options, std::size_t gradient_values);
  int shares(int sequences) const;
  Share share(const Batch& batch, int first, int count, int index) const;
  void begin_shares(const Batch& batch, int first);
  void mark(Worker& w, Part part) const;
  void wait(int thread);
  void begin(const float* params, const Batch& batch, Shared& shared);
  // Forward and backward of a batch, and the sum of its gradients.
  void accumulate(int thread, Shared& shared);
  void micro_batch(int thread, const Shared& shared, int first, int count);
  struct Columns {
    int from, to;
  };
  Columns columns_of(int thread) const;
  void clear_table(int thread);
  void scatter(int thread, const Batch& batch, int first, int count);
  void add_up(int thread, Shared& shared);
  Result finish(const Shared& shared) const;
  void update(int thread, const Gradients& gradients, const UpdateNumbers& numbers);
  void run(const std::function<void(int)>& task);
  std::vector<int> divide_units() const;

  Options options_;
  const Kernels* kernels_;
  Plan plan_;
  Setup setup_;
  std::vector<Worker> workers_;
  std::vector<Sum> sums_;
  Chains chains_;
  Runs adding_, updating_;      // units
  std::unique_ptr<Memory> dx_;  // gradient of the residual stream of a micro-batch
  std::unique_ptr<Memory> table_gradient_;
  std::vector<double> squares_;  // of each unit's gradients
  Barrier barrier_;
  Moment trace_start_;
  Pool pool_;  // last: its threads use all of the above
};

}  // namespace tgo::engine

#endif
