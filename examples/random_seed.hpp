// The seed of answers for which nobody chose one.
#pragma once

#include <cstdint>
#include <random>

namespace gemma::app {

inline std::uint64_t random_seed() {
  std::random_device device;
  return std::uint64_t{device()} << 32 | device();
}

}  // namespace gemma::app
