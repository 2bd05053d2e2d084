// The prompt of /v1/completions as "echo" gives it back, with the probabilities of its tokens where they are
// asked for: what evaluations of models score continuations by.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "examples/server/request.hpp"
#include "examples/server/response.hpp"
#include "examples/server/served_model.hpp"

namespace gemma::server {

/// A prompt as its answer begins with it.
struct EchoedPrompt {
  std::string text;
  std::vector<TokenLogprob> logprobs;  // of all its tokens; empty where they are not asked for
  /// The token that ends an answer without a text, where probabilities are asked for: it counts as its token,
  /// so that an answer to N tokens of a prompt and max_tokens 1 tells N + 1.
  std::optional<TokenLogprob> end;
};

/// One for each of the prompts. `give_up` is asked now and then. Throws ApiError, Error as
/// ServedModel::score().
std::vector<EchoedPrompt> echo_of(ServedModel& model, const CompletionRequest& asked,
                                  const std::function<bool()>& give_up);

}  // namespace gemma::server
