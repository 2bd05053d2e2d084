// From logits to probabilities. Invariant: sums run in double over the vocabulary in order, so the same
// logits give the same number everywhere the C library's exp and log agree.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "../gguf/error.hpp"

namespace gemma {

/// A token and the natural logarithm of its probability.
struct TokenProbability {
  std::int32_t id = 0;         // the token
  double log_probability = 0;  // at temperature 1, by the logits alone
};

/// log(sum(exp(logits))), shifted by the largest logit so that nothing overflows.
/// Throws Error{kNotFinite} when a logit is NaN or none is finite.
inline double log_sum_exp(std::span<const float> logits) {
  double most = -HUGE_VAL;
  bool has_nan = false;
  for (const float x : logits) {
    has_nan |= std::isnan(x);
    most = std::max(most, static_cast<double>(x));
  }
  if (has_nan || !std::isfinite(most)) {
    throw Error(ErrorCode::kNotFinite, "the model's logits are not numbers: the file is damaged or no model");
  }
  double sum = 0;
  for (const float x : logits) sum += std::exp(static_cast<double>(x) - most);
  return most + std::log(sum);
}

/// Natural logarithm of softmax(logits)[token]; logits is [vocab_size]. Throws Error{kInvalidArgument} for an
/// id outside of it, {kNotFinite} as log_sum_exp().
inline double log_probability(std::span<const float> logits, std::int32_t token) {
  if (token < 0 || static_cast<std::size_t>(token) >= logits.size()) {
    detail::refuse(ErrorCode::kInvalidArgument, [&] {
      return "token id " + std::to_string(token) + " is not in the vocabulary of " +
             std::to_string(logits.size());
    });
  }
  return static_cast<double>(logits[static_cast<std::size_t>(token)]) - log_sum_exp(logits);
}

/// The n likeliest tokens, likeliest first, the smaller id of equals; all of them when n is larger.
/// Throws Error{kNotFinite} as log_sum_exp(), {kOutOfMemory}.
inline std::vector<TokenProbability> top_log_probabilities(std::span<const float> logits, std::size_t n) {
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
