// A plan of a model and the memory of one thread, for kernels that need them.
#ifndef TGO_TESTS_STATE_HH
#define TGO_TESTS_STATE_HH

#include <cstdlib>
#include <memory>

#include "../../engine/plan.hh"
#include "probe.hh"

namespace tgo::tests {

class ThreadState {
 public:
  // `rows` rows of sequences of `time` rows each.
  ThreadState(const Probe& p, const engine::Shape& shape, const std::int64_t* offsets, int rows,
              int time)
      : kernels_(p.kernels), plan_(shape, offsets, p.half ? 2 : 4) {
    engine::Setup s;
    s.shape = shape;
    s.time = time;
    s.rows = s.group_rows = s.chunk_rows = rows;
    s.head_rows = rows < 256 ? rows : 256;
    s.gradient_values = plan_.gradient_values();
    // Exactly as much as asked, all NaN.
    const std::size_t bytes = (kernels_->state_bytes(s) + 63) / 64 * 64;
    memory_.reset(std::aligned_alloc(64, bytes));
    std::memset(memory_.get(), 0xff, bytes);
    float* dx = nullptr;
    std::int32_t* ids = nullptr;
    kernels_->init(s, memory_.get(), &gradient_, &dx, &ids);
  }
  void* get() const { return memory_.get(); }
  const engine::Plan& plan() const { return plan_; }
  const engine::Network& network() const { return plan_.network(); }
  float* gradient() const { return gradient_; }

  // Renews the panels.
  void load(const std::vector<float>& flat) {
    engine::UpdateNumbers numbers;
    numbers.p = const_cast<float*>(flat.data());  // without moments nothing is written
    for (const engine::Unit& u : plan_.units()) {
      kernels_->update(get(), network(), u, engine::Gradients{}, numbers);
    }
  }

 private:
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  const engine::Kernels* kernels_;
  engine::Plan plan_;
  std::unique_ptr<void, Free> memory_;
  float* gradient_ = nullptr;
};

}  // namespace tgo::tests

#endif
