// The engine's own memory, seen from outside: the tests are linked with --wrap=mmap, so that they
// decide what lies in it and whether there is any.
#ifndef TGO_TESTS_MEMORY_HH
#define TGO_TESTS_MEMORY_HH

namespace tgo::tests {

// What fresh memory is filled with while this lives; 0 as the system does.
class FreshMemory {
 public:
  explicit FreshMemory(int byte);
  ~FreshMemory();
  FreshMemory(const FreshMemory&) = delete;
  FreshMemory& operator=(const FreshMemory&) = delete;
};

// While this lives, the n-th request fails, counted from 0.
class NoMemory {
 public:
  explicit NoMemory(int n);
  ~NoMemory();
  NoMemory(const NoMemory&) = delete;
  NoMemory& operator=(const NoMemory&) = delete;
  bool failed() const;
};

// Pieces of memory that were given and not taken back.
int pieces_in_use();

}  // namespace tgo::tests

#endif
