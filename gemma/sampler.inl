// Definitions of sampler.hpp.
#pragma once

#include <algorithm>
#include <cmath>

#include "../gguf/error.hpp"
#include "../gguf/finite.hpp"
#include "../gguf/linkage.hpp"
#include "log_probability.hpp"

namespace gemma {

GEMMA_INLINE std::int32_t argmax(std::span<const float> logits) {
  detail::check_logits(logits);
  std::size_t best = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] > logits[best]) best = i;
  }
  return static_cast<std::int32_t>(best);
}

GEMMA_INLINE Sampler::Sampler(const SamplerOptions& options) : options_(options), random_(options.seed) {
  auto require = [](bool ok, StaticText what) {
    if (!ok) detail::refuse(ErrorCode::kInvalidArgument, what);
  };
  // is_finite() first: a comparison alone may accept NaN, see finite.hpp
  require(is_finite(options.temperature) && options.temperature >= 0, "temperature must be 0 or more");
  require(is_finite(options.top_p) && options.top_p > 0 && options.top_p <= 1, "top-p must be in (0, 1]");
  require(is_finite(options.min_p) && options.min_p >= 0 && options.min_p <= 1, "min-p must be in [0, 1]");
  require(is_finite(options.repeat_penalty) && options.repeat_penalty > 0, "repeat penalty must be above 0");
  require(options.repeat_last <= (1u << 20), "the repeat penalty sees at most 1,048,576 tokens");
  detail::or_out_of_memory("no memory for a sampler", [&] { recent_.reserve(options.repeat_last); });
}

GEMMA_INLINE void Sampler::note(std::int32_t token) {
  if (options_.repeat_last == 0) return;
  if (recent_.size() < options_.repeat_last) {
    recent_.push_back(token);
  } else {
    recent_[oldest_] = token;
    oldest_ = (oldest_ + 1) % recent_.size();
  }
}

GEMMA_INLINE void Sampler::note(std::span<const std::int32_t> tokens) {
  for (const std::int32_t token : tokens.last(std::min(tokens.size(), options_.repeat_last))) note(token);
}

GEMMA_INLINE std::int32_t Sampler::sample(std::span<const float> logits) {
  const std::int32_t token =
      detail::or_out_of_memory("no memory for sampling a token", [&] { return draw(logits); });
  note(token);
  return token;
}

GEMMA_INLINE std::int32_t Sampler::draw(std::span<const float> logits) {
  const std::int32_t best = argmax(logits);
  const bool penalise = options_.repeat_penalty != 1.0f && !recent_.empty();
  if (options_.temperature == 0.0f && !penalise) return best;
  candidates_.resize(logits.size());
  for (std::size_t i = 0; i < logits.size(); ++i) candidates_[i] = {logits[i], static_cast<std::int32_t>(i)};
  if (penalise) apply_penalty();
  // likelier tokens first, among equals the smaller id: a total order, so all platforms sort alike
  const auto likelier = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  };
  if (options_.temperature == 0.0f)
    return std::min_element(candidates_.begin(), candidates_.end(), likelier)->id;
  const bool sorted = options_.top_k != 0 || options_.top_p < 1.0f || options_.min_p > 0.0f;
  if (options_.top_k != 0 && options_.top_k < candidates_.size()) {
    std::partial_sort(candidates_.begin(), candidates_.begin() + static_cast<std::ptrdiff_t>(options_.top_k),
                      candidates_.end(), likelier);
    candidates_.resize(options_.top_k);
  } else if (sorted) {
    std::sort(candidates_.begin(), candidates_.end(), likelier);
  }
  return pick();
}

GEMMA_INLINE void Sampler::apply_penalty() {
  for (std::size_t i = 0; i < recent_.size(); ++i) {
    const auto id = static_cast<std::size_t>(recent_[i]);
    const bool seen = std::find(recent_.begin(), recent_.begin() + static_cast<std::ptrdiff_t>(i),
                                recent_[i]) != recent_.begin() + static_cast<std::ptrdiff_t>(i);
    if (seen || id >= candidates_.size()) continue;
    float& logit = candidates_[id].logit;
    logit = logit > 0 ? logit / options_.repeat_penalty : logit * options_.repeat_penalty;
  }
}

GEMMA_INLINE std::int32_t Sampler::pick() {
  float most = candidates_[0].logit;
  for (const Candidate& c : candidates_) most = std::max(most, c.logit);
  weights_.resize(candidates_.size());
  double sum = 0;
  for (std::size_t i = 0; i < candidates_.size(); ++i) {
    weights_[i] = std::exp(static_cast<double>(candidates_[i].logit) - most);
    sum += weights_[i];
  }
  std::size_t keep = candidates_.size();
  if (options_.top_p < 1.0f) {
    double reached = 0;
    for (keep = 0; keep < candidates_.size() && reached < options_.top_p * sum; ++keep)
      reached += weights_[keep];
  }
  if (options_.min_p > 0.0f) {
    // weights_ is sorted and begins with 1
    while (keep > 1 && weights_[keep - 1] < options_.min_p) --keep;
  }
  keep = std::max<std::size_t>(keep, 1);
  sum = 0;
  for (std::size_t i = 0; i < keep; ++i) {
    weights_[i] = std::exp((static_cast<double>(candidates_[i].logit) - most) / options_.temperature);
    sum += weights_[i];
  }
  double left = random_.uniform() * sum;
  for (std::size_t i = 0; i + 1 < keep; ++i) {
    left -= weights_[i];
    if (left < 0) return candidates_[i].id;
  }
  return candidates_[keep - 1].id;
}

}  // namespace gemma
