// Definitions of log_probability.hpp.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <string>

#include "../gguf/error.hpp"
#include "../gguf/finite.hpp"
#include "../gguf/linkage.hpp"
#include "engine_error_code.hpp"

namespace gemma {

GEMMA_INLINE void detail::check_logits(std::span<const float> logits) {
  constexpr std::uint32_t kInfinity = 0x7F800000u;
  bool any_finite = false, any_wrong = false;
  for (const float& x : logits) {
    any_finite |= is_finite(x);
    any_wrong |= is_nan(x) || std::bit_cast<std::uint32_t>(x) == kInfinity;
  }
  if (any_wrong || !any_finite) {
    detail::refuse(EngineErrorCode::kNotFinite,
                   "the model's logits are not numbers: the file is damaged or not a model");
  }
}

GEMMA_INLINE double log_sum_exp(std::span<const float> logits) {
  detail::check_logits(logits);
  const double most = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float x : logits) sum += std::exp(static_cast<double>(x) - most);
  return most + std::log(sum);
}

GEMMA_INLINE double log_probability(std::span<const float> logits, std::int32_t token) {
  if (token < 0 || static_cast<std::size_t>(token) >= logits.size()) {
    detail::refuse(ErrorCode::kInvalidArgument, [&] {
      return "token id " + std::to_string(token) + " is not in the vocabulary of " +
             std::to_string(logits.size());
    });
  }
  return static_cast<double>(logits[static_cast<std::size_t>(token)]) - log_sum_exp(logits);
}

GEMMA_INLINE std::vector<TokenProbability> top_log_probabilities(std::span<const float> logits,
                                                                 std::size_t n) {
  const double normaliser = log_sum_exp(logits);
  auto all = detail::or_out_of_memory("no memory for the tokens' probabilities",
                                      [&] { return std::vector<TokenProbability>(logits.size()); });
  for (std::size_t i = 0; i < logits.size(); ++i) {
    all[i] = {static_cast<std::int32_t>(i), static_cast<double>(logits[i]) - normaliser};
  }
  n = std::min(n, all.size());
  std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(n), all.end(),
                    [](const TokenProbability& a, const TokenProbability& b) {
                      return a.log_probability != b.log_probability ? a.log_probability > b.log_probability
                                                                    : a.id < b.id;
                    });
  all.resize(n);
  return all;
}

}  // namespace gemma
