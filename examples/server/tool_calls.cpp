#include "examples/server/tool_calls.hpp"

#include <algorithm>
#include <numeric>

#include "examples/server/json.hpp"

namespace gemma::server {
namespace {

/// Parses arguments in the dialect's notation: {name:value,name:value}; texts are between two quote markers,
/// names may be.
class ArgumentParser {
 public:
  ArgumentParser(const AgentTurns& agent, std::string_view text) : agent_(agent), text_(text) {}

  /// Parses the whole text as one object; returns whether it is one.
  bool parse(Json& out) { return object(out, 0) && at_ == text_.size(); }

 private:
  static constexpr int kDepth = 64;

  void skip_space() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  bool take(std::string_view what) {
    skip_space();
    if (!text_.substr(at_).starts_with(what)) return false;
    at_ += what.size();
    return true;
  }
  bool quoted(std::string& out) {
    const std::size_t end = text_.find(agent_.quote, at_);
    if (end == text_.npos) return false;
    out = text_.substr(at_, end - at_);
    at_ = end + agent_.quote.size();
    return true;
  }
  std::string_view bare(std::string_view ends) {
    const std::size_t end = std::min(text_.find_first_of(ends, at_), text_.size());
    std::string_view out = text_.substr(at_, end - at_);
    at_ = end;
    while (out.ends_with(' ') || out.ends_with('\n')) out.remove_suffix(1);
    return out;
  }
  bool object(Json& out, int depth) {
    if (depth > kDepth || !take("{")) return false;
    out = Json::object();
    if (take("}")) return true;
    do {
      std::string name;
      if (take(agent_.quote)) {
        if (!quoted(name)) return false;
      } else {
        name = bare(":,{}[]");
      }
      if (name.empty() || !take(":") || !value(out[name], depth + 1)) return false;
    } while (take(","));
    return take("}");
  }
  bool list(Json& out, int depth) {
    out = Json::array();
    if (take("]")) return true;
    do {
      Json item;
      if (!value(item, depth + 1)) return false;
      out.push_back(std::move(item));
    } while (take(","));
    return take("]");
  }
  bool value(Json& out, int depth) {
    if (depth > kDepth) return false;
    std::string said;
    if (take(agent_.quote)) {
      if (!quoted(said)) return false;
      out = said;
      return true;
    }
    if (take("[")) return list(out, depth);
    skip_space();
    if (at_ < text_.size() && text_[at_] == '{') return object(out, depth);
    const std::string_view word = bare(",]}");
    if (word.empty()) return false;
    out = Json::parse(word, nullptr, false);                                 // a number, true, false or null
    if (out.is_discarded() || out.is_structured()) out = std::string(word);  // or a text without quotes
    return true;
  }

  const AgentTurns& agent_;
  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

bool parse_tool_call(const AgentTurns& agent, std::string_view text, CalledTool& out) {
  constexpr std::string_view kCall = "call:";
  if (!text.starts_with(kCall)) return false;
  text.remove_prefix(kCall.size());
  const std::size_t brace = text.find('{');
  if (brace == text.npos || brace == 0) return false;
  Json arguments;
  if (!ArgumentParser(agent, text.substr(brace)).parse(arguments)) return false;
  out.name = text.substr(0, brace);
  out.arguments = arguments.dump(-1, ' ', false, Json::error_handler_t::replace);
  return true;
}

std::string ToolCallReader::push(std::string_view text, std::vector<CalledTool>& calls) {
  if (agent_ == nullptr || agent_->call_open.empty()) return std::string(text);
  pending_ += text;
  std::string out;
  for (;;) {
    const std::size_t begin = pending_.find(agent_->call_open);
    if (begin == pending_.npos) {
      std::size_t held = std::min(agent_->call_open.size() - 1, pending_.size());
      while (held > 0 && !pending_.ends_with(agent_->call_open.substr(0, held))) --held;
      out += pending_.substr(0, pending_.size() - held);
      pending_.erase(0, pending_.size() - held);
      return out;
    }
    out += pending_.substr(0, begin);
    pending_.erase(0, begin);
    const std::size_t end = pending_.find(agent_->call_close);
    if (end == pending_.npos) return out;
    const std::size_t inside = agent_->call_open.size();
    CalledTool call;
    if (parse_tool_call(*agent_, std::string_view(pending_).substr(inside, end - inside), call)) {
      calls.push_back(std::move(call));
    } else {
      out += pending_.substr(0, end + agent_->call_close.size());
    }
    pending_.erase(0, end + agent_->call_close.size());
  }
}

std::string ToolCallReader::flush() {
  return std::exchange(pending_, {});
}

namespace {

/// Makes a grammar of tool calls, with rules for values in the dialect's notation.
class CallGrammar {
 public:
  explicit CallGrammar(const AgentTurns& agent) : quote_(literal(agent.quote)) {
    const char odd = agent.quote.front();  // a text must not contain the quote marker: it never has its first
                                           // two characters in a row
    const std::string first = in_set(odd), second = in_set(agent.quote[1]);
    rules_ = "text ::= " + quote_ + " ( [^" + first + "] | [" + first + "] [^" + second + first + "] )* " +
             quote_ + "\n" +
             "number ::= \"-\"? ( \"0\" | [1-9] [0-9]{0,15} ) ( \".\" [0-9]{1,15} )? ( [eE] [-+]? [0-9]{1,3} "
             ")?\n"
             "integer ::= \"-\"? ( \"0\" | [1-9] [0-9]{0,15} )\n"
             "boolean ::= \"true\" | \"false\"\n"
             "list ::= \"[\" ( value ( \",\" value )* )? \"]\"\n"
             "name ::= [a-zA-Z_] [a-zA-Z0-9_]{0,63}\n"
             "object ::= \"{\" ( name \":\" value ( \",\" name \":\" value )* )? \"}\"\n"
             "value ::= text | number | boolean | \"null\" | list | object\n";
  }

