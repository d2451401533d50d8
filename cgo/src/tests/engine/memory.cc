#include "memory.hh"

#include <sys/mman.h>

#include <atomic>
#include <cerrno>
#include <cstring>

namespace {

std::atomic<int> fill_byte{0}, fail_after{-1}, in_use{0};
std::atomic<bool> has_failed{false};

}  // namespace

extern "C" {

void* __real_mmap(void* start, std::size_t bytes, int protection, int flags, int file, off_t at);
int __real_munmap(void* start, std::size_t bytes);

void* __wrap_mmap(void* start, std::size_t bytes, int protection, int flags, int file, off_t at) {
  if (fail_after >= 0 && fail_after-- == 0) {
    has_failed = true;
    errno = ENOMEM;
    return MAP_FAILED;
  }
  void* p = __real_mmap(start, bytes, protection, flags, file, at);
  if (p != MAP_FAILED) {
    in_use++;
    if (fill_byte != 0) {
      std::memset(p, fill_byte, bytes);
    }
  }
  return p;
}

int __wrap_munmap(void* start, std::size_t bytes) {
  in_use--;
  return __real_munmap(start, bytes);
}

}  // extern "C"

namespace tgo::tests {

FreshMemory::FreshMemory(int byte) { fill_byte = byte; }
FreshMemory::~FreshMemory() { fill_byte = 0; }

NoMemory::NoMemory(int n) {
  has_failed = false;
  fail_after = n;
}
NoMemory::~NoMemory() { fail_after = -1; }
bool NoMemory::failed() const { return has_failed; }

int pieces_in_use() { return in_use; }

}  // namespace tgo::tests
