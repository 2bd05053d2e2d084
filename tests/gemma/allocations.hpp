// Counts the allocations of a test program in all its threads: allocations.cpp replaces all global operators
// new and delete.
#pragma once

#include <atomic>
#include <cstddef>

namespace gemma::test {

struct Allocations {
  std::atomic<std::size_t> calls{0};  // since the program began
  std::atomic<std::size_t> bytes{0};  // requested since the program began
  std::atomic<std::size_t> live{0};   // blocks not freed yet
};

extern Allocations allocations;

/// The allocations since this object was created.
class AllocationMark {
 public:
  std::size_t calls() const { return allocations.calls - calls_; }
  std::size_t bytes() const { return allocations.bytes - bytes_; }

 private:
  std::size_t calls_ = allocations.calls;
  std::size_t bytes_ = allocations.bytes;
};

}  // namespace gemma::test
