// Regular expressions of schemas ("pattern", and the patterns of "format"), as expressions over the text of a
// JSON string. Supported are literals, ".", classes with \d \w \s and their complements, groups, "|", the
// repetitions * + ? {m,n} (also lazy ones, which match the same texts), and ^ and $ at the ends. Anything
// else is refused by name.
// Invariant: every text that is matched also matches in ECMAScript (flag u) and in Python. Where they differ,
// as in \w beyond ASCII, the set that both accept is used.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "json_rules.hpp"

namespace gemma::detail {

/// Bounds of the lengths of an expression's texts, in characters.
struct Lengths {
  std::uint64_t min = 0;
  std::uint64_t max = 0;  // kNoLength: unbounded
};
inline constexpr std::uint64_t kNoLength = ~std::uint64_t{0};

/// Parser of one pattern.
class Pattern {
 public:
  /// The expression between the quotes. Without ^ or $, any text may precede or follow what matches the
  /// pattern. Throws Error{kMalformed, kUnsupported} naming the pattern; also when its texts may be shorter
  /// or longer than `bounds` ("minLength" and "maxLength") allow.
  static ExprId read(std::string_view pattern, JsonRules& json, Lengths bounds) {
    Pattern p(pattern, json);
    p.bounds_ = bounds;
    Part all = p.alternatives(0);
    if (p.at_ != pattern.size()) p.fail(ErrorCode::kMalformed, "has a ')' without its '('");
    if (all.lengths.min < bounds.min || all.lengths.max > bounds.max) {
      p.fail(ErrorCode::kUnsupported,
             "together with 'minLength' or 'maxLength', which its texts may not keep");
    }
    return all.expr;
  }

 private:
  static constexpr std::size_t kMaxDepth = 100;  // maximum depth of nested groups
  struct Part {
    ExprId expr;
    Lengths lengths;
  };
  using Ranges = std::vector<CharRange>;

  Pattern(std::string_view pattern, JsonRules& json) : text_(pattern), json_(json), rules_(json.rules()) {}

