// Conversations as JSON, in the form that most chat servers and templates share: messages with tool calls,
// and declarations of tools.
// Invariant: a Message renders like the same JSON in a Python template.
#pragma once

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "examples/numbers.hpp"
#include "tokenizer/message.hpp"

namespace gemma::app {

/// A finite number as Python prints it: the shortest digits that read back, "1.5", "2.0", "1e+22".
inline std::string python_number(double value) {
  char digits[32];
  const auto [end, error] =
      std::to_chars(digits, digits + sizeof digits, std::abs(value), std::chars_format::scientific);
  static_cast<void>(error);                                                     // 32 characters suffice
  const std::string_view text(digits, static_cast<std::size_t>(end - digits));  // d[.ddd]e+XX
  const std::size_t e = text.find('e');
  const int digits_of_exponent = parse_number<int>(text.substr(e + 2)).value_or(0);
  const int exponent = text[e + 1] == '-' ? -digits_of_exponent : digits_of_exponent;
  std::string mantissa(text.substr(0, 1));
  if (e > 2) mantissa += text.substr(2, e - 2);
  std::string out;
  if (exponent < -4 || exponent >= 16) {
    out = std::string(text.substr(0, e)) + (exponent < 0 ? "e-" : "e+") +
          (std::abs(exponent) < 10 ? "0" : "") + std::to_string(std::abs(exponent));
  } else if (exponent < 0) {
    out = "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + mantissa;
  } else {
    const auto whole = static_cast<std::size_t>(exponent) + 1;
    if (mantissa.size() <= whole) mantissa.append(whole - mantissa.size(), '0').append("0");
    out = mantissa.substr(0, whole) + "." + mantissa.substr(whole);
  }
  return (std::signbit(value) ? "-" : "") + out;
}

template <typename Json>
Value value_of(const Json& json) {
  if (json.is_boolean()) return Value::boolean(json.template get<bool>());
  if (json.is_number_float()) return Value::number(python_number(json.template get<double>()));
  if (json.is_number()) return Value::number(json.dump());
  if (json.is_string()) return Value::text(json.template get<std::string>());
  if (json.is_array()) {
    std::vector<Value> items;
    for (const Json& item : json) items.push_back(value_of(item));
    return Value::list(std::move(items));
  }
  if (json.is_object()) {
    Value object = Value::object();
    for (const auto& [name, member] : json.items()) object.add(name, value_of(member));
    return object;
  }
  return {};
}

/// A message from {"role", "content", "reasoning" or "reasoning_content", "tool_calls", "tool_responses",
/// "tool_call_id", "name"}. The content may be missing in a message with tool calls, and need not be text in
/// a tool's answer. Throws Json::exception for another form.
template <typename Json>
Message message_of(const Json& json) {
  const auto text = [&](const char* key) {
    const auto it = json.find(key);
    return it == json.end() || it->is_null() ? std::string() : it->template get<std::string>();
  };
  Message m;
  m.role = json.at("role").template get<std::string>();
  m.thinking = text("reasoning");
  if (m.thinking.empty()) m.thinking = text("reasoning_content");
  m.tool_call_id = text("tool_call_id");
  m.name = text("name");
  if (const auto calls = json.find("tool_calls"); calls != json.end() && !calls->is_null()) {
    for (const Json& call : *calls) {
      const Json& function = call.at("function");
      const auto id = call.find("id");
      const auto arguments = function.find("arguments");
      m.tool_calls.push_back({id == call.end() || id->is_null() ? "" : id->template get<std::string>(),
                              function.at("name").template get<std::string>(),
                              arguments == function.end() ? Value() : value_of(*arguments)});
    }
  }
  if (const auto responses = json.find("tool_responses"); responses != json.end() && !responses->is_null()) {
    for (const Json& r : *responses) {
      m.tool_responses.push_back({r.value("name", ""), value_of(r.at("response"))});
    }
  }
  const auto content = json.find("content");
  const bool has_content = content != json.end() && !content->is_null();
  if (has_content && content->is_string()) {
    m.content = content->template get<std::string>();
  } else if (has_content && m.role == "tool") {
    m.response = value_of(*content);
  } else if (has_content || (m.tool_calls.empty() && m.tool_responses.empty())) {
    m.content = json.at("content").template get<std::string>();  // throws if it is not a string
  }
  return m;
}

template <typename Json>
std::vector<Message> messages_of(const Json& list) {
  std::vector<Message> out;
  for (const Json& m : list) out.push_back(message_of(m));
  return out;
}
template <typename Json>
std::vector<Value> tools_of(const Json& list) {
  std::vector<Value> out;
  for (const Json& tool : list) out.push_back(value_of(tool));
  return out;
}

}  // namespace gemma::app
