// What this machine can reach at most, measured in the run that quotes it: reading memory, and 8-bit dot
// products. For bench/ and gemma-bench; the libraries do not have it, and it is not installed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernel_table.hpp"

namespace gemma::kernels {

struct MachineLimits {
  double read_bytes_per_second = 0;   ///< All threads streaming through the memory.
  double integer_ops_per_second = 0;  ///< Multiply and add of the ISA's u8 x i8 dot product in registers, on
                                      ///< all threads; 0 where it has none.
};

/// 64-bit words of memory to measure with: no last-level cache holds a useful part of them.
inline constexpr std::size_t kMeasuredWords = (std::size_t{256} << 20) / sizeof(std::uint64_t);

/// Measures again whenever it is asked: on a shared machine the limits move within seconds.
class MachineMeter {
 public:
  /// Overwrites `memory`, which must live as long as the meter: kMeasuredWords, in 2 MiB pages where the
  /// system has them, because small ones would measure address translation.
  MachineMeter(const KernelTable& table, unsigned threads, std::span<std::uint64_t> memory);
  /// Takes about a tenth of a second, on all threads. Ask when the machine is otherwise idle.
  MachineLimits measure() const;

 private:
  Isa isa_;
  unsigned threads_;
  std::span<const std::uint64_t> memory_;
};

}  // namespace gemma::kernels
