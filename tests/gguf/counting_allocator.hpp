// Counts the allocations of a test program: counting_allocator.cpp replaces the global operators new and
// delete. For single-threaded tests.
#pragma once

#include <cstddef>

namespace gemma::gguf::test {

struct Allocations {
  std::size_t largest = 0;    // the largest single request, in bytes
  std::size_t live = 0;       // bytes allocated and not freed
  std::size_t most_live = 0;  // the maximum of `live` so far
};

/// The counts so far; tests may reset `largest` and `most_live`.
extern Allocations counted;

}  // namespace gemma::gguf::test
