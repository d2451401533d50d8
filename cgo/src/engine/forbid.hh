// What lies between the arrays of one piece of memory is nobody's: under AddressSanitizer touching
// it is an error.
#ifndef TGO_ENGINE_FORBID_HH
#define TGO_ENGINE_FORBID_HH

#include <cstddef>

#ifdef TGO_SANITIZE
#include <sanitizer/asan_interface.h>
#endif

namespace tgo::engine {

[[gnu::always_inline]] inline void forbid([[maybe_unused]] void* p,
                                          [[maybe_unused]] std::size_t bytes) {
#ifdef TGO_SANITIZE
  if (p != nullptr) {
    __asan_poison_memory_region(p, bytes);
  }
#endif
}
// Before the memory is given back: whoever gets it next may touch all of it.
[[gnu::always_inline]] inline void allow([[maybe_unused]] void* p,
                                         [[maybe_unused]] std::size_t bytes) {
#ifdef TGO_SANITIZE
  __asan_unpoison_memory_region(p, bytes);
#endif
}

}  // namespace tgo::engine

#endif
