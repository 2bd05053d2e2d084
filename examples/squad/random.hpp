// Bounded draws and a shuffle written out over the library's SplitMix64, so that a seed means the same
// questions with every compiler and library. Invariant: all results are functions of the seed alone
// (std::shuffle and the std distributions promise no such thing).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include "gemma/sampler.hpp"
#include "gguf/fnv.hpp"

namespace gemma::squad {

/// Uniform in [0, n), n >= 1, without bias: words of the incomplete last stretch of 2^64 are drawn again.
inline std::uint64_t below(std::uint64_t n, SplitMix64& random) noexcept {
  const std::uint64_t rejected = (0 - n) % n;  // 2^64 mod n
  for (;;) {
    const std::uint64_t word = random.next();
    if (word >= rejected) return word % n;
  }
}

/// Fisher-Yates, from the last element down: every order equally likely.
template <typename T>
void shuffle(std::vector<T>& items, SplitMix64& random) {
  for (std::size_t i = items.size(); i > 1; --i) {
    std::swap(items[i - 1], items[static_cast<std::size_t>(below(i, random))]);
  }
}

/// FNV-1a, 64 bits: makes a seed out of a question's id, so that its sample does not depend on its
/// neighbours.
constexpr std::uint64_t hash_of(std::string_view text) noexcept {
  gemma::detail::Fnv1a hash;
  hash.add(text);
  return hash.value();
}

}  // namespace gemma::squad
