// What this processor and kernel offer.
#ifndef TGO_ENGINE_FEATURES_HH
#define TGO_ENGINE_FEATURES_HH

namespace tgo::engine {

struct Features {
  bool avx2, avx512, avx512_bf16, amx_bf16;
};

// Asks the kernel for the permission that AMX needs, too; the answer does not change.
Features features();

}  // namespace tgo::engine

#endif
