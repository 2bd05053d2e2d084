// Counts what a test program allocates, in all its threads, and fails allocations on demand: allocations.cpp
// replaces every global operator new and delete.
#pragma once

#include <atomic>
#include <cstddef>

namespace gemma::test {

struct Allocations {
  std::atomic<std::size_t> calls{0};      // since the program began
  std::atomic<std::size_t> bytes{0};      // asked for, since the program began
  std::atomic<std::size_t> blocks{0};     // not freed yet
  std::atomic<std::size_t> live{0};       // bytes of the blocks not freed yet, with what malloc adds to each
  std::atomic<std::size_t> most_live{0};  // the most that live has been; tests reset it
  std::atomic<std::size_t> largest{0};    // bytes of one request; tests reset it

  // what tests set
  std::atomic<std::size_t> until_failure{0};  // the n-th from now on fails; 0: none
  std::atomic<bool> for_good{false};          // and all after it
  std::atomic<std::size_t> limit{0};          // one that would raise live above this fails; 0: none
  std::atomic<bool> failed{false};            // one has failed; tests reset it
};

extern Allocations allocations;

/// What happened since this was made.
class AllocationMark {
 public:
  std::size_t calls() const { return allocations.calls - calls_; }
  std::size_t bytes() const { return allocations.bytes - bytes_; }

 private:
  std::size_t calls_ = allocations.calls;
  std::size_t bytes_ = allocations.bytes;
};

}  // namespace gemma::test
