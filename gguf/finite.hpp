// Tests whether a number is finite, by its bits. The tests also work under -ffast-math, which allows a
// compiler to assume that no number is infinite or NaN, so that std::isfinite() and comparisons may give any
// answer.
// Invariant: numbers are read from memory as integers and never passed as floats, since under that flag the
// compiler may assume that every float argument is finite.
#pragma once

#include <bit>
#include <cstdint>

namespace gemma {

/// Whether x is neither infinite nor NaN, also under -ffast-math.
constexpr bool is_finite(const float& x) noexcept {
  return (std::bit_cast<std::uint32_t>(x) & 0x7F800000u) != 0x7F800000u;
}
/// Whether x is neither infinite nor NaN, also under -ffast-math.
constexpr bool is_finite(const double& x) noexcept {
  return (std::bit_cast<std::uint64_t>(x) & 0x7FF0000000000000u) != 0x7FF0000000000000u;
}
/// Whether x is a NaN, also under -ffast-math.
constexpr bool is_nan(const float& x) noexcept {
  return (std::bit_cast<std::uint32_t>(x) & 0x7FFFFFFFu) > 0x7F800000u;
}

}  // namespace gemma
