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
    s.rows = s.chunk_rows = rows;
    s.head_rows = rows < 256 ? rows : 256;
    // Exactly as much as asked, all NaN.
    const std::size_t bytes = (kernels_->state_bytes(s) + 63) / 64 * 64;
    memory_.reset(std::aligned_alloc(64, bytes));
    std::memset(memory_.get(), 0xff, bytes);
    kernels_->init(s, memory_.get());
    gradient_.assign(plan_.gradient_values(), NAN);
    dx_.assign(static_cast<std::size_t>(rows * shape.d()), NAN);
  }
  void* get() const { return memory_.get(); }
  const engine::Plan& plan() const { return plan_; }
  const engine::Network& network() const { return plan_.network(); }
  float* gradient() { return gradient_.data(); }
  // Gradient of the residual stream.
  float* dx() { return dx_.data(); }

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
  std::vector<float> gradient_, dx_;
};

}  // namespace tgo::tests

#endif
