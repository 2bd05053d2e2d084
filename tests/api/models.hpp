// The models of the interface tests: each runs within milliseconds, and one has sliding windows.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gemma/gemma.hpp"
#include "tests/paths.hpp"
#include "tests/random.hpp"

namespace gemma::test {

inline std::vector<std::int32_t> random_tokens(const Model& model, std::size_t n, std::uint64_t seed) {
  return random_tokens(n, model.config().vocab_size, seed);
}

/// A PickToken that returns the given ids one after another, whatever the logits are.
inline PickToken say(std::vector<std::int32_t> ids) {
  return [ids = std::move(ids), at = std::size_t{0}](std::span<const float>) mutable { return ids.at(at++); };
}

template <typename T>
std::vector<T> copied(std::span<const T> values) {
  return {values.begin(), values.end()};
}

}  // namespace gemma::test