  static std::string literal(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
      if (c == '\n') {
        out += "\\n";
        continue;
      }
      if (c == '"' || c == '\\') out += '\\';
      out += c;
    }
    return out + "\"";
  }

  /// The right side of a rule for `{...}` with these parameters.
  std::string arguments(const Value* parameters) {
    const Value* properties = parameters != nullptr ? parameters->find("properties") : nullptr;
    if (properties == nullptr || properties->names().empty()) return "object";  // no schema, or no properties
    std::vector<std::string> needed, optional;
    const Value* required = parameters->find("required");
    for (const std::size_t i : by_name(*properties)) {
      const std::string& name = properties->names()[i];
      const bool must = required != nullptr && std::any_of(required->items().begin(), required->items().end(),
                                                           [&](const Value& r) { return r.text() == name; });
      const std::string value = rule_of(properties->items()[i]);
      (must ? needed : optional).push_back(literal(name + ":") + " " + value);
    }
    if (needed.empty() && optional.size() > kMostOptional) return "object";
    std::string out = "\"{\" ";
    for (std::size_t i = 0; i < needed.size(); ++i) out += (i == 0 ? "" : " \",\" ") + needed[i];
    if (!needed.empty()) {
      for (const std::string& o : optional) out += " ( \",\" " + o + " )?";
    } else {
      out += "(";
      for (std::size_t first = 0; first < optional.size(); ++first) {
        out += (first == 0 ? " " : " | ") + optional[first];
        for (std::size_t i = first + 1; i < optional.size(); ++i) out += " ( \",\" " + optional[i] + " )?";
      }
      out += " )?";
    }
    return out + " \"}\"";
  }
  void rule(const std::string& name, const std::string& right) { rules_ += name + " ::= " + right + "\n"; }
  const std::string& rules() const { return rules_; }

 private:
  static std::string in_set(char c) {
    return c == ']' || c == '^' || c == '\\' || c == '-' ? std::string("\\") + c : std::string(1, c);
  }
  static std::vector<std::size_t> by_name(const Value& object) {
    std::vector<std::size_t> order(object.items().size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return object.names()[a] < object.names()[b]; });
    return order;
  }
  /// The name of a separate rule for a value, so that a repeated one is written once.
  std::string rule_of(const Value& schema) {
    std::string name = "v" + std::to_string(n_values_++);
    rule(name, value_of(schema));
    return name;
  }
  std::string value_of(const Value& schema) {
    if (const Value* e = schema.find("enum"); e != nullptr && !e->items().empty()) {
      std::string out = "(";
      for (const Value& v : e->items()) {
        const bool text = v.is(Value::Kind::kText);
        out += (out.size() == 1 ? " " : " | ") + (text ? quote_ + " " : "") + literal(v.text()) +
               (text ? " " + quote_ : "");
      }
      return out + " )";
    }
    const Value* type = schema.find("type");
    if (type == nullptr) return "value";
    const std::string& name = type->text();
    if (name == "string") return "text";
    if (name == "number" || name == "integer" || name == "boolean") return name;
    if (name == "array") {
      const Value* items = schema.find("items");
      const std::string item =
          items != nullptr && items->is(Value::Kind::kObject) ? rule_of(*items) : "value";
      return "( \"[\" ( " + item + " ( \",\" " + item + " )* )? \"]\" )";
    }
    return name == "object" ? "( " + arguments(&schema) + " )" : "value";
  }

  static constexpr std::size_t kMostOptional = 32;  // the rule below is quadratic in them

  std::string quote_;
  std::string rules_;
  std::size_t n_values_ = 0;
};

}  // namespace

std::string tool_call_grammar(const AgentTurns& agent, std::span<const Value> tools, std::string_view name) {
  CallGrammar grammar(agent);
  std::string any;
  for (std::size_t i = 0; i < tools.size(); ++i) {
    const Value* function = tools[i].find("function");
    const std::string& called = function->find("name")->text();
    if (!name.empty() && name != called) continue;
    const std::string rule = "tool" + std::to_string(i);
    grammar.rule(
        rule, CallGrammar::literal("call:" + called) + " " + grammar.arguments(function->find("parameters")));
    any += (any.empty() ? "" : " | ") + rule;
  }
  grammar.rule("root", CallGrammar::literal(agent.call_open) + " ( " + any + " ) " +
                           CallGrammar::literal(agent.call_close));
  return grammar.rules();
}

}  // namespace gemma::server
