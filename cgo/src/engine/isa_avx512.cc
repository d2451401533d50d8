#define TGO_ISA avx512
#include "isa.hh"
#include "step.hh"

namespace tgo::engine {

const Kernels* kernels_avx512(bool half) {
  static constexpr Kernels kHalf = avx512::kernels<bf16>("avx512");
  static constexpr Kernels kFull = avx512::kernels<float>("avx512");
  return half ? &kHalf : &kFull;
}

}  // namespace tgo::engine
