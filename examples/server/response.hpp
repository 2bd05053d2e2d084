// Responses: the objects and events of OpenAI's and Anthropic's routes, as text.
// Invariant: every text is one line of valid JSON in UTF-8, whatever bytes a model wrote.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "examples/server/api_error.hpp"

namespace gemma::server {

/// Token counts of an answer.
struct Usage {
  std::size_t prompt = 0;
  std::size_t cached = 0;  // part of the prompt
  std::size_t completion = 0;
  std::size_t reasoning = 0;  // part of the completion
};

/// A token with the natural logarithm of its probability, and the likeliest tokens in its place.
struct TokenLogprob {
  std::string token;  // bytes, which may not be UTF-8
  double logprob = 0;
  std::vector<std::pair<std::string, double>> top;
  std::size_t n_hidden = 0;  // bytes of the token that the text does not show
  bool is_known = true;      // false: the first token of a text, which has no probability
};
/// Number of characters of the text that begin in this token.
std::size_t n_characters(const TokenLogprob& token);

/// A call of a tool by the model.
struct CalledTool {
  std::string id;
  std::string name;
  std::string arguments;  // JSON
};

/// The common fields of an object or event.
struct ResponseHead {
  std::string id;
  std::int64_t created = 0;  // seconds since 1970
  std::string model;
};

/// One answer, or in an event its new part.
struct Choice {
  std::size_t index = 0;
  std::string text;
  std::string reasoning;
  std::vector<CalledTool> tools;
  std::size_t first_tool = 0;  // index in the answer of the first of `tools`
  std::vector<TokenLogprob> logprobs;
  std::string finish_reason;  // "stop", "length", "tool_calls"; "": not ended
  std::size_t offset = 0;     // characters of the text before it, for logprobs of /v1/completions
};

/// {"error": {"message", "type", "param", "code"}}.
std::string error_body(const ApiError& error);
/// {"type": "error", "error": {"type", "message"}}: Anthropic's form.
std::string anthropic_error_body(const ApiError& error);

/// The response of /v1/chat/completions.
std::string chat_completion(const ResponseHead& head, std::span<const Choice> choices, const Usage& usage,
                            bool logprobs);
/// An event of a streamed chat completion. `first`: includes the role. If usage was requested, every event
/// has the field, null except in the last.
std::string chat_chunk(const ResponseHead& head, const Choice& choice, bool first, bool logprobs,
                       bool usage_asked);
std::string chat_usage_chunk(const ResponseHead& head, const Usage& usage);

/// The response of /v1/completions, and an event of a streamed one.
std::string completion(const ResponseHead& head, std::span<const Choice> choices, const Usage& usage,
                       bool logprobs);
std::string completion_chunk(const ResponseHead& head, const Choice& choice, bool logprobs, bool usage_asked);
std::string completion_usage_chunk(const ResponseHead& head, const Usage& usage);

/// The response of /v1/models. `created`: when the server started, in seconds since 1970.
std::string model_list(std::span<const std::string> names, std::int64_t created);
std::string model_entry(const std::string& name, std::int64_t created);
/// The response of /v1/embeddings; `base64`: vectors as base64 of little-endian floats.
std::string embeddings(const std::string& model, std::span<const std::vector<float>> vectors,
                       std::size_t n_tokens, bool base64);

/// The response of /v1/messages.
std::string anthropic_message(const ResponseHead& head, const Choice& answer, const Usage& usage,
                              const std::string& stop_sequence);
/// The events of a streamed message, in order: start, blocks of "thinking", "text" or a tool, and the end.
std::string anthropic_start(const ResponseHead& head, const Usage& usage);
std::string anthropic_block_start(std::size_t index, std::string_view type, const CalledTool& tool = {});
std::string anthropic_delta(std::size_t index, std::string_view type, std::string_view text);
std::string anthropic_block_stop(std::size_t index);
std::string anthropic_end(const std::string& finish_reason, const std::string& stop_sequence,
                          const Usage& usage);
/// The last event's data.
std::string anthropic_stop();

/// A server-sent event. `name`: "" for none. `data` is one line.
std::string sse(std::string_view data, std::string_view name = {});
inline constexpr std::string_view kSseDone = "data: [DONE]\n\n";

}  // namespace gemma::server
