#define TGO_ISA avx512_bf16
#include "isa.hh"
#include "step.hh"

namespace tgo::engine {

const Kernels* kernels_avx512_bf16(bool half) {
  static constexpr Kernels kHalf = avx512_bf16::kernels<bf16>("avx512_bf16");
  static constexpr Kernels kFull = avx512_bf16::kernels<float>("avx512_bf16");
  return half ? &kHalf : &kFull;
}

}  // namespace tgo::engine
