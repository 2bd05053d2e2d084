// The prompt that "echo" of /v1/completions returns, with the probabilities of its tokens if requested:
// evaluations of models score continuations with it.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "examples/server/request.hpp"
#include "examples/server/response.hpp"
#include "examples/server/served_model.hpp"

namespace gemma::server {

/// A prompt that its answer begins with.
struct EchoedPrompt {
  std::string text;
  std::vector<TokenLogprob> logprobs;  // of all its tokens; empty unless requested
  /// The end token of an answer without text, if probabilities are requested: it counts as the answer's
  /// token, so that an answer to N tokens of a prompt with max_tokens 1 reports N + 1.
  std::optional<TokenLogprob> end;
};

/// The echoed prompts, one for each prompt of the request. `give_up` is polled from time to time. Throws
/// ApiError, Error as ServedModel::score().
std::vector<EchoedPrompt> echo_of(ServedModel& model, const CompletionRequest& asked,
                                  const std::function<bool()>& give_up);

}  // namespace gemma::server
