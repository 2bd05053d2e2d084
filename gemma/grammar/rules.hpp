// A grammar before it is compiled: rules, and the expressions that they consist of. GBNF, JSON schemas and
// patterns are read into this form.
// Invariant: an expression refers only to older expressions and to rules, so it is a finite tree; characters
// are Unicode scalar values; every limit on a grammar's size that a hostile one could reach is checked here.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "../../gguf/error.hpp"

namespace gemma::detail {

/// Number of an expression in a Rules object.
enum class ExprId : std::uint32_t {};
/// Number of a rule in a Rules object.
enum class RuleId : std::uint32_t {};

/// Unicode scalar values, both ends included.
struct CharRange {
  std::uint32_t first;
  std::uint32_t last;
  bool operator==(const CharRange&) const = default;
};

inline constexpr std::uint32_t kLastChar = 0x10FFFF;

/// The same set of characters as sorted and disjoint ranges, without surrogates.
inline std::vector<CharRange> normalized(std::vector<CharRange> ranges) {
  std::vector<CharRange> cut;
  for (const CharRange& r : ranges) {
    if (r.first > r.last) continue;
    if (r.first < 0xD800) cut.push_back({r.first, std::min(r.last, std::uint32_t{0xD7FF})});
    if (r.last > 0xDFFF)
      cut.push_back({std::max(r.first, std::uint32_t{0xE000}), std::min(r.last, kLastChar)});
  }
  std::sort(cut.begin(), cut.end(), [](CharRange a, CharRange b) { return a.first < b.first; });
  std::vector<CharRange> out;
  for (const CharRange& r : cut) {
    if (!out.empty() && r.first <= out.back().last + 1) {
      out.back().last = std::max(out.back().last, r.last);
    } else {
      out.push_back(r);
    }
  }
  return out;
}

/// All characters that are not in `ranges`.
inline std::vector<CharRange> complement(const std::vector<CharRange>& ranges) {
  std::vector<CharRange> out;
  std::uint32_t next = 0;
  for (const CharRange& r : normalized(ranges)) {
    if (r.first > next) out.push_back({next, r.first - 1});
    next = r.last + 1;
  }
  if (next <= kLastChar) out.push_back({next, kLastChar});
  return normalized(std::move(out));
}

/// The characters that are in both sets.
inline std::vector<CharRange> intersection(const std::vector<CharRange>& a, const std::vector<CharRange>& b) {
  std::vector<CharRange> out;
  for (const CharRange& x : normalized(a)) {
    for (const CharRange& y : normalized(b)) {
      if (x.first <= y.last && y.first <= x.last)
        out.push_back({std::max(x.first, y.first), std::min(x.last, y.last)});
    }
  }
  return normalized(std::move(out));
}

/// Rules and their expressions. Every function that adds one throws Error{kUnsupported} for a grammar that
/// grows beyond the limits.
class Rules {
 public:
  /// The kind of an expression; a, b, c are its fields.
  enum class Kind : std::uint8_t {
    kNothing,   // matches no text at all, not even the empty one
    kText,      // a .. b of text()
    kChars,     // one character of ranges a .. b
    kSequence,  // children a .. b, one after the other
    kChoice,    // one of children a .. b
    kRepeat,    // child a, b .. c times
    kRule       // the texts of rule a
  };
  struct Expr {
    Kind kind;
    std::uint32_t a, b, c;
  };
  /// `max` of an unbounded repetition.
  static constexpr std::uint32_t kNoEnd = std::numeric_limits<std::uint32_t>::max();
  /// The largest count of a repetition.
  static constexpr std::uint32_t kMaxCount = 1u << 16;
  static constexpr std::size_t kMaxExprs = 1u << 19;
  static constexpr std::size_t kMaxRules = 1u << 16;

