// Requests of clients as plain data: the bodies of OpenAI's and Anthropic's routes, checked field by field.
// Invariant: a request that was read is complete and in range; unknown fields are ignored; a known field with
// a wrong value, or one that requests an unsupported feature, causes an ApiError that names it. Independent
// of any model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "examples/server/api_error.hpp"
#include "tokenizer/message.hpp"
#include "tokenizer/value.hpp"

namespace gemma::server {

/// Limits of one request.
struct RequestLimits {
  static constexpr std::size_t kDepth = 100;            // nesting of the body
  static constexpr std::size_t kParseSteps = 1u << 26;  // enough for an object of 11,000 members
  static constexpr std::size_t kEchoed = 1u << 20;      // probabilities of prompt tokens, for all choices
  static constexpr std::size_t kChoices = 128;          // "n"
  static constexpr std::size_t kStops = 64;             // "stop"
  static constexpr std::size_t kStopBytes = 4096;       // bytes of each stop string
  static constexpr std::size_t kTopLogprobs = 20;       // as in OpenAI's interface
  static constexpr std::size_t kMessages = 10000;       // "messages"
  static constexpr std::size_t kInputs = 2048;          // texts of embeddings, or prompts of completions
  static constexpr std::size_t kBias = 10000;           // tokens of "logit_bias"
  static constexpr std::size_t kTokens = 1u << 24;      // tokens of a prompt given as ids
  static constexpr std::size_t kMaxTokens = 1u << 30;   // "max_tokens"; larger values mean this
};

/// Sampling options; absent ones are chosen by the server or the model.
struct Sampling {
  std::optional<float> temperature, top_p, min_p, repeat_penalty;
  std::optional<std::size_t> top_k;
  std::optional<std::uint64_t> seed;
  float presence_penalty = 0;
  float frequency_penalty = 0;
  std::map<std::int32_t, float> logit_bias;  // added to a token's logit
};

/// The constraint of every answer.
struct Constraint {
  enum class Kind : std::uint8_t { kNone, kJsonObject, kJsonSchema, kGrammar };
  Kind kind = Kind::kNone;
  std::string text;  // of the schema or the grammar
};

/// The fields that all generating routes share.
struct Generation {
  std::string model;  // "": any
  Sampling sampling;
  std::optional<std::size_t> max_tokens;
  std::vector<std::string> stop;
  std::size_t n = 1;
  bool stream = false;
  bool include_usage = false;  // send a last event with the usage
  bool ignore_end = false;
  bool logprobs = false;
  std::size_t top_logprobs = 0;
  Constraint constraint;
};

/// Which tools the model may or must call.
struct ToolChoice {
  enum class Kind : std::uint8_t { kAuto, kNone, kRequired, kNamed };
  Kind kind = Kind::kAuto;
  std::string name;  // for kNamed
};

/// POST /v1/chat/completions, and Anthropic's /v1/messages.
struct ChatRequest : Generation {
  std::vector<Message> messages;
  std::vector<Value> tools;  // {"type": "function", "function": {...}} each
  ToolChoice tool_choice;
  std::optional<bool> thinking;  // whether to think, if the client says
};

/// A prompt: text, or ids.
using Prompt = std::variant<std::string, std::vector<std::int32_t>>;

/// POST /v1/completions.
struct CompletionRequest : Generation {
  std::vector<Prompt> prompts;
  bool echo = false;
};

/// POST /v1/embeddings.
struct EmbeddingRequest {
  std::string model;
  std::vector<Prompt> inputs;
  bool base64 = false;                    // little-endian floats in base64, as OpenAI's clients request
  std::optional<std::size_t> dimensions;  // fewer elements than the model's
};

/// POST /tokenize.
struct TokenizeRequest {
  std::string model;
  std::string content;
  bool add_special = false;
  bool parse_special = false;
  bool with_pieces = false;
};

/// POST /detokenize.
struct DetokenizeRequest {
  std::string model;
  std::vector<std::int32_t> tokens;
};

// Read a body. Each throws ApiError with status 400.
ChatRequest read_chat(std::string_view body);
CompletionRequest read_completion(std::string_view body);
EmbeddingRequest read_embedding(std::string_view body);
TokenizeRequest read_tokenize(std::string_view body);
DetokenizeRequest read_detokenize(std::string_view body);
/// Reads Anthropic's /v1/messages; if not `generates`, its /v1/messages/count_tokens, which has no
/// "max_tokens".
ChatRequest read_anthropic(std::string_view body, bool generates = true);

}  // namespace gemma::server
