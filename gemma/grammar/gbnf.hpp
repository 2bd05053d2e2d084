// GBNF, llama.cpp's notation for grammars, into rules.
//
//   grammar      ::= rule*                       "#" begins a comment up to the end of the line
//   rule         ::= name "::=" alternatives     names are letters, digits, "-" and "_"
//   alternatives ::= sequence ("|" sequence)*
//   sequence     ::= (item repeat?)*
//   item         ::= "text" | [class] | [^class] | "." | name | "(" alternatives ")"
//   repeat       ::= "*" | "+" | "?" | "{n}" | "{n,}" | "{n,m}"
//
// Texts and classes support the escapes \n \r \t \\ \" \[ \] \- \^ \/ \. \xHH \uHHHH \UHHHHHHHH. A rule ends
// where the next one begins, so it may span several lines. Invariant: every rule that is used is defined
// exactly once.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "../../tokenizer/utf8.hpp"
#include "rules.hpp"

namespace gemma::detail {

/// Reads one grammar. Throws Error{kMalformed} naming line and column, {kUnsupported} if it is too large.
class GbnfReader {
 public:
  /// Rules are added to `rules`.
  GbnfReader(std::string_view text, Rules& rules) : text_(text), rules_(rules) {}

  /// Reads the whole text and returns its rules by name.
  std::map<std::string, RuleId, std::less<>> read() {
    const std::size_t valid = utf8::valid_prefix(text_);
    if (valid != text_.size()) {
      at_ = valid;
      fail("not UTF-8");
    }
    skip();
    while (at_ < text_.size()) {
      const std::size_t place = at_;
      const std::string_view rule = name();
      if (rule.empty()) fail("expected the name of a rule");
      skip();
      if (!take("::=")) fail("expected '::=' after the name of a rule");
      const RuleId id = rule_of(rule, place);
      Known& known = known_.find(rule)->second;
      if (known.defined) {
        at_ = place;
        fail("defines rule " + gemma::quoted(rule) + " again");
      }
      known.defined = true;
      rules_.define(id, alternatives(0));
      if (at_ < text_.size() && !at_rule()) fail("expected a rule, '|' or the end");
    }
    std::map<std::string, RuleId, std::less<>> out;
    for (const auto& [rule, known] : known_) {
      if (!known.defined) {
        at_ = known.place;
        fail("uses rule " + gemma::quoted(rule) + ", which is not defined");
      }
      out.emplace(rule, known.id);
    }
    return out;
  }
  /// Reads the whole text and returns its rule "root".
  static RuleId root(std::string_view text, Rules& rules) {
    const auto all = GbnfReader(text, rules).read();
    const auto it = all.find("root");
    if (it == all.end()) detail::refuse(ErrorCode::kMalformed, "grammar: there is no rule 'root'");
    return it->second;
  }

 private:
  static constexpr std::size_t kMaxDepth = 200;  // maximum depth of nested parentheses
  static constexpr int kMaxRepeats = 4;          // maximum number of repetitions applied to one item
  struct Known {
    RuleId id;
    std::size_t place;  // where the name is first used
    bool defined;
  };