  [[noreturn]] void fail(ErrorCode code, std::string_view why) const {
    refuse(code, [&] { return "schema: pattern " + gemma::quoted(text_) + " " + std::string(why); });
  }
  [[noreturn]] void unsupported(std::string_view what) const {
    fail(ErrorCode::kUnsupported, "holds " + std::string(what) + ", which is not supported");
  }
  char peek(std::size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  bool take(std::string_view what) {
    if (!text_.substr(at_).starts_with(what)) return false;
    at_ += what.size();
    return true;
  }

  Part anything() { return {rules_.repeat(json_["char"], 0, Rules::kNoEnd), {0, kNoLength}}; }

  Part alternatives(std::size_t depth) {
    if (depth > kMaxDepth) fail(ErrorCode::kUnsupported, "has groups that are nested too deep");
    std::vector<ExprId> ways;
    Lengths lengths{kNoLength, 0};
    do {
      const Part part = sequence(depth);
      ways.push_back(part.expr);
      lengths = {std::min(lengths.min, part.lengths.min), std::max(lengths.max, part.lengths.max)};
    } while (take("|"));
    return {rules_.choice(ways), lengths};
  }
  /// A sequence of parts; at depth 0 with the text that may precede and follow it.
  Part sequence(std::size_t depth) {
    std::vector<Part> parts;
    const bool outer = depth == 0;
    if (outer && !take("^")) parts.push_back(anything());
    bool closed = false;
    while (at_ < text_.size() && peek() != '|' && peek() != ')') {
      if (outer && peek() == '$' && (at_ + 1 == text_.size() || peek(1) == '|')) {
        closed = true;
        ++at_;
        break;
      }
      const Ranges* only = nullptr;  // set if the part is one character of these ranges
      Part part = item(depth, only);
      for (int n = 0; repeatable(); ++n) {
        if (n == 4) fail(ErrorCode::kMalformed, "repeats a repetition of a repetition");
        part = repeated(part, outer && parts.empty() && only != nullptr && n == 0);
      }
      parts.push_back(part);
    }
    if (outer && !closed) parts.push_back(anything());
    std::vector<ExprId> exprs;
    Lengths lengths;
    for (const Part& part : parts) {
      exprs.push_back(part.expr);
      lengths = {sum(lengths.min, part.lengths.min), sum(lengths.max, part.lengths.max)};
    }
    return {rules_.sequence(exprs), lengths};
  }
  static std::uint64_t sum(std::uint64_t a, std::uint64_t b) {
    return a + b < a || a == kNoLength ? kNoLength : a + b;
  }
  static std::uint64_t product(std::uint64_t a, std::uint64_t b) {
    if (a == 0 || b == 0) return 0;
    return a == kNoLength || b == kNoLength || a > kNoLength / b ? kNoLength : a * b;
  }

  bool repeatable() const {
    return std::string_view("*+?").find(peek()) != std::string_view::npos
               ? at_ < text_.size()
               : peek() == '{' && is_digit(peek(1));
  }
  static bool is_digit(char c) { return c >= '0' && c <= '9'; }
  std::uint32_t number() {
    std::uint32_t value = 0;
    for (; is_digit(peek()); ++at_) {
      value = value * 10 + static_cast<std::uint32_t>(peek() - '0');
      if (value > Rules::kMaxCount) fail(ErrorCode::kUnsupported, "repeats something too often");
    }
    return value;
  }
  /// A part with its repetition, if there is one. `alone`: the part is one character at the beginning; if it
  /// is the whole pattern, the bounds of lengths become the counts of the repetition.
  Part repeated(const Part& part, bool alone) {
    std::uint32_t min = 0;
    std::uint32_t max = Rules::kNoEnd;
    if (take("{")) {
      min = max = number();
      if (take(",")) max = is_digit(peek()) ? number() : Rules::kNoEnd;
      if (!take("}")) fail(ErrorCode::kMalformed, "has a repetition without its '}'");
      if (max < min) fail(ErrorCode::kMalformed, "has a repetition whose maximum is below its minimum");
    } else {
      const char sign = peek();
      ++at_;
      min = sign == '+' ? 1 : 0;
      max = sign == '?' ? 1 : Rules::kNoEnd;
    }
    static_cast<void>(take("?"));  // lazy
    if (alone && text_.substr(at_) == "$") {
      min = static_cast<std::uint32_t>(std::max<std::uint64_t>(min, bounds_.min));
      if (bounds_.max < max) max = static_cast<std::uint32_t>(bounds_.max);
      if (max < min) fail(ErrorCode::kUnsupported, "and 'minLength' or 'maxLength' exclude each other");
    }
    const std::uint64_t most = max == Rules::kNoEnd ? kNoLength : max;
    return {rules_.repeat(part.expr, min, max),
            {product(part.lengths.min, min), product(part.lengths.max, most)}};
  }

  Part item(std::size_t depth, const Ranges*& only) {
    const char c = peek();
    if (c == '(') return group(depth);
    if (c == '^' || c == '$') unsupported("'^' or '$' inside");
    if (repeatable()) fail(ErrorCode::kMalformed, "repeats nothing");
    if (c == '[') {
      last_ = char_class();
    } else if (c == '.') {
      ++at_;
      last_ = complement({{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}});
    } else if (c == '\\') {
      last_ = escape(false);
    } else {
      last_ = {literal()};
    }
    only = &last_;
    return {json_.character(last_), {1, 1}};
  }
  Part group(std::size_t depth) {
    ++at_;
    if (take("?")) {
      if (take("<") && peek() != '=' && peek() != '!') {  // a name
        at_ = std::min(text_.find('>', at_), text_.size());
        static_cast<void>(take(">"));
      } else if (!take(":")) {
        unsupported("a look-ahead or look-behind");
      }
    }
    const Part inner = alternatives(depth + 1);
    if (!take(")")) fail(ErrorCode::kMalformed, "has a '(' without its ')'");
    return inner;
  }
  CharRange literal() {
    const utf8::Sequence s = utf8::next(text_, at_);
    at_ += s.length;
    return {s.point, s.point};
  }

  static Ranges digits() { return {{'0', '9'}}; }
  static Ranges words() { return {{'0', '9'}, {'A', 'Z'}, {'_', '_'}, {'a', 'z'}}; }
  static Ranges spaces() { return {{'\t', '\r'}, {' ', ' '}}; }
  static Ranges ascii_without(const Ranges& r) { return intersection(complement(r), {{0, 0x7E}}); }
  /// All spaces: \s beyond ASCII, and the four separators below the space that Python includes.
  static Ranges all_spaces() {
    return {{'\t', '\r'},     {0x1C, 0x20},     {0x85, 0x85},     {0xA0, 0xA0},
            {0x1680, 0x1680}, {0x2000, 0x200A}, {0x2028, 0x2029}, {0x202F, 0x202F},
            {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
  }
  Ranges escape(bool in_class) {
    ++at_;
    const char c = peek();
    if (at_ == text_.size()) fail(ErrorCode::kMalformed, "ends in a backslash");
    ++at_;
    switch (c) {
      case 'd':
        return digits();
      case 'w':
        return words();
      case 's':
        return spaces();
      case 'D':
        return ascii_without(digits());
      case 'W':
        return ascii_without(words());
      case 'S':
        return complement(all_spaces());
      case 't':
        return {{'\t', '\t'}};
      case 'n':
        return {{'\n', '\n'}};
      case 'r':
        return {{'\r', '\r'}};
      case 'f':
        return {{'\f', '\f'}};
      case 'v':
        return {{'\v', '\v'}};
      case 'x':
        return hex(2);
      case 'u':
        return hex(4);
      default:
        break;
    }
    if (c == 'b' && in_class) return {{'\b', '\b'}};
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || is_digit(c) ||
        static_cast<unsigned char>(c) >= 0x80) {
      unsupported("the escape " + gemma::quoted(text_.substr(at_ - 2, 2)));
    }
    return {{static_cast<std::uint32_t>(c), static_cast<std::uint32_t>(c)}};
  }
  Ranges hex(int n) {
    std::uint32_t value = 0;
    for (int i = 0; i < n; ++i, ++at_) {
      constexpr std::string_view kDigits = "0123456789abcdef0123456789ABCDEF";
      const std::size_t d = at_ < text_.size() ? kDigits.find(text_[at_]) : std::string_view::npos;
      if (d == std::string_view::npos) fail(ErrorCode::kMalformed, "has an escape without its digits");
      value = value << 4 | static_cast<std::uint32_t>(d % 16);
    }
    if (value >= 0xD800 && value <= 0xDFFF) unsupported("half of a surrogate pair");
    return {{value, value}};
  }
  Ranges char_class() {
    ++at_;
    const bool negated = take("^");
    bool has_escapes = false;  // has \w, \s or \d, whose complement differs between engines
    Ranges ranges;
    while (!take("]")) {
      if (at_ >= text_.size()) fail(ErrorCode::kMalformed, "has a '[' without its ']'");
      if (peek() == '[' && peek(1) == ':') unsupported("a named class");
      const bool escaped = peek() == '\\';
      const Ranges first = escaped ? escape(true) : Ranges{literal()};
      const bool one = first.size() == 1 && first[0].first == first[0].last;
      has_escapes = has_escapes || !one;
      if (one && peek() == '-' && peek(1) != ']' && peek(1) != '\0') {
        ++at_;
        const Ranges last = peek() == '\\' ? escape(true) : Ranges{literal()};
        if (last.size() != 1 || last[0].first != last[0].last)
          fail(ErrorCode::kMalformed, "has a character range that ends in a class");
        if (last[0].first < first[0].first)
          fail(ErrorCode::kMalformed, "has a character range that ends before it begins");
        ranges.push_back({first[0].first, last[0].first});
      } else {
        ranges.insert(ranges.end(), first.begin(), first.end());
      }
    }
    if (!negated) return normalized(std::move(ranges));
    return has_escapes ? ascii_without(ranges) : complement(ranges);
  }

  std::string_view text_;
  JsonRules& json_;
  Rules& rules_;
  Lengths bounds_;
  std::size_t at_ = 0;
  Ranges last_;
};

/// The pattern of a "format" of texts, or "" for one that is not known. Sources: RFC 3339, 4122, 5321, 1123,
/// 4291, 6901, 8141; each is the part of the format that all validators accept.
inline std::string_view pattern_of_format(std::string_view format) {
  struct Known {
    std::string_view name, pattern;
  };
#define GEMMA_DATE                                                                             \
  "([12][0-9]{3}-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)" \
  "|02-(0[1-9]|1[0-9]|2[0-8]))|(19|20)(0[48]|[2468][048]|[13579][26])-02-29)"
#define GEMMA_TIME \
  "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])"
#define GEMMA_LABEL "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
#define GEMMA_OCTET "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
  static constexpr Known kKnown[] = {
      {"date", "^" GEMMA_DATE "$"},
      {"time", "^" GEMMA_TIME "$"},
      {"date-time", "^" GEMMA_DATE "T" GEMMA_TIME "$"},
      {"duration", "^P([0-9]{1,4}W|[0-9]{1,4}D(T[0-9]{1,4}H)?|T[0-9]{1,4}(H([0-9]{1,4}M)?|M|S))$"},
      {"uuid", "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"},
      {"email", "^[a-z0-9]{1,20}([._+-][a-z0-9]{1,20}){0,2}@(" GEMMA_LABEL "\\.){1,3}[a-z]{2,10}$"},
      {"hostname", "^" GEMMA_LABEL "(\\." GEMMA_LABEL "){0,3}$"},
      {"ipv4", "^(" GEMMA_OCTET "\\.){3}" GEMMA_OCTET "$"},
      {"ipv6", "^([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}$"},
      {"uri", "^https?://(" GEMMA_LABEL "\\.){1,3}[a-z]{2,10}(/[A-Za-z0-9._~-]{1,64}){0,16}/?"
              "(\\?[A-Za-z0-9._~=&-]{1,256})?(#[A-Za-z0-9._~-]{1,64})?$"},
      {"json-pointer", "^(/[A-Za-z0-9._-]{0,64}){0,16}$"},
  };
#undef GEMMA_DATE
#undef GEMMA_TIME
#undef GEMMA_LABEL
#undef GEMMA_OCTET
  for (const Known& known : kKnown) {
    if (known.name == format) return known.pattern;
  }
  return {};
}

}  // namespace gemma::detail
