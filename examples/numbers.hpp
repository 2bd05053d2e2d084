// Parses numbers of flags and files. Invariant: the whole text must be a number; locales have no influence.
#pragma once

#include <charconv>
#include <optional>
#include <string_view>
#include <system_error>

namespace gemma::app {

/// The number that `text` spells; nullopt if it is empty, has other characters after the number, or does not
/// fit in T. Integers are decimal, unsigned ones without a sign; floating-point numbers may be "nan" and
/// "inf".
template <class T>
std::optional<T> parse_number(std::string_view text) noexcept {
  T value{};
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || rest != end) return std::nullopt;
  return value;
}

}  // namespace gemma::app
