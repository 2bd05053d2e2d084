// What this machine can reach at most, measured in the run that quotes it: reading memory, and 8-bit dot
// products.
#pragma once

#include <cstddef>
#include <cstdint>

#include "gemma/aligned_buffer.hpp"
#include "kernels/kernel_table.hpp"

namespace gemma::bench {

struct MachineLimits {
  double read_bytes_per_second = 0;  // all threads streaming through memory far larger than the caches
  double integer_ops_per_second =
      0;  // multiply and add of the ISA's u8 x i8 dot product, registers only; 0: none
};

/// What measuring takes: no last-level cache holds a useful part of it.
inline constexpr std::size_t kMeasuredBytes = std::size_t{256} << 20;

/// Measures again whenever it is asked: on a shared machine the limits move within seconds. Owns
/// kMeasuredBytes.
class Machine {
 public:
  /// Throws Error{kOutOfMemory}.
  Machine(const kernels::KernelTable& table, unsigned threads);
  /// Takes about a tenth of a second, on all threads. Ask when the machine is otherwise idle.
  MachineLimits measure() const;

 private:
  kernels::Isa isa_;
  unsigned threads_;
  AlignedBuffer<std::uint64_t> data_;
};

}  // namespace gemma::bench
