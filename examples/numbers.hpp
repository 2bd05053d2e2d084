// Numbers as people and files write them. Invariant: a text is a number as a whole, or it is none; no locale
// is asked.
#pragma once

#include <charconv>
#include <optional>
#include <string_view>
#include <system_error>

namespace gemma::app {

/// The number that `text` is. None: it is empty, something else follows the number, or it does not fit in T.
/// Whole numbers are decimal, unsigned ones without a sign; floating-point ones may be "nan" and "inf".
template <class T>
std::optional<T> parse_number(std::string_view text) noexcept {
  T value{};
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || rest != end) return std::nullopt;
  return value;
}

}  // namespace gemma::app
