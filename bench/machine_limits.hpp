// What this machine can reach at most, measured in the run that quotes it: reading memory, and 8-bit dot
// products.
#pragma once

#include <cstddef>

#include "kernels/kernel_table.hpp"

namespace gemma::bench {

struct MachineLimits {
  double read_bytes_per_second = 0;  // all threads streaming through memory far larger than the caches
  double integer_ops_per_second =
      0;  // multiply and add of the ISA's u8 x i8 dot product, registers only; 0: none
};

/// What measuring takes: no last-level cache holds a useful part of it. Given back afterwards.
inline constexpr std::size_t kMeasuredBytes = std::size_t{256} << 20;

/// Measures for about half a second on `threads` threads. Take it when the machine is otherwise idle.
MachineLimits measure_limits(const kernels::KernelTable& table, unsigned threads);

}  // namespace gemma::bench
