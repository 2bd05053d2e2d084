// What clients are told: the objects and events of OpenAI's and Anthropic's routes, as text.
// Invariant: every text here is one line of valid JSON in UTF-8, whatever bytes a model wrote.
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

/// Tokens that an answer took.
struct Usage {
  std::size_t prompt = 0;
  std::size_t cached = 0;  // of the prompt
  std::size_t completion = 0;
  std::size_t reasoning = 0;  // of the completion
};

/// A token with the natural logarithm of its probability, and of the likeliest ones in its place.
struct TokenLogprob {
  std::string token;  // bytes that need not be UTF-8
  double logprob = 0;
  std::vector<std::pair<std::string, double>> top;
  std::size_t n_hidden = 0;  // bytes of the token that the text does not show
  bool is_known = true;      // false: the first of a text, which nothing stands before
};
/// Characters of the text that a token brings: each counts where its first byte stands.
std::size_t n_characters(const TokenLogprob& token);

/// A call of a tool by the model.
struct CalledTool {
  std::string id;
  std::string name;
  std::string arguments;  // JSON
};

/// What an object or event is about.
struct ResponseHead {
  std::string id;
  std::int64_t created = 0;  // seconds since 1970
  std::string model;
};

/// One answer, or in an event what it has more.
struct Choice {
  std::size_t index = 0;
  std::string text;
  std::string reasoning;
  std::vector<CalledTool> tools;
  std::size_t first_tool = 0;  // number of the first of `tools` in the answer
  std::vector<TokenLogprob> logprobs;
  std::string finish_reason;  // "stop", "length", "tool_calls"; "": it goes on
  std::size_t offset = 0;     // characters of the text before this, of /v1/completions with logprobs
};

/// {"error": {"message", "type", "param", "code"}}.
std::string error_body(const ApiError& error);
/// {"type": "error", "error": {"type", "message"}}, Anthropic's.
std::string anthropic_error_body(const ApiError& error);

/// A whole answer of /v1/chat/completions.
std::string chat_completion(const ResponseHead& head, std::span<const Choice> choices, const Usage& usage,
                            bool logprobs);
/// An event of it. `first`: also says who speaks. Where usage was asked for, every event has the field, null
/// but in the last.
std::string chat_chunk(const ResponseHead& head, const Choice& choice, bool first, bool logprobs,
                       bool usage_asked);
std::string chat_usage_chunk(const ResponseHead& head, const Usage& usage);

/// A whole answer of /v1/completions, and an event of it.
std::string completion(const ResponseHead& head, std::span<const Choice> choices, const Usage& usage,
                       bool logprobs);
std::string completion_chunk(const ResponseHead& head, const Choice& choice, bool logprobs, bool usage_asked);
std::string completion_usage_chunk(const ResponseHead& head, const Usage& usage);

/// /v1/models. `created`: when the server began.
std::string model_list(std::span<const std::string> names, std::int64_t created);
std::string model_entry(const std::string& name, std::int64_t created);
/// /v1/embeddings; `base64`: as the bytes of little-endian floats.
std::string embeddings(const std::string& model, std::span<const std::vector<float>> vectors,
                       std::size_t n_tokens, bool base64);

/// A whole answer of /v1/messages.
std::string anthropic_message(const ResponseHead& head, const Choice& answer, const Usage& usage,
                              const std::string& stop_sequence);
/// Its events in order: start, then blocks of "thinking", "text" or a tool, then the end.
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
