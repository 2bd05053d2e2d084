// Responses in Anthropic's form.
#include "examples/server/json.hpp"
#include "examples/server/response.hpp"

namespace gemma::server {
namespace {

std::string one_line(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}
Json anthropic_usage(const Usage& u) {
  return {{"input_tokens", u.prompt - u.cached},
          {"cache_read_input_tokens", u.cached},
          {"output_tokens", u.completion}};
}
Json stop_reason(const std::string& finish_reason, const std::string& stop_sequence) {
  if (finish_reason.empty()) return nullptr;
  if (!stop_sequence.empty()) return "stop_sequence";
  return finish_reason == "length" ? "max_tokens" : finish_reason == "tool_calls" ? "tool_use" : "end_turn";
}
Json sequence_or_null(const std::string& stop_sequence) {
  return stop_sequence.empty() ? Json() : Json(stop_sequence);
}
/// A tool's arguments as a JSON value; {} if they are not JSON.
Json input_of(const CalledTool& tool) {
  Json input = Json::parse(tool.arguments, nullptr, false);
  return input.is_object() ? input : Json::object();
}
Json message_json(const ResponseHead& head) {
  return {{"id", head.id},
          {"type", "message"},
          {"role", "assistant"},
          {"model", head.model},
          {"content", Json::array()}};
}

}  // namespace

std::string anthropic_error_body(const ApiError& e) {
  const char* type = e.status() >= 500 ? "api_error" : e.status() == 413 ? "request_too_large" : e.type();
  return one_line({{"type", "error"}, {"error", {{"type", type}, {"message", e.message()}}}});
}

std::string anthropic_message(const ResponseHead& head, const Choice& answer, const Usage& usage,
                              const std::string& stop_sequence) {
  Json out = message_json(head);
  if (!answer.reasoning.empty()) {
    out["content"].push_back({{"type", "thinking"}, {"thinking", answer.reasoning}, {"signature", ""}});
  }
  if (!answer.text.empty() || answer.tools.empty())
    out["content"].push_back({{"type", "text"}, {"text", answer.text}});
  for (const CalledTool& t : answer.tools) {
    out["content"].push_back({{"type", "tool_use"}, {"id", t.id}, {"name", t.name}, {"input", input_of(t)}});
  }
  out["stop_reason"] = stop_reason(answer.finish_reason, stop_sequence);
  out["stop_sequence"] = sequence_or_null(stop_sequence);
  out["usage"] = anthropic_usage(usage);
  return one_line(out);
}

std::string anthropic_start(const ResponseHead& head, const Usage& usage) {
  Json message = message_json(head);
  message["stop_reason"] = nullptr;
  message["stop_sequence"] = nullptr;
  message["usage"] = anthropic_usage(usage);
  return one_line({{"type", "message_start"}, {"message", message}});
}

std::string anthropic_block_start(std::size_t index, std::string_view type, const CalledTool& tool) {
  Json block = {{"type", type}};
  if (type == "tool_use") {
    block.update({{"id", tool.id}, {"name", tool.name}, {"input", Json::object()}});
  } else {
    block[std::string(type)] = "";
    if (type == "thinking") block["signature"] = "";
  }
  return one_line({{"type", "content_block_start"}, {"index", index}, {"content_block", block}});
}

std::string anthropic_delta(std::size_t index, std::string_view type, std::string_view text) {
  const bool tool = type == "tool_use";
  Json delta = {{"type", tool ? "input_json_delta" : std::string(type) + "_delta"}};
  delta[tool ? "partial_json" : std::string(type)] = text;
  return one_line({{"type", "content_block_delta"}, {"index", index}, {"delta", delta}});
}

std::string anthropic_block_stop(std::size_t index) {
  return one_line({{"type", "content_block_stop"}, {"index", index}});
}

std::string anthropic_end(const std::string& finish_reason, const std::string& stop_sequence,
                          const Usage& usage) {
  return one_line({{"type", "message_delta"},
                   {"delta",
                    {{"stop_reason", stop_reason(finish_reason, stop_sequence)},
                     {"stop_sequence", sequence_or_null(stop_sequence)}}},
                   {"usage", anthropic_usage(usage)}});
}

std::string anthropic_stop() {
  return one_line({{"type", "message_stop"}});
}

}  // namespace gemma::server
