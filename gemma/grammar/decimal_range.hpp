// Decimal numbers between two bounds, as expressions over their digits.
// Invariant: exactly the JSON numbers within the bounds match (of kWhole and kFraction digits at most):
// digits are compared, nothing is rounded.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "rules.hpp"

namespace gemma::detail {

/// A number as its digits: whole without leading zeros ("0" for none), fraction without trailing ones.
struct Decimal {
  bool negative = false;
  std::string whole = "0";
  std::string fraction;

  bool is_zero() const { return whole == "0" && fraction.empty(); }
  /// The digits of a JSON number; nullopt if it has more than 400 digits when written out.
  static std::optional<Decimal> from(std::string_view json) {
    Decimal out;
    if (json.starts_with('-')) {
      out.negative = true;
      json.remove_prefix(1);
    }
    const std::size_t e = std::min(json.find_first_of("eE"), json.size());
    long exponent = 0;
    if (e != json.size()) {
      std::string_view digits = json.substr(e + 1);
      const bool minus = digits.starts_with('-');
      if (minus || digits.starts_with('+')) digits.remove_prefix(1);
      for (const char c : digits) exponent = std::min(exponent * 10 + (c - '0'), 100000L);
      if (minus) exponent = -exponent;
    }
    const std::string_view mantissa = json.substr(0, e);
    const std::size_t point = std::min(mantissa.find('.'), mantissa.size());
    std::string digits(mantissa.substr(0, point));
    if (point != mantissa.size()) digits += mantissa.substr(point + 1);
    long at = static_cast<long>(point) + exponent;  // position of the point in the digits
    if (digits.find_first_not_of('0') == std::string::npos) return Decimal{};
    if (digits.size() > 400 || at > 400 || at < -400) return std::nullopt;
    if (at < 0) {
      digits.insert(0, static_cast<std::size_t>(-at), '0');
      at = 0;
    }
    if (static_cast<std::size_t>(at) > digits.size()) digits.resize(static_cast<std::size_t>(at), '0');
    out.whole = digits.substr(0, static_cast<std::size_t>(at));
    out.whole.erase(0, std::min(out.whole.find_first_not_of('0'), out.whole.size()));
    if (out.whole.empty()) out.whole = "0";
    out.fraction = digits.substr(static_cast<std::size_t>(at));
    out.fraction.resize(out.fraction.find_last_not_of('0') + 1);
    return out;
  }
};

/// A bound; if `open`, the number itself is excluded.
struct Bound {
  Decimal at;
  bool open = false;
};

/// Compares two decimals: -1, 0 or 1.
inline int compare(const Decimal& a, const Decimal& b) {
  if (a.is_zero() && b.is_zero()) return 0;
  const bool a_negative = a.negative && !a.is_zero();
  const bool b_negative = b.negative && !b.is_zero();
  if (a_negative != b_negative) return a_negative ? -1 : 1;
  int sizes = 0;
  if (a.whole.size() != b.whole.size()) {
    sizes = a.whole.size() < b.whole.size() ? -1 : 1;
  } else {
    const int whole = a.whole.compare(b.whole);
    const int fraction = a.fraction.compare(b.fraction);
    sizes = whole != 0 ? whole : fraction;
  }
  return a_negative ? -sizes : sizes;
}

/// Makes the expression of the numbers between two bounds.
class DecimalRange {
 public:
  static constexpr std::size_t kWhole = 16;     // digits before the point, at most
  static constexpr std::size_t kFraction = 16;  // after the point, at most

  /// The expression of the numbers from `low` to `high`. `whole`: integers only, without a point. A bound
  /// that is absent is replaced by the largest number of kWhole digits.
  static ExprId between(Rules& rules, std::optional<Bound> low, std::optional<Bound> high, bool whole) {
    const Bound zero{};
    const auto is_negative = [](const Bound& b) { return b.at.negative && !b.at.is_zero(); };
    const auto positive = [](Bound b) {
      b.at.negative = false;
      return b;
    };
    std::vector<ExprId> ways;
    if (!high || !is_negative(*high)) {
      ways.push_back(DecimalRange(rules, low && !is_negative(*low) ? *low : zero, high, whole).all());
    }
    if (!low || is_negative(*low)) {
      const Bound from = high && is_negative(*high)   ? positive(*high)
                         : high && high->at.is_zero() ? Bound{{}, high->open}
                                                      : zero;
      const auto to = low ? std::optional(positive(*low)) : std::nullopt;
      ways.push_back(rules.sequence({rules.text("-"), DecimalRange(rules, from, to, whole).all()}));
    }
    return rules.choice(ways);
  }

