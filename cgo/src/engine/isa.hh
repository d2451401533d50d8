// The instruction sets, each compiled from the same sources with its own flags (CMakeLists.txt).
#ifndef TGO_ENGINE_ISA_HH
#define TGO_ENGINE_ISA_HH

#include "engine.hh"

namespace tgo::engine {

// In bfloat16 (`half`) or float32.
const Kernels* kernels_amx(bool half);
const Kernels* kernels_avx512_bf16(bool half);
const Kernels* kernels_avx512(bool half);
const Kernels* kernels_avx2(bool half);

// The best of this processor, or the one of that name; null when the processor has none of that
// name.
const Kernels* choose_kernels(const char* name, bool half);

}  // namespace tgo::engine

#endif
