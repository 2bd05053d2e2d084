// What computing several questions at once and sharing passages saves, over the answers of a model.
// Invariant: a sum over the answers, independent of which process asked them.
#pragma once

#include <algorithm>
#include <cstddef>

#include "examples/squad/answer_source.hpp"

namespace gemma::squad {

struct Gains {
  std::size_t n = 0;      // answers
  std::size_t batch = 1;  // most answers computed together
  double seconds = 0;     // time of the answers
  double prompt_tokens = 0, cached_tokens = 0;
  double tokens = 0, forwards = 0;  // generated tokens, and forward passes that computed answers

  std::size_t drafted = 0, accepted = 0;  // guessed tokens; those that were right

  void add(const Answer& answer) {
    ++n;
    batch = std::max(batch, answer.timing.batch);
    seconds += answer.timing.share_s;
    prompt_tokens += static_cast<double>(answer.prompt_tokens);
    cached_tokens += static_cast<double>(std::min(answer.prompt_tokens, answer.timing.cached_tokens));
    tokens += static_cast<double>(answer.tokens);
    forwards += answer.timing.forwards;
    drafted += answer.timing.drafted;
    accepted += answer.timing.accepted;
  }

  double questions_per_hour() const { return seconds > 0 ? 3600 * static_cast<double>(n) / seconds : 0; }
  /// Fraction of the prompts' tokens that was not computed again.
  double shared() const { return prompt_tokens > 0 ? cached_tokens / prompt_tokens : 0; }
  /// Generated tokens per forward pass; 1 without batches and guesses.
  double tokens_per_forward() const { return forwards > 0 ? tokens / forwards : 0; }
};

}  // namespace gemma::squad
