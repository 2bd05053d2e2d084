// Numbers that tests draw: from the library's generator, so the same on every platform.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "gemma/sampler.hpp"

namespace gemma::test {

class Random : public SplitMix64 {
 public:
  using SplitMix64::SplitMix64;
  /// Uniform with mean 0 and standard deviation 1.
  double unit() { return (uniform() - 0.5) * std::sqrt(12.0); }
  /// From 0 to n - 1.
  std::size_t below(std::size_t n) { return static_cast<std::size_t>(next() % n); }
};

/// `n` random token ids.
inline std::vector<std::int32_t> random_tokens(std::size_t n, std::size_t vocab_size, std::uint64_t seed) {
  Random random(seed);
  std::vector<std::int32_t> ids(n);
  for (auto& id : ids) id = static_cast<std::int32_t>(random.below(vocab_size));
  return ids;
}

}  // namespace gemma::test
