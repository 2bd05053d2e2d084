// Turns a client's request into the engine's: ids of the prompt, sampling, the constraint of the answer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "examples/server/request.hpp"
#include "examples/server/served_model.hpp"

namespace gemma::server {

/// The conversation as text, with the beginning of the answer if the last message is one. Throws
/// ApiError{400}, Error{kInvalidArgument} with the template's own message.
std::string chat_text(const ServedModel& model, const ChatRequest& request);
/// The conversation as ids. Throws as chat_text().
std::vector<std::int32_t> chat_ids(const ServedModel& model, const ChatRequest& request);
/// The ids of a prompt of /v1/completions. Throws ApiError{400}.
std::vector<std::int32_t> prompt_ids(const ServedModel& model, const Prompt& prompt);

/// Whether the answer may contain tool calls.
bool may_call_tools(const ServedModel& model, const ChatRequest& request);

/// Makes the engine's requests for one client's request.
class RequestMaker {
 public:
  /// Compiles the constraint of the answers. Throws ApiError{400}.
  RequestMaker(ServedModel& model, const Generation& asked);
  /// Overload for a conversation, whose answer may have to call a tool or to think.
  RequestMaker(ServedModel& model, const ChatRequest& asked);

  /// The request of one choice: the seed is the client's plus `choice`. Throws ApiError{400}, Error.
  Request make(std::vector<std::int32_t> prompt, std::size_t choice, std::size_t default_max_tokens) const;

 private:
  RequestMaker(ServedModel& model, const Generation& asked, Constraint constraint, bool thinks);
  SamplerOptions sampler_options(std::size_t choice) const;
  LogitsProcessor processor(std::size_t n_prompt) const;

  ServedModel& model_;
  const Generation& asked_;
  std::uint64_t seed_;
  std::optional<GrammarMask> mask_;  // for the beginning of an answer
  bool thinks_;
};

}  // namespace gemma::server
