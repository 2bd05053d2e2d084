// Tools in a conversation: their declarations, calls and answers, as a dialect with tools writes them.
// Invariant: byte for byte the output of the published Gemma 4 templates; every name, text and number of the
// caller's is marked as literal.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include "../gguf/error.hpp"
#include "chat_text.hpp"
#include "dialects/dialect.hpp"
#include "message.hpp"

namespace gemma::detail {

/// Writes to a ChatText, which must outlive it, like the dialect's facts.
class ToolWriter {
 public:
  ToolWriter(const AgentTurns& facts, ChatText& out) : facts_(facts), out_(out) {}

  /// Writes the declaration of a tool, {"type": "function", "function": {"name", "description", "parameters",
  /// "response"}}. Throws Error{kInvalidArgument} for one without a function.
  void declaration(const Value& tool) {
    const Value* function = tool.find("function");
    if (function == nullptr || !function->is(Value::Kind::kObject)) {
      detail::refuse(ErrorCode::kInvalidArgument, "a tool without a \"function\"");
    }
    out_.mark(facts_.tool_open);
    out_.mark("declaration:");
    out_.say(as_text(function->find("name")), false);
    out_.mark("{description:");
    quoted_text(as_text(function->find("description")));
    const Value* parameters = function->find("parameters");
    if (truthy(parameters)) declare_parameters(*parameters);
    if (const Value* response = function->find("response")) declare_response(*response);
    out_.mark("}");
    out_.mark(facts_.tool_close);
  }

  void call(const ToolCall& call) {
    out_.mark(facts_.call_open);
    out_.mark("call:");
    out_.say(call.name, false);
    out_.mark("{");
    if (call.arguments.is(Value::Kind::kObject)) {
      members(call.arguments, false);
    } else if (call.arguments.is(Value::Kind::kText)) {
      out_.say(call.arguments.text(), false);
    }
    out_.mark("}");
    out_.mark(facts_.call_close);
  }

  void response(std::string_view tool, const Value& value) {
    out_.mark(facts_.response_open);
    out_.mark("response:");
    out_.say(tool, false);
    out_.mark("{");
    if (value.is(Value::Kind::kObject)) {
      members(value, false);
    } else {
      out_.mark("value:");
      argument(value, false);
    }
    out_.mark("}");
    out_.mark(facts_.response_close);
  }

 private:
  static bool truthy(const Value* value) { return value != nullptr && value->truthy(); }
  static bool is_object(const Value* value) { return value != nullptr && value->is(Value::Kind::kObject); }

  /// The text that a template prints for a value inside a text; "" for a missing one. Lists and objects are
  /// printed as Python prints them.
  static std::string as_text(const Value* value) {
    if (value == nullptr) return "";
    switch (value->kind()) {
      case Value::Kind::kNull:
        return "None";
      case Value::Kind::kBoolean:
        return value->text() == "true" ? "True" : "False";
      case Value::Kind::kNumber:
      case Value::Kind::kText:
        return value->text();
      case Value::Kind::kList:
      case Value::Kind::kObject:
        break;
    }
    const bool list = value->is(Value::Kind::kList);
    std::string out = list ? "[" : "{";
    for (std::size_t i = 0; i < value->items().size(); ++i) {
      if (i > 0) out += ", ";
      if (!list) out += python_quoted(value->names()[i]) + ": ";
      const Value& item = value->items()[i];
      out += item.is(Value::Kind::kText) ? python_quoted(item.text()) : as_text(&item);
    }
    return out + (list ? "]" : "}");
  }
  static std::string python_quoted(std::string_view text) {
    const bool apostrophe = text.find('\'') != text.npos;
    const char quote = apostrophe && text.find('"') == text.npos ? '"' : '\'';
    std::string out(1, quote);
    for (const char c : text) {
      if (c == '\n') {
        out += "\\n";
        continue;
      }
      if (c == quote || c == '\\') out += '\\';
      out += c;
    }
    return out + quote;
  }
  static std::string in_capitals(std::string text) {
    for (char& c : text) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    return text;
  }
  static std::string type_of(const Value& schema) { return in_capitals(as_text(schema.find("type"))); }

  /// Indices of the members in the order of their names, ignoring case (Jinja's dictsort).
  static std::vector<std::size_t> sorted(const Value& object) {
    std::vector<std::size_t> order(object.items().size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    const auto key = [&](std::size_t i) {
      std::string name = object.names()[i];
      for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
      return name;
    };
    std::vector<std::string> keys;
    for (std::size_t i = 0; i < order.size(); ++i) keys.push_back(key(i));
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return keys[a] < keys[b]; });
    return order;
  }

  void quoted_text(std::string_view text) {
    out_.mark(facts_.quote);
    out_.say(text, false);
    out_.mark(facts_.quote);
  }
  /// A list of texts in quotes, each written as a template prints it.
  void name_list(const Value& names) {
    out_.mark("[");
    for (std::size_t i = 0; i < names.items().size(); ++i) {
      if (i > 0) out_.mark(",");
      quoted_text(as_text(&names.items()[i]));
    }
    out_.mark("]");
  }
  /// NAME:VALUE,... by name.
  void members(const Value& object, bool quoted_names) {
    bool first = true;
    for (const std::size_t i : sorted(object)) {
      if (!std::exchange(first, false)) out_.mark(",");
      if (quoted_names) {
        quoted_text(object.names()[i]);
      } else {
        out_.say(object.names()[i], false);
      }
      out_.mark(":");
      argument(object.items()[i], quoted_names);
    }
  }
  void argument(const Value& value, bool quoted_names) {
    switch (value.kind()) {
      case Value::Kind::kText:
        return quoted_text(value.text());
      case Value::Kind::kObject:
        out_.mark("{");
        members(value, quoted_names);
        return out_.mark("}");
      case Value::Kind::kList:
        out_.mark("[");
        for (std::size_t i = 0; i < value.items().size(); ++i) {
          if (i > 0) out_.mark(",");
          argument(value.items()[i], quoted_names);
        }
        return out_.mark("]");
      case Value::Kind::kBoolean:
        return out_.mark(value.text());
      case Value::Kind::kNull:
      case Value::Kind::kNumber:
        break;
    }
    out_.say(as_text(&value), false);
  }

