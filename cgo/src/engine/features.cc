#include "features.hh"

#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace tgo::engine {
namespace {

// AMX needs the CPU to have it and the kernel to grant its 8 KiB of tile state to this process.
bool has_amx_bf16() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d) == 0 || (d & (1U << 22)) == 0) {
    return false;
  }
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

bool has_avx512_bf16() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a & (1U << 5)) != 0;
}

}  // namespace

Features features() {
  Features f{};
  f.avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  f.avx512 = f.avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
             __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  f.avx512_bf16 = f.avx512 && has_avx512_bf16();
  f.amx_bf16 = f.avx512_bf16 && has_amx_bf16();
  return f;
}

}  // namespace tgo::engine
