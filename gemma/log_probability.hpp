// From logits to probabilities. Invariant: sums run in double over the vocabulary in order, so the same
// logits give the same number everywhere the C library's exp and log agree.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace gemma {

/// A token and the natural logarithm of its probability.
struct TokenProbability {
  std::int32_t id = 0;         // the token
  double log_probability = 0;  // at temperature 1, by the logits alone
};

namespace detail {

/// Throws Error{kNotFinite} when a logit is NaN or positive infinity, or none is finite.
void check_logits(std::span<const float> logits);

}  // namespace detail

/// log(sum(exp(logits))), shifted by the largest logit so that nothing overflows.
/// Throws Error{kNotFinite} when a logit is NaN or none is finite.
double log_sum_exp(std::span<const float> logits);

/// Natural logarithm of softmax(logits)[token]; logits is [vocab_size]. Throws Error{kInvalidArgument} for an
/// id outside of it, {kNotFinite} as log_sum_exp().
double log_probability(std::span<const float> logits, std::int32_t token);

/// The n likeliest tokens, likeliest first, the smaller id of equals; all of them when n is larger.
/// Throws Error{kNotFinite} as log_sum_exp(), {kOutOfMemory}.
std::vector<TokenProbability> top_log_probabilities(std::span<const float> logits, std::size_t n);

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "log_probability.inl"
#endif
