// Choosing the next token from logits. Seeded: the same logits, options and seed give the same token
// everywhere. Invariant: after its first token a sampler allocates nothing; it never returns an id outside
// the vocabulary.
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

/// How the next token is chosen.
struct SamplerOptions {
  float temperature = 0.0f;  // 0: greedy
  std::size_t top_k = 0;     // keep the k likeliest; 0: all
  float top_p = 1.0f;        // keep the smallest set of at least this probability (Holtzman et al. 2020)
  float min_p = 0.0f;        // keep tokens of at least min_p x the likeliest one's probability
  float repeat_penalty =
      1.0f;  // divide positive (multiply negative) logits of recent tokens (Keskar et al. 2019)
  std::size_t repeat_last = 64;  // how many recent tokens that means
  std::uint64_t seed = 0;        // of SplitMix64
};

/// A small generator with a fixed definition (SplitMix64, Steele et al. 2014): the same numbers on every
/// platform.
class SplitMix64 {
 public:
  /// The same numbers for the same seed.
  explicit SplitMix64(std::uint64_t seed) noexcept : state_(seed) {}
  /// The next 64 bits.
  std::uint64_t next() noexcept {
    std::uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  /// Uniform in [0, 1), 53 bits.
  double uniform() noexcept { return static_cast<double>(next() >> 11) * 0x1p-53; }

 private:
  std::uint64_t state_;
};

/// Index of the largest logit, the first of equals. Throws Error{kNotFinite} when one is NaN or none is
/// finite.
inline std::int32_t argmax(std::span<const float> logits) {
  std::size_t best = 0;
  bool has_nan = false;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    has_nan |= std::isnan(logits[i]);
    if (logits[i] > logits[best]) best = i;
  }
  if (logits.empty() || has_nan || !std::isfinite(logits[best])) {
    throw Error(ErrorCode::kNotFinite, "the model's logits are not numbers: the file is damaged or no model");
  }
  return static_cast<std::int32_t>(best);
}

/// Draws tokens. Not thread-safe; copyable (a copy draws the same tokens).
class Sampler {
 public:
  /// Throws Error{kInvalidArgument} naming the option that is out of range, {kOutOfMemory}.
  explicit Sampler(const SamplerOptions& options = {}) : options_(options), random_(options.seed) {
    auto require = [](bool ok, StaticText what) {
      if (!ok) throw Error(ErrorCode::kInvalidArgument, what);
    };
    require(std::isfinite(options.temperature) && options.temperature >= 0, "temperature must be 0 or more");
    require(options.top_p > 0 && options.top_p <= 1, "top-p must be in (0, 1]");
    require(options.min_p >= 0 && options.min_p <= 1, "min-p must be in [0, 1]");
    require(std::isfinite(options.repeat_penalty) && options.repeat_penalty > 0,
            "repeat penalty must be above 0");
    require(options.repeat_last <= (1u << 20), "the repeat penalty sees at most 1,048,576 tokens");
    detail::or_out_of_memory("no memory for a sampler", [&] { recent_.reserve(options.repeat_last); });
  }

  /// A token that the repeat penalty is to know of (sample() notes its own).
  void note(std::int32_t token) {
    if (options_.repeat_last == 0) return;
    if (recent_.size() < options_.repeat_last) {
      recent_.push_back(token);
    } else {
      recent_[oldest_] = token;
      oldest_ = (oldest_ + 1) % recent_.size();
    }
  }

  /// The next token given its logits [vocab_size]. Throws Error{kNotFinite} when a logit is NaN,
  /// {kOutOfMemory} at the first.
  std::int32_t sample(std::span<const float> logits) {
    const std::int32_t token =
        detail::or_out_of_memory("no memory for sampling a token", [&] { return draw(logits); });
    note(token);
    return token;
  }

 private:
  struct Candidate {
    float logit;
    std::int32_t id;
  };

  std::int32_t draw(std::span<const float> logits) {
    const std::int32_t best = argmax(logits);
    const bool penalise = options_.repeat_penalty != 1.0f && !recent_.empty();
    if (options_.temperature == 0.0f && !penalise) return best;
    candidates_.resize(logits.size());
    for (std::size_t i = 0; i < logits.size(); ++i)
      candidates_[i] = {logits[i], static_cast<std::int32_t>(i)};
    if (penalise) apply_penalty();
    // likelier first, the smaller id of equals: a total order, so every platform sorts alike
    const auto likelier = [](const Candidate& a, const Candidate& b) {
      return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
    };
    if (options_.temperature == 0.0f)
      return std::min_element(candidates_.begin(), candidates_.end(), likelier)->id;
    const bool sorted = options_.top_k != 0 || options_.top_p < 1.0f || options_.min_p > 0.0f;
    if (options_.top_k != 0 && options_.top_k < candidates_.size()) {
      std::partial_sort(candidates_.begin(),
                        candidates_.begin() + static_cast<std::ptrdiff_t>(options_.top_k), candidates_.end(),
                        likelier);
      candidates_.resize(options_.top_k);
    } else if (sorted) {
      std::sort(candidates_.begin(), candidates_.end(), likelier);
    }
    return pick();
  }

  void apply_penalty() {
    for (std::size_t i = 0; i < recent_.size(); ++i) {
      const auto id = static_cast<std::size_t>(recent_[i]);
      const bool seen = std::find(recent_.begin(), recent_.begin() + static_cast<std::ptrdiff_t>(i),
                                  recent_[i]) != recent_.begin() + static_cast<std::ptrdiff_t>(i);
      if (seen || id >= candidates_.size()) continue;
      float& logit = candidates_[id].logit;
      logit = logit > 0 ? logit / options_.repeat_penalty : logit * options_.repeat_penalty;
    }
  }

  /// Cuts by top-p and min-p at temperature 1, then draws at the temperature.
  std::int32_t pick() {
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
      // sorted: weights fall from 1
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

  SamplerOptions options_;
  SplitMix64 random_;
  std::vector<std::int32_t> recent_;  // a ring, the oldest at oldest_ once full
  std::size_t oldest_ = 0;
  std::vector<Candidate> candidates_;
  std::vector<double> weights_;
};

}  // namespace gemma