 private:
  DecimalRange(Rules& rules, Bound low, const std::optional<Bound>& high, bool whole)
      : rules_(rules), low_(std::move(low)), is_whole_(whole) {
    has_high_ = high.has_value();
    if (has_high_) high_ = *high;
    if (!has_high_ || high_.at.whole.size() > kWhole) {
      high_ = {{false, std::string(kWhole, '9'), std::string(kFraction, '9')}, false};
    }
  }

  /// All numbers with as many digits as the bounds allow.
  ExprId all() {
    std::vector<ExprId> ways;
    if (low_.at.whole.size() > kWhole || compare(low_.at, high_.at) > 0) return rules_.nothing();
    for (n_ = low_.at.whole.size(); n_ <= high_.at.whole.size(); ++n_) {
      known_.clear();
      ways.push_back(whole(0, n_ == low_.at.whole.size(), n_ == high_.at.whole.size()));
    }
    return rules_.choice(ways);
  }
  ExprId digit(int first, int last) {
    return rules_.chars({{static_cast<std::uint32_t>('0' + first), static_cast<std::uint32_t>('0' + last)}});
  }
  /// Adds one way for each range of digits from `low` to `high`; `next(at_low, at_high)` gives the expression
  /// that follows the digit.
  template <typename Next>
  void digits(int low, int high, bool at_low, bool at_high, Next&& next, std::vector<ExprId>& ways) {
    int first = low;
    int last = high;
    if (first > last) return;
    if (first == last) {
      ways.push_back(rules_.sequence({digit(first, first), next(at_low, at_high)}));
      return;
    }
    if (at_low) {
      ways.push_back(rules_.sequence({digit(first, first), next(true, false)}));
      ++first;
    }
    if (at_high) {
      ways.push_back(rules_.sequence({digit(last, last), next(false, true)}));
      --last;
    }
    if (first <= last) ways.push_back(rules_.sequence({digit(first, last), next(false, false)}));
  }
  /// The expression from digit i of n_ on; at_low, at_high: whether the digits before it equal those of the
  /// bound.
  ExprId whole(std::size_t i, bool at_low, bool at_high) {
    if (i == n_) return fraction(0, at_low, at_high);
    const auto key = std::tuple(i, at_low, at_high);
    if (const auto it = known_.find(key); it != known_.end()) return it->second;
    std::vector<ExprId> ways;
    const int least = i == 0 && n_ > 1 ? 1 : 0;
    digits(
        at_low ? low_.at.whole[i] - '0' : least, at_high ? high_.at.whole[i] - '0' : 9, at_low, at_high,
        [&](bool low, bool high) { return whole(i + 1, low, high); }, ways);
    const ExprId out = rules_.as_rule("digits", rules_.choice(ways));
    known_.emplace(key, out);
    return out;
  }
  /// The expression from digit i after the point on; the point is written before the first digit.
  ExprId fraction(std::size_t i, bool at_low, bool at_high) {
    const auto key = std::tuple(i + 1000, at_low, at_high);
    if (const auto it = known_.find(key); it != known_.end()) return it->second;
    std::vector<ExprId> ways;
    const std::string& low = low_.at.fraction;
    const std::string& high = high_.at.fraction;
    const bool low_done = i >= low.size();
    const bool high_done = i >= high.size();
    if ((!at_low || (low_done && !low_.open)) && (!at_high || !high_done || !high_.open)) {
      ways.push_back(rules_.empty());
    }
    if (i < kFraction && !is_whole_) {
      std::vector<ExprId> more;
      digits(
          at_low && !low_done ? low[i] - '0' : 0, at_high ? (high_done ? 0 : high[i] - '0') : 9, at_low,
          at_high, [&](bool l, bool h) { return fraction(i + 1, l, h); }, more);
      const ExprId any = rules_.choice(more);
      ways.push_back(i == 0 ? rules_.sequence({rules_.text("."), any}) : any);
    }
    const ExprId out = rules_.as_rule("fraction", rules_.choice(ways));
    known_.emplace(key, out);
    return out;
  }

  Rules& rules_;
  Bound low_, high_;
  bool has_high_ = false;
  bool is_whole_;
  std::size_t n_ = 0;  // digits before the point in the numbers being written
  std::map<std::tuple<std::size_t, bool, bool>, ExprId> known_;
};

}  // namespace gemma::detail
