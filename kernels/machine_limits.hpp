// Measures the limits of this machine: the bandwidth of reading memory, and the rate of 8-bit dot products.
// Programs quote limits that were measured in the same run. Used by bench/ and gemma-bench; neither part of
// the libraries nor installed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernel_table.hpp"

namespace gemma::kernels {

/// Limits of the machine at the time of a measurement.
struct MachineLimits {
  double read_bytes_per_second = 0;   // bytes per second of sequential reads by all threads
  double integer_ops_per_second = 0;  // multiplications and additions per second of the ISA's u8 x i8 dot
                                      // product in registers, on all threads; 0 if the ISA has none.
};

/// Size of the memory to measure with, in 64-bit words: 256 MiB, far more than a last-level cache of tens of
/// MiB holds.
inline constexpr std::size_t kMeasuredWords = (std::size_t{256} << 20) / sizeof(std::uint64_t);

/// Measures the limits. Every call of measure() measures anew, since on a shared machine they change within
/// seconds.
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
