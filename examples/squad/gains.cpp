#include "examples/squad/gains.hpp"

#include <algorithm>

#include <fmt/format.h>

namespace gemma::squad {

void Gains::add(const Answer& answer) {
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

std::string Gains::in_words() const {
  if (n == 0) return "";
  std::string out = fmt::format("{:.0f} questions/h; {:.0f}% of the prompts' tokens shared",
                                questions_per_hour(), 100 * shared());
  if (batch > 1) out += fmt::format("; up to {} questions at once", batch);
  if (tokens_per_forward() > 1.05)
    out += fmt::format(", {:.1f} tokens per forward pass", tokens_per_forward());
  if (drafted > 0) out += fmt::format("; {} of {} guessed tokens right", accepted, drafted);
  return out;
}

}  // namespace gemma::squad
