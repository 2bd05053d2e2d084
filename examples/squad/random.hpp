// Bounded random numbers and a shuffle by the library's SplitMix64.
// Invariant: results depend on the seed alone, with every compiler and standard library; std::shuffle and the
// standard distributions do not guarantee that.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "gemma/sampler.hpp"
#include "gguf/hashing.hpp"

namespace gemma::squad {

/// Uniform in [0, n), n >= 1, without bias: words in the incomplete last part of 2^64 are rejected.
inline std::uint64_t below(std::uint64_t n, SplitMix64& random) noexcept {
  const std::uint64_t rejected = (0 - n) % n;  // 2^64 mod n
  for (;;) {
    const std::uint64_t word = random.next();
    if (word >= rejected) return word % n;
  }
}

/// Fisher-Yates shuffle, from the last element down: all orders are equally likely.
template <typename T>
void shuffle(std::vector<T>& items, SplitMix64& random) {
  for (std::size_t i = items.size(); i > 1; --i) {
    std::swap(items[i - 1], items[static_cast<std::size_t>(below(i, random))]);
  }
}

/// FNV-1a, 64 bits: the seed for a question's id, so that its sample does not depend on other questions.
constexpr std::uint64_t hash_of(std::string_view text) noexcept {
  gemma::detail::Fnv1a hash;
  hash.add(text);
  return hash.value();
}

}  // namespace gemma::squad
