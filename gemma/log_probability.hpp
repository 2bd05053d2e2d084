// From logits to probabilities.
// Invariant: sums run in double over the vocabulary in order, so the same logits give the same number
// wherever exp() and log() of the C library agree.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace gemma {

/// A token and the natural logarithm of its probability.
struct TokenProbability {
  std::int32_t id = 0;         // the token
  double log_probability = 0;  // at temperature 1, from the logits alone
};

namespace detail {

/// Throws Error{kNotFinite} if a logit is NaN or positive infinity, or if none is finite.
void check_logits(std::span<const float> logits);

}  // namespace detail

/// log(sum(exp(logits))), shifted by the largest logit so that nothing overflows.
/// Throws Error{kNotFinite} if a logit is NaN or positive infinity, or if none is finite.
double log_sum_exp(std::span<const float> logits);

/// Natural logarithm of softmax(logits)[token]; logits is [vocab_size]. Throws Error{kInvalidArgument} for an
/// id outside the vocabulary, {kNotFinite} as log_sum_exp().
double log_probability(std::span<const float> logits, std::int32_t token);

/// The n likeliest tokens (all of them if n is larger), likeliest first; of equal ones the smaller id first.
/// Throws Error{kNotFinite} as log_sum_exp(), {kOutOfMemory}.
std::vector<TokenProbability> top_log_probabilities(std::span<const float> logits, std::size_t n);

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "log_probability.inl"
#endif