  void declare_parameters(const Value& parameters) {
    out_.mark(",parameters:{");
    if (const Value* p = parameters.find("properties"); truthy(p)) {
      out_.mark("properties:{");
      properties(*p);
      out_.mark("},");
    }
    if (const Value* r = parameters.find("required"); truthy(r)) {
      out_.mark("required:");
      name_list(*r);
      out_.mark(",");
    }
    if (truthy(parameters.find("type"))) {  // without one the template leaves the brace open
      out_.mark("type:");
      quoted_text(type_of(parameters));
      out_.mark("}");
    }
  }
  void declare_response(const Value& response) {
    out_.mark(",response:{");
    if (const Value* d = response.find("description"); truthy(d)) {
      out_.mark("description:");
      quoted_text(as_text(d));
      out_.mark(",");
    }
    if (type_of(response) == "OBJECT") {
      out_.mark("type:");
      quoted_text("OBJECT");
      out_.mark("}");
    }
  }

  /// Writes the properties of an object, except those whose names are keywords of schemas.
  void properties(const Value& object) {
    constexpr std::array<std::string_view, 5> kWords = {"description", "type", "properties", "required",
                                                        "nullable"};
    bool first = true;
    if (!object.is(Value::Kind::kObject)) return;
    for (const std::size_t i : sorted(object)) {
      const std::string& name = object.names()[i];
      if (std::find(kWords.begin(), kWords.end(), name) != kWords.end()) continue;
      if (!std::exchange(first, false)) out_.mark(",");
      out_.say(name, false);
      out_.mark(":{");
      property(object.items()[i]);
      out_.mark("}");
    }
  }

  /// Begins a part of a property; parts are separated by commas, and `parts_` counts those of the current
  /// one.
  void begin_part(bool& any) {
    if (std::exchange(any, true)) out_.mark(",");
  }
  void property(const Value& schema) {
    bool any = false;
    const std::string type = type_of(schema);
    if (const Value* d = schema.find("description"); truthy(d)) {
      begin_part(any);
      out_.mark("description:");
      quoted_text(as_text(d));
    }
    if (facts_.first_form) nullable(schema, any);
    if (type == "STRING") {
      if (const Value* e = schema.find("enum"); truthy(e)) {
        begin_part(any);
        out_.mark("enum:");
        argument(*e, true);
      }
    } else if (type == "ARRAY") {
      const Value* items = schema.find("items");
      if (is_object(items) && items->truthy()) {
        if (facts_.first_form) {
          out_.mark(",");
        } else {
          begin_part(any);
        }
        array_items(*items);
      }
    } else if (type == "OBJECT" && facts_.first_form) {
      first_form_object(schema);
    }
    if (!facts_.first_form) {
      nullable(schema, any);
      if (type == "OBJECT") object(schema, any);
    }
    begin_part(any);
    out_.mark("type:");
    quoted_text(type);
  }
  void nullable(const Value& schema, bool& any) {
    if (!truthy(schema.find("nullable"))) return;
    begin_part(any);
    out_.mark("nullable:true");
  }
  void object(const Value& schema, bool& any) {
    const Value* inner = schema.find("properties");
    begin_part(any);
    out_.mark("properties:{");
    properties(is_object(inner) ? *inner : schema);
    out_.mark("}");
    if (const Value* r = schema.find("required"); truthy(r)) {
      begin_part(any);
      out_.mark("required:");
      name_list(*r);
    }
  }
  /// The parts of an object schema in the first form, where each begins with a comma even if it is the first.
  void first_form_object(const Value& schema) {
    const Value* inner = schema.find("properties");
    out_.mark(",properties:{");
    properties(is_object(inner) ? *inner : schema);
    out_.mark("}");
    if (const Value* r = schema.find("required"); truthy(r)) {
      out_.mark(",required:");
      name_list(*r);
    }
  }
  void array_items(const Value& items) {
    out_.mark("items:{");
    bool first = true;
    for (const std::size_t i : sorted(items)) {
      const std::string& name = items.names()[i];
      const Value& value = items.items()[i];
      if (value.is(Value::Kind::kNull)) continue;
      if (!std::exchange(first, false)) out_.mark(",");
      if (name == "properties") {
        out_.mark("properties:{");
        properties(value);
        out_.mark("}");
      } else if (name == "required") {
        out_.mark("required:");
        name_list(value);
      } else if (name == "type") {
        out_.mark("type:");
        item_type(value);
      } else {
        out_.say(name, false);
        out_.mark(":");
        argument(value, true);
      }
    }
    out_.mark("}");
  }
  void item_type(const Value& type) {
    if (!type.is(Value::Kind::kList)) return quoted_text(in_capitals(as_text(&type)));
    out_.mark("[");
    for (std::size_t i = 0; i < type.items().size(); ++i) {
      if (i > 0) out_.mark(",");
      quoted_text(in_capitals(as_text(&type.items()[i])));
    }
    out_.mark("]");
  }

  const AgentTurns& facts_;
  ChatText& out_;
};

}  // namespace gemma::detail
