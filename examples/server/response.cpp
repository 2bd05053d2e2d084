#include "examples/server/response.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "examples/server/json.hpp"
#include "gemma/version.hpp"
#include "tokenizer/utf8.hpp"

namespace gemma::server {
namespace {

std::string line(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}
Json or_null(const std::string& text) {
  return text.empty() ? Json() : Json(text);
}
/// JSON has no infinities: the log probability of an impossible token is -9999, as in OpenAI's.
double finite(double v) {
  return std::isfinite(v) ? v : -9999.0;
}
Json bytes_of(const std::string& text) {
  Json out = Json::array();
  for (const char c : text) out.push_back(static_cast<unsigned char>(c));
  return out;
}

Json usage_json(const Usage& u) {
  return {{"prompt_tokens", u.prompt},
          {"completion_tokens", u.completion},
          {"total_tokens", u.prompt + u.completion},
          {"prompt_tokens_details", {{"cached_tokens", u.cached}}},
          {"completion_tokens_details", {{"reasoning_tokens", u.reasoning}}}};
}
Json chat_logprobs(const Choice& c) {
  Json content = Json::array();
  for (const TokenLogprob& t : c.logprobs) {
    Json top = Json::array();
    for (const auto& [token, p] : t.top) {
      top.push_back({{"token", token}, {"logprob", finite(p)}, {"bytes", bytes_of(token)}});
    }
    content.push_back({{"token", t.token},
                       {"logprob", finite(t.logprob)},
                       {"bytes", bytes_of(t.token)},
                       {"top_logprobs", top}});
  }
  return {{"content", content}, {"refusal", nullptr}};
}
/// A token of /v1/completions: a part of a character is written as in OpenAI's, "bytes:\\xe2\\x80".
std::string shown(const std::string& token) {
  if (utf8::replace_invalid(token) == token) return token;
  std::string out = "bytes:";
  for (const char c : token) {
    constexpr char kDigits[] = "0123456789abcdef";
    const auto byte = static_cast<unsigned char>(c);
    out.append("\\x").append({kDigits[byte >> 4], kDigits[byte & 15]});
  }
  return out;
}
/// The likeliest tokens by their text, and the token itself if it is not one of them. Of two tokens with the
/// same text the likelier one is kept.
Json likeliest(const TokenLogprob& t) {
  Json out = Json::object();
  for (const auto& [token, p] : t.top) out.emplace(shown(token), finite(p));
  out.emplace(shown(t.token), finite(t.logprob));
  return out;
}
Json completion_logprobs(const Choice& c) {
  Json tokens = Json::array(), values = Json::array(), top = Json::array(), offsets = Json::array();
  std::size_t offset = c.offset;
  for (const TokenLogprob& t : c.logprobs) {
    tokens.push_back(shown(t.token));
    values.push_back(t.is_known ? Json(finite(t.logprob)) : Json());
    top.push_back(t.is_known ? likeliest(t) : Json());
    offsets.push_back(offset);
    offset += n_characters(t);
  }
  return {{"tokens", tokens}, {"token_logprobs", values}, {"top_logprobs", top}, {"text_offset", offsets}};
}
Json tool_json(const CalledTool& t) {
  return {{"id", t.id}, {"type", "function"}, {"function", {{"name", t.name}, {"arguments", t.arguments}}}};
}
Json head_json(const ResponseHead& head, const char* object) {
  return {{"id", head.id},
          {"object", object},
          {"created", head.created},
          {"model", head.model},
          {"system_fingerprint", "gemma-" GEMMA_VERSION_STRING}};
}
Json completion_choice(const Choice& c, bool logprobs) {
  return {{"text", c.text},
          {"index", c.index},
          {"logprobs", logprobs ? completion_logprobs(c) : Json()},
          {"finish_reason", or_null(c.finish_reason)}};
}

}  // namespace

std::size_t n_characters(const TokenLogprob& token) {
  const auto begins = [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; };
  const auto hidden = static_cast<std::ptrdiff_t>(std::min(token.n_hidden, token.token.size()));
  return static_cast<std::size_t>(std::count_if(token.token.begin() + hidden, token.token.end(), begins));
}

std::string error_body(const ApiError& e) {
  return line({{"error",
                {{"message", e.message()},
                 {"type", e.type()},
                 {"param", or_null(e.param())},
                 {"code", or_null(e.code())}}}});
}

std::string chat_completion(const ResponseHead& head, std::span<const Choice> choices, const Usage& usage,
                            bool logprobs) {
  Json out = head_json(head, "chat.completion");
  out["choices"] = Json::array();
  for (const Choice& c : choices) {
    Json message = {{"role", "assistant"},
                    {"content", c.text.empty() && !c.tools.empty() ? Json() : Json(c.text)}};
    if (!c.reasoning.empty()) message["reasoning_content"] = c.reasoning;
    for (const CalledTool& t : c.tools) message["tool_calls"].push_back(tool_json(t));
    out["choices"].push_back({{"index", c.index},
                              {"message", message},
                              {"logprobs", logprobs ? chat_logprobs(c) : Json()},
                              {"finish_reason", or_null(c.finish_reason)}});
  }
  out["usage"] = usage_json(usage);
  return line(out);
}

std::string chat_chunk(const ResponseHead& head, const Choice& c, bool first, bool logprobs,
                       bool usage_asked) {
  Json delta = Json::object();
  if (first) delta["role"] = "assistant";
  if (!c.text.empty() || first) delta["content"] = c.text;
  if (!c.reasoning.empty()) delta["reasoning_content"] = c.reasoning;
  for (std::size_t i = 0; i < c.tools.size(); ++i) {
    Json tool = {{"index", c.first_tool + i}};
    tool.update(tool_json(c.tools[i]));
    delta["tool_calls"].push_back(tool);
  }
  Json out = head_json(head, "chat.completion.chunk");
  out["choices"] = Json::array({{{"index", c.index},
                                 {"delta", delta},
                                 {"logprobs", logprobs && !c.logprobs.empty() ? chat_logprobs(c) : Json()},
                                 {"finish_reason", or_null(c.finish_reason)}}});
  if (usage_asked) out["usage"] = nullptr;
  return line(out);
}

std::string chat_usage_chunk(const ResponseHead& head, const Usage& usage) {
  Json out = head_json(head, "chat.completion.chunk");
  out["choices"] = Json::array();
  out["usage"] = usage_json(usage);
  return line(out);
}

std::string completion(const ResponseHead& head, std::span<const Choice> choices, const Usage& usage,
                       bool logprobs) {
  Json out = head_json(head, "text_completion");
  out["choices"] = Json::array();
  for (const Choice& c : choices) out["choices"].push_back(completion_choice(c, logprobs));
  out["usage"] = usage_json(usage);
  return line(out);
}

std::string completion_chunk(const ResponseHead& head, const Choice& c, bool logprobs, bool usage_asked) {
  Json out = head_json(head, "text_completion");
  out["choices"] = Json::array({completion_choice(c, logprobs)});
  if (usage_asked) out["usage"] = nullptr;
  return line(out);
}

std::string completion_usage_chunk(const ResponseHead& head, const Usage& usage) {
  Json out = head_json(head, "text_completion");
  out["choices"] = Json::array();
  out["usage"] = usage_json(usage);
  return line(out);
}

std::string model_entry(const std::string& name, std::int64_t created) {
  return line({{"id", name}, {"object", "model"}, {"created", created}, {"owned_by", "local"}});
}

std::string model_list(std::span<const std::string> names, std::int64_t created) {
  Json data = Json::array();
  for (const std::string& name : names) data.push_back(Json::parse(model_entry(name, created)));
  return line({{"object", "list"}, {"data", data}});
}

namespace {

std::string base64(std::span<const unsigned char> bytes) {
  constexpr char kSigns[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t three = 0;
    for (std::size_t k = 0; k < 3; ++k) three = three << 8 | (i + k < bytes.size() ? bytes[i + k] : 0u);
    for (std::size_t k = 0; k < 4; ++k) {
      out += i + k > bytes.size() ? '=' : kSigns[(three >> (18 - 6 * k)) & 63];
    }
  }
  return out;
}
std::string little_endian(std::span<const float> values) {
  std::vector<unsigned char> bytes;
  for (const float v : values) {
    const auto bits = std::bit_cast<std::uint32_t>(v);
    for (int shift = 0; shift < 32; shift += 8) bytes.push_back(static_cast<unsigned char>(bits >> shift));
  }
  return base64(bytes);
}

}  // namespace

std::string embeddings(const std::string& model, std::span<const std::vector<float>> vectors,
                       std::size_t n_tokens, bool as_base64) {
  Json data = Json::array();
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    data.push_back({{"object", "embedding"},
                    {"index", i},
                    {"embedding", as_base64 ? Json(little_endian(vectors[i])) : Json(vectors[i])}});
  }
  return line({{"object", "list"},
               {"data", data},
               {"model", model},
               {"usage", {{"prompt_tokens", n_tokens}, {"total_tokens", n_tokens}}}});
}

std::string sse(std::string_view data, std::string_view name) {
  std::string out;
  if (!name.empty()) out.append("event: ").append(name).append("\n");
  return out.append("data: ").append(data).append("\n\n");
}

}  // namespace gemma::server
