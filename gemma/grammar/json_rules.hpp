// The rules for all JSON: white space, texts, numbers, any value.
// Invariant: white space is bounded, so that a model cannot write it without end: after "{", "[" and "," and
// before "}" and "]" a space, or a newline with an indentation; after ":" a space. Numbers are bounded in
// their digits.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../../tokenizer/value.hpp"
#include "gbnf.hpp"
#include "json_text.hpp"
#include "plain_chars.hpp"
#include "rules.hpp"

namespace gemma::detail {

/// Whole numbers of at most 16 digits, fractions of at most 16, exponents of at most 2: all are finite
/// doubles. \u escapes stand for single characters only, no halves of surrogate pairs.
inline constexpr std::string_view kJsonRules = R"gbnf(
value    ::= object | array | string | number | "true" | "false" | "null"
object   ::= "{" ws (member ("," ws member)* ws)? "}"
member   ::= string ":" sp value
array    ::= "[" ws (value ("," ws value)* ws)? "]"
string   ::= "\"" char* "\""
char     ::= [^"\\\x00-\x1F] | "\\" (["\\/bfnrt] | "u" ([0-9a-ce-fA-CE-F] hex hex hex | [dD] [0-7] hex hex))
hex      ::= [0-9a-fA-F]
number   ::= integer ("." [0-9]{1,16})? ([eE] [-+]? [0-9]{1,2})?
integer  ::= "-"? ("0" | [1-9] [0-9]{0,15})
ws       ::= (" " | "\n" (" "{0,24} | "\t"{0,8}))?
sp       ::= " "?
)gbnf";

/// The rules above by name, and texts.
class JsonRules {
 public:
  explicit JsonRules(Rules& rules) : rules_(rules), named_(GbnfReader(kJsonRules, rules).read()) {}

  Rules& rules() noexcept { return rules_; }
  RuleId id(std::string_view name) const { return named_.find(name)->second; }
  ExprId operator[](std::string_view name) { return rules_.rule(id(name)); }

  /// A text of `min` to `max` characters, quotes included: one rule for all of the same lengths.
  ExprId string(std::uint32_t min, std::uint32_t max) {
    const auto [it, added] = strings_.try_emplace(std::pair(min, max));
    if (added) {
      const ExprId quote = rules_.text("\"");
      it->second =
          rules_.as_rule("string", rules_.sequence({quote, rules_.repeat((*this)["char"], min, max), quote}));
    }
    return it->second;
  }
  /// One of these characters inside a text, escaped where JSON requires it.
  ExprId character(const std::vector<CharRange>& ranges) {
    std::vector<ExprId> ways{
        rules_.chars(intersection(ranges, {{0x20, '"' - 1}, {'"' + 1, '\\' - 1}, {'\\' + 1, kLastChar}}))};
    for (const CharRange& r : intersection(ranges, {{0, 0x1F}, {'"', '"'}, {'\\', '\\'}})) {
      for (std::uint32_t c = r.first; c <= r.last; ++c) {
        const std::string quoted = JsonText::quote(std::string(1, static_cast<char>(c)));
        ways.push_back(rules_.text(std::string_view(quoted).substr(1, quoted.size() - 2)));
      }
    }
    return rules_.choice(ways);
  }
  /// Exactly this value; only white space may vary.
  ExprId literal(const Value& v) {
    if (v.is(Value::Kind::kNull)) return rules_.text("null");
    if (v.is(Value::Kind::kText)) return rules_.text(JsonText::quote(v.text()));
    if (v.is(Value::Kind::kObject)) return list_of(v, "{", "}");
    if (v.is(Value::Kind::kList)) return list_of(v, "[", "]");
    return rules_.text(v.text());
  }
  /// The name of a member: the text in quotes, and the colon after it.
  ExprId name(std::string_view text) {
    return rules_.sequence({rules_.text(JsonText::quote(text) + ":"), (*this)["sp"]});
  }

 private:
  ExprId list_of(const Value& v, std::string_view open, std::string_view close) {
    const ExprId ws = (*this)["ws"];
    std::vector<ExprId> parts{rules_.text(open), ws};
    for (std::size_t i = 0; i < v.items().size(); ++i) {
      if (i != 0) parts.insert(parts.end(), {rules_.text(","), ws});
      if (v.is(Value::Kind::kObject)) parts.push_back(name(v.names()[i]));
      parts.push_back(literal(v.items()[i]));
    }
    if (!v.items().empty()) parts.push_back(ws);
    parts.push_back(rules_.text(close));
    return rules_.sequence(parts);
  }

  Rules& rules_;
  std::map<std::string, RuleId, std::less<>> named_;
  std::map<std::pair<std::uint32_t, std::uint32_t>, ExprId> strings_;
};

}  // namespace gemma::detail