  [[noreturn]] void fail(const std::string& what, ErrorCode code = ErrorCode::kMalformed) const {
    std::size_t line = 1, column = 1;
    for (const char c : text_.substr(0, at_)) {
      column = c == '\n' ? 1 : column + 1;
      line += c == '\n' ? 1 : 0;
    }
    detail::refuse(code, [&] {
      return "grammar, line " + std::to_string(line) + ", column " + std::to_string(column) + ": " + what;
    });
  }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  bool take(std::string_view what) {
    if (!text_.substr(at_).starts_with(what)) return false;
    at_ += what.size();
    return true;
  }
  void skip() {
    while (at_ < text_.size()) {
      if (peek() == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else if (std::string_view(" \t\r\n").find(peek()) != std::string_view::npos) {
        ++at_;
      } else {
        return;
      }
    }
  }
  static bool is_name(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  }
  std::string_view name() {
    const std::size_t begin = at_;
    while (at_ < text_.size() && is_name(text_[at_])) ++at_;
    return text_.substr(begin, at_ - begin);
  }
  /// Whether "name ::=" comes next.
  bool at_rule() {
    const std::size_t begin = at_;
    bool found = !name().empty();
    skip();
    found = found && text_.substr(at_).starts_with("::=");
    at_ = begin;
    return found;
  }
  RuleId rule_of(std::string_view rule, std::size_t place) {
    auto it = known_.find(rule);
    if (it == known_.end()) {
      it = known_.emplace(std::string(rule), Known{rules_.add_rule(std::string(rule)), place, false}).first;
    }
    return it->second.id;
  }

  ExprId alternatives(std::size_t depth) {
    if (depth > kMaxDepth) fail("has parentheses that are nested too deep");
    std::vector<ExprId> parts;
    do {
      skip();
      parts.push_back(sequence(depth));
    } while (take("|"));
    return rules_.choice(parts);
  }
  ExprId sequence(std::size_t depth) {
    std::vector<ExprId> parts;
    for (;;) {
      skip();
      if (at_ == text_.size() || peek() == '|' || peek() == ')' || (is_name(peek()) && at_rule())) break;
      ExprId part = item(depth);
      for (int n = 0; const auto times = repetition(); ++n) {
        if (n == kMaxRepeats) fail("repeats a repetition of a repetition");
        part = rules_.repeat(part, times->first, times->second);
      }
      parts.push_back(part);
    }
    return rules_.sequence(parts);
  }
  ExprId item(std::size_t depth) {
    const std::size_t place = at_;
    if (is_name(peek())) return rules_.rule(rule_of(name(), place));
    if (take("(")) {
      const ExprId inner = alternatives(depth + 1);
      if (!take(")")) fail("expected ')'");
      return inner;
    }
    if (take(".")) return rules_.chars({{0, kLastChar}});
    if (take("\"")) return literal();
    if (take("[")) return char_class();
    if (peek() == '<' || peek() == '!')
      fail("tokens in a grammar are not supported", ErrorCode::kUnsupported);
    fail("expected a string, a character class, a rule or '('");
  }
  ExprId literal() {
    std::string out;
    while (!take("\"")) {
      if (at_ == text_.size() || peek() == '\n') fail("unterminated string");
      utf8::append(character(), out);
    }
    return rules_.text(out);
  }
  ExprId char_class() {
    const bool negated = take("^");
    std::vector<CharRange> ranges;
    while (!take("]")) {
      if (at_ == text_.size() || peek() == '\n') fail("unterminated character class");
      const std::uint32_t first = character();
      std::uint32_t last = first;
      if (peek() == '-' && at_ + 1 < text_.size() && text_[at_ + 1] != ']') {
        ++at_;
        if (at_ == text_.size() || peek() == '\n') fail("unterminated character class");
        last = character();
      }
      if (last < first) fail("a character range that ends before it begins");
      ranges.push_back({first, last});
    }
    return rules_.chars(negated ? complement(ranges) : std::move(ranges));
  }
  std::uint32_t character() {
    if (!take("\\")) {
      const utf8::Sequence s = utf8::next(text_, at_);
      at_ += s.length;
      return s.point;
    }
    const char c = peek();
    if (at_ < text_.size()) ++at_;
    switch (c) {
      case 'n':
        return '\n';
      case 'r':
        return '\r';
      case 't':
        return '\t';
      case 'x':
        return hex(2);
      case 'u':
        return hex(4);
      case 'U':
        return hex(8);
      default:
        if (std::string_view("\\\"[]-^/.").find(c) == std::string_view::npos || c == '\0') {
          --at_;
          fail("an unknown escape");
        }
        return static_cast<std::uint32_t>(c);
    }
  }
  std::uint32_t hex(int digits) {
    std::uint32_t value = 0;
    for (int i = 0; i < digits; ++i, ++at_) {
      constexpr std::string_view kDigits = "0123456789abcdef0123456789ABCDEF";
      const std::size_t d = at_ < text_.size() ? kDigits.find(text_[at_]) : std::string_view::npos;
      if (d == std::string_view::npos) fail("expected " + std::to_string(digits) + " hexadecimal digits");
      value = value << 4 | static_cast<std::uint32_t>(d % 16);
    }
    if (value > kLastChar || (value >= 0xD800 && value <= 0xDFFF)) fail("an escape that is not a character");
    return value;
  }

  std::optional<std::pair<std::uint32_t, std::uint32_t>> repetition() {
    skip();
    if (take("*")) return std::pair(0u, Rules::kNoEnd);
    if (take("+")) return std::pair(1u, Rules::kNoEnd);
    if (take("?")) return std::pair(0u, 1u);
    if (!take("{")) return std::nullopt;
    skip();
    const std::uint32_t min = number();
    std::uint32_t max = min;
    skip();
    if (take(",")) {
      skip();
      max = peek() == '}' ? Rules::kNoEnd : number();
      skip();
    }
    if (!take("}")) fail("expected '}'");
    if (max < min) fail("a repetition whose maximum is below its minimum");
    return std::pair(min, max);
  }
  std::uint32_t number() {
    if (peek() < '0' || peek() > '9') fail("expected a number");
    std::uint32_t value = 0;
    for (; peek() >= '0' && peek() <= '9'; ++at_) {
      value = value * 10 + static_cast<std::uint32_t>(peek() - '0');
      if (value > Rules::kMaxCount)
        fail("a repetition of more than " + std::to_string(Rules::kMaxCount) + " times");
    }
    return value;
  }

  std::string_view text_;
  Rules& rules_;
  std::size_t at_ = 0;
  std::map<std::string, Known, std::less<>> known_;
};

}  // namespace gemma::detail
