// Choosing the next token from logits. Seeded: the same logits, options and seed give the same token
// everywhere.
// Invariant: after its first token a sampler allocates nothing; it never returns an id outside the
// vocabulary.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "../gguf/hashing.hpp"

namespace gemma {

/// Options of a Sampler.
struct SamplerOptions {
  float temperature = 0.0f;     // 0: greedy
  std::size_t top_k = 0;        // keep the k likeliest; 0: all
  float top_p = 1.0f;           // keep the smallest set with at least this probability (Holtzman et al. 2020)
  float min_p = 0.0f;           // keep tokens whose probability is at least min_p times the largest
  float repeat_penalty = 1.0f;  // divides positive, multiplies negative logits of recent tokens (Keskar 2019)
  std::size_t repeat_last = 64;  // how many recent tokens are penalised
  std::uint64_t seed = 0;        // of SplitMix64
};

/// A small generator with a fixed definition (SplitMix64, Steele et al. 2014): the same numbers on every
/// platform.
class SplitMix64 {
 public:
  /// Equal seeds give equal numbers.
  explicit SplitMix64(std::uint64_t seed) noexcept : state_(seed) {}
  /// The next 64 random bits.
  std::uint64_t next() noexcept { return detail::mixed_bits(state_ += 0x9E3779B97F4A7C15u); }
  /// A random number, uniform in [0, 1), of 53 bits.
  double uniform() noexcept { return static_cast<double>(next() >> 11) * 0x1p-53; }

 private:
  std::uint64_t state_;
};

/// Index of the largest logit, the first of equal ones. Throws Error{kNotFinite} if a logit is NaN or
/// positive infinity, or if none is finite.
std::int32_t argmax(std::span<const float> logits);

/// Chooses tokens. Not thread-safe; copyable (a copy chooses the same tokens).
class Sampler {
 public:
  /// Throws Error{kInvalidArgument} naming the option that is out of range, {kOutOfMemory}.
  explicit Sampler(const SamplerOptions& options = {});

  /// Adds a token to the recent ones of the repeat penalty. sample() adds the token that it chooses; Session,
  /// Batch and Scheduler add the tokens of the sequence when a generation begins.
  void note(std::int32_t token);
  /// Adds tokens in order; only the last SamplerOptions::repeat_last matter.
  void note(std::span<const std::int32_t> tokens);

  /// Chooses the next token from its logits [vocab_size]. Throws Error{kNotFinite} as argmax(),
  /// {kOutOfMemory} at the first call.
  std::int32_t sample(std::span<const float> logits);

 private:
  struct Candidate {
    float logit;
    std::int32_t id;
  };

  std::int32_t draw(std::span<const float> logits);
  void apply_penalty();
  /// Applies top-p and min-p at temperature 1, then draws at the temperature.
  std::int32_t pick();

  SamplerOptions options_;
  SplitMix64 random_;
  std::vector<std::int32_t> recent_;  // a ring, the oldest at oldest_ once full
  std::size_t oldest_ = 0;
  std::vector<Candidate> candidates_;
  std::vector<double> weights_;
};

}  // namespace gemma

#if defined(GEMMA_HEADER_ONLY)
#include "sampler.inl"
#endif
