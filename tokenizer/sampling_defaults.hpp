// Sampling parameters that a file recommends: the keys general.sampling.*, otherwise the defaults of its
// dialect. Invariant: every value is valid for a sampler; a key with an invalid value is ignored.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <string_view>

#include "../gguf/file.hpp"
#include "../gguf/finite.hpp"
#include "dialects/dialect.hpp"

namespace gemma {

/// Reads general.sampling.{temp, top_k, top_p, min_p, penalty_repeat}, which newer converters write.
inline SamplingDefaults sampling_defaults(const gguf::File& file, const Dialect& dialect) {
  SamplingDefaults out = dialect.sampling;
  const auto read = [&](std::string_view key, float least, float most, float& value) {
    const gguf::Value* held = file.find(key);
    const auto number = held != nullptr ? held->as<float>() : std::nullopt;
    if (number && is_finite(*number) && *number >= least && *number <= most) value = *number;
  };
  constexpr float kLargest = std::numeric_limits<float>::max();
  constexpr float kSmallest = std::numeric_limits<float>::min();
  read("general.sampling.temp", 0.0F, kLargest, out.temperature);
  read("general.sampling.top_p", kSmallest, 1.0F, out.top_p);
  read("general.sampling.min_p", 0.0F, 1.0F, out.min_p);
  read("general.sampling.penalty_repeat", kSmallest, kLargest, out.repeat_penalty);
  const gguf::Value* held = file.find("general.sampling.top_k");
  const auto top_k = held != nullptr ? held->as<std::int64_t>() : std::nullopt;
  if (top_k && *top_k >= 0 && *top_k <= (1 << 30)) out.top_k = static_cast<std::uint32_t>(*top_k);
  return out;
}

}  // namespace gemma
