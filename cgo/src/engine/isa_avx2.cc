#define TGO_ISA avx2
#include "isa.hh"
#include "step.hh"

namespace tgo::engine {

const Kernels* kernels_avx2(bool half) {
  static constexpr Kernels kHalf = avx2::kernels<bf16>("avx2");
  static constexpr Kernels kFull = avx2::kernels<float>("avx2");
  return half ? &kHalf : &kFull;
}

}  // namespace tgo::engine