  ExprId nothing() { return add({Kind::kNothing, 0, 0, 0}); }
  ExprId empty() { return text(""); }
  /// The bytes of a text.
  ExprId text(std::string_view bytes) {
    const auto begin = static_cast<std::uint32_t>(text_.size());
    text_ += bytes;
    check(text_.size() <= kMaxExprs * 8);
    return add({Kind::kText, begin, static_cast<std::uint32_t>(text_.size()), 0});
  }
  ExprId chars(std::vector<CharRange> ranges) {
    ranges = normalized(std::move(ranges));
    const auto begin = static_cast<std::uint32_t>(ranges_.size());
    ranges_.insert(ranges_.end(), ranges.begin(), ranges.end());
    check(ranges_.size() <= kMaxExprs);
    return add({Kind::kChars, begin, static_cast<std::uint32_t>(ranges_.size()), 0});
  }
  ExprId sequence(std::span<const ExprId> parts) { return list(Kind::kSequence, parts); }
  ExprId sequence(std::initializer_list<ExprId> parts) {
    return list(Kind::kSequence, {parts.begin(), parts.size()});
  }
  ExprId choice(std::span<const ExprId> parts) { return list(Kind::kChoice, parts); }
  ExprId choice(std::initializer_list<ExprId> parts) {
    return list(Kind::kChoice, {parts.begin(), parts.size()});
  }
  /// `min` to `max` times. Throws Error{kUnsupported} for more than kMaxCount.
  ExprId repeat(ExprId part, std::uint32_t min, std::uint32_t max) {
    if (min > kMaxCount || (max != kNoEnd && max > kMaxCount)) {
      refuse(ErrorCode::kUnsupported,
             [] { return "the grammar repeats an item more than " + std::to_string(kMaxCount) + " times"; });
    }
    return add({Kind::kRepeat, static_cast<std::uint32_t>(part), min, max});
  }
  ExprId optional(ExprId part) { return repeat(part, 0, 1); }
  ExprId rule(RuleId id) { return add({Kind::kRule, static_cast<std::uint32_t>(id), 0, 0}); }

  /// A rule that matches nothing until it is defined. The name is for messages.
  RuleId add_rule(std::string name) {
    check(rules_.size() < kMaxRules);
    rules_.push_back({std::move(name), nothing()});
    return static_cast<RuleId>(rules_.size() - 1);
  }
  void define(RuleId id, ExprId body) { rules_[static_cast<std::size_t>(id)].body = body; }
  /// Adds a rule with this body and returns a reference to it.
  ExprId as_rule(std::string name, ExprId body) {
    const RuleId id = add_rule(std::move(name));
    define(id, body);
    return rule(id);
  }

  const Expr& operator[](ExprId id) const { return exprs_[static_cast<std::size_t>(id)]; }
  std::size_t n_rules() const noexcept { return rules_.size(); }
  ExprId body(RuleId id) const { return rules_[static_cast<std::size_t>(id)].body; }
  const std::string& name(RuleId id) const { return rules_[static_cast<std::size_t>(id)].name; }
  std::string_view text_of(const Expr& e) const { return std::string_view(text_).substr(e.a, e.b - e.a); }
  std::span<const CharRange> ranges_of(const Expr& e) const {
    return std::span(ranges_).subspan(e.a, e.b - e.a);
  }
  std::span<const ExprId> children_of(const Expr& e) const {
    return std::span(children_).subspan(e.a, e.b - e.a);
  }

 private:
  struct Rule {
    std::string name;
    ExprId body;
  };

  static void check(bool fits) {
    if (!fits) detail::refuse(ErrorCode::kUnsupported, "the grammar has too many rules or parts");
  }
  ExprId add(const Expr& e) {
    check(exprs_.size() < kMaxExprs);
    exprs_.push_back(e);
    return static_cast<ExprId>(exprs_.size() - 1);
  }
  ExprId list(Kind kind, std::span<const ExprId> parts) {
    if (parts.size() == 1) return parts[0];
    const auto begin = static_cast<std::uint32_t>(children_.size());
    children_.insert(children_.end(), parts.begin(), parts.end());
    check(children_.size() <= kMaxExprs * 2);
    return add({kind, begin, static_cast<std::uint32_t>(children_.size()), 0});
  }

  std::vector<Expr> exprs_;
  std::vector<ExprId> children_;
  std::vector<CharRange> ranges_;
  std::string text_;
  std::vector<Rule> rules_;
};

}  // namespace gemma::detail
