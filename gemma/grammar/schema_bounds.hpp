// The bounds of a schema: of numbers, lengths and counts.
// Invariant: of several bounds that must all hold, the narrowest is used.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "decimal_range.hpp"
#include "pattern.hpp"
#include "schema_parts.hpp"

namespace gemma::detail {

inline bool is_number_format(std::string_view name) {
  return name == "int32" || name == "int64" || name == "float" || name == "double";
}
inline void raise(std::optional<Bound>& to, const Bound& bound, int sign) {
  const int order = to ? compare(bound.at, to->at) * sign : 1;
  if (order > 0) to = bound;
  if (order == 0) to->open = to->open || bound.open;
}
inline std::optional<Bound> bound_of(const Value& schema, std::string_view key, bool open) {
  const Value* v = schema.find(key);
  if (v == nullptr) return std::nullopt;
  if (!v->is(Value::Kind::kNumber))
    SchemaParts::malformed("keyword " + gemma::quoted(key) + " is not a number");
  const auto at = Decimal::from(v->text());
  if (!at) SchemaParts::unsupported("keyword " + gemma::quoted(key) + " has too many digits");
  return Bound{*at, open};
}
/// A length or a count, cut to 2^30; nullopt if the keyword is absent.
inline std::optional<std::uint64_t> count_of(const Value& schema, std::string_view key) {
  const auto bound = bound_of(schema, key, false);
  if (!bound) return std::nullopt;
  if (bound->at.negative || !bound->at.fraction.empty()) {
    SchemaParts::malformed("keyword " + gemma::quoted(key) + " is not a whole number");
  }
  std::uint64_t n = 0;
  for (const char c : bound->at.whole)
    n = std::min<std::uint64_t>(n * 10 + static_cast<unsigned>(c - '0'), 1u << 30);
  return n;
}
inline Lengths lengths_of(const SchemaSet& set, std::string_view least, std::string_view most) {
  Lengths out{0, kNoLength};
  for (const Value* s : set) {
    out.min = std::max(out.min, count_of(*s, least).value_or(0));
    out.max = std::min(out.max, count_of(*s, most).value_or(kNoLength));
  }
  if (out.min > Rules::kMaxCount)
    SchemaParts::unsupported("keyword " + gemma::quoted(least) + " is above " +
                             std::to_string(Rules::kMaxCount));
  return out;
}
/// The largest length as the count of a repetition: cut to the largest count that is allowed.
inline std::uint32_t most_of(const Lengths& lengths) {
  if (lengths.max == kNoLength) return Rules::kNoEnd;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(lengths.max, Rules::kMaxCount));
}

}  // namespace gemma::detail
