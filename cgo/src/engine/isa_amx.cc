#define TGO_ISA amx
#include "isa.hh"
#include "step.hh"

namespace tgo::engine {

const Kernels* kernels_amx(bool half) {
  static constexpr Kernels kHalf = amx::kernels<bf16>("amx");
  static constexpr Kernels kFull = amx::kernels<float>("amx");
  return half ? &kHalf : &kFull;
}

}  // namespace tgo::engine
