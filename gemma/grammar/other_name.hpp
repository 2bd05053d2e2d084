// Names of members that differ from all of a given list: for additional members, whose names must not repeat
// a known one.
// Invariant: a name is written without escapes, which could spell one of the taken names.
#pragma once

#include <cstddef>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "../../tokenizer/utf8.hpp"
#include "json_rules.hpp"

namespace gemma::detail {

/// Makes the rules, one character of the taken names at a time.
class OtherName {
 public:
  using Name = std::u32string;

  OtherName(JsonRules& json, const std::vector<std::string>& taken) : rules_(json.rules()) {
    std::set<Name> names;
    for (const std::string& name : taken) {
      Name points;
      for (std::size_t at = 0; at < name.size();) {
        const utf8::Sequence s = utf8::next(name, at);
        points += static_cast<char32_t>(s.point);
        at += s.length;
      }
      names.insert(std::move(points));
    }
    names_.assign(names.begin(), names.end());
  }
  /// The expression after the opening quote, including the closing one.
  ExprId all() { return from(0, names_.size(), 0); }

 private:
  /// Taken names are followed to this many characters; beyond it, no name that shares the beginning is
  /// allowed.
  static constexpr std::size_t kMaxDepth = 256;

  static std::vector<CharRange> escaped() { return {{0, 0x1F}, {'"', '"'}, {'\\', '\\'}}; }

  /// The expression after the first `depth` characters, which are the beginning of the names [begin, end).
  ExprId from(std::size_t begin, std::size_t end, std::size_t depth) {
    std::vector<ExprId> ways;
    std::vector<CharRange> taken = escaped();
    if (begin < end && names_[begin].size() == depth) {
      ++begin;  // the characters so far are a taken name: no name may end here
    } else {
      ways.push_back(rules_.text("\""));
    }
    while (begin < end) {
      const char32_t c = names_[begin][depth];
      std::size_t same = begin;
      while (same < end && names_[same][depth] == c) ++same;
      const CharRange one{c, c};
      taken.push_back(one);
      if (depth < kMaxDepth && intersection({one}, escaped()).empty()) {
        ways.push_back(rules_.sequence({rules_.chars({one}), from(begin, same, depth + 1)}));
      }
      begin = same;
    }
    const ExprId any = rules_.repeat(rules_.chars(complement(escaped())), 0, Rules::kNoEnd);
    ways.push_back(rules_.sequence({rules_.chars(complement(taken)), any, rules_.text("\"")}));
    return rules_.as_rule("name", rules_.choice(ways));
  }

  Rules& rules_;
  std::vector<Name> names_;  // sorted
};

/// A name in quotes that differs from all of `taken`.
inline ExprId other_name(JsonRules& json, const std::vector<std::string>& taken) {
  if (taken.empty()) return json.string(0, Rules::kNoEnd);
  return json.rules().sequence({json.rules().text("\""), OtherName(json, taken).all()});
}

}  // namespace gemma::detail
