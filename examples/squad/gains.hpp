// What computing several questions at once and sharing passages saves, over the answers of a model.
// Invariant: a sum over the answers, independent of which process asked them.
#pragma once

#include <cstddef>
#include <string>

#include "examples/squad/answer_source.hpp"

namespace gemma::squad {

struct Gains {
  std::size_t n = 0;      // answers
  std::size_t batch = 1;  // most answers computed together
  double seconds = 0;     // time of the answers
  double prompt_tokens = 0, cached_tokens = 0;
  double tokens = 0, forwards = 0;  // generated tokens, and forward passes that computed answers

  std::size_t drafted = 0, accepted = 0;  // guessed tokens; those that were right

  void add(const Answer& answer);
  double questions_per_hour() const { return seconds > 0 ? 3600 * static_cast<double>(n) / seconds : 0; }
  /// Fraction of the prompts' tokens that was not computed again.
  double shared() const { return prompt_tokens > 0 ? cached_tokens / prompt_tokens : 0; }
  /// Generated tokens per forward pass; 1 without batches and guesses.
  double tokens_per_forward() const { return forwards > 0 ? tokens / forwards : 0; }
  /// "4500 questions/h; 71% of the prompts' tokens shared; up to 32 questions at once, 11.2 tokens per
  /// forward pass; 40 of 90 guessed tokens right".
  std::string in_words() const;
};

}  // namespace gemma::squad
