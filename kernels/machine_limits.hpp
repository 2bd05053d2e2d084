// Measures what this machine can reach at most: the bandwidth of reading memory, and the rate of 8-bit dot
// products. Programs quote limits that were measured in the same run. For bench/ and gemma-bench; it is
// neither part of the libraries nor installed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernel_table.hpp"

namespace gemma::kernels {

/// Limits of the machine at the time of a measurement.
struct MachineLimits {
  double read_bytes_per_second = 0;   ///< All threads read memory sequentially.
  double integer_ops_per_second = 0;  ///< Multiply and add of the ISA's u8 x i8 dot product in registers, on
                                      ///< all threads; 0 where it has none.
};

/// Size of the memory to measure with, in 64-bit words: no last-level cache holds a useful part of it.
inline constexpr std::size_t kMeasuredWords = (std::size_t{256} << 20) / sizeof(std::uint64_t);

/// Every call of measure() measures again: on a shared machine the limits change within seconds.
class MachineMeter {
 public:
  /// Overwrites `memory`, kMeasuredWords words that must outlive the meter. They should lie in 2 MiB pages if
  /// the system has them: with small pages the meter would measure address translation.
  MachineMeter(const KernelTable& table, unsigned threads, std::span<std::uint64_t> memory);
  /// Takes about a tenth of a second on all threads. Call it when the machine is otherwise idle.
  MachineLimits measure() const;

 private:
  Isa isa_;
  unsigned threads_;
  std::span<const std::uint64_t> memory_;
};

}  // namespace gemma::kernels
