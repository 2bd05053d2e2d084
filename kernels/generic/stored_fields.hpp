// Reads the fields of stored blocks (unaligned little-endian integers and binary16), for code that is
// compiled once for each instruction set.
// Invariant: every function is a template over a type `Tag` that only one translation unit uses, so that no
// two units share a symbol.
#pragma once

#include <cstdint>

namespace gemma::kernels {

/// Tag that selects the decode() overload of a block type.
template <class Block>
struct Layout {};

/// Reads the fields of stored blocks, for the unit of Tag.
template <class Tag>
struct StoredFields {
  using Byte = std::uint8_t;

  static std::uint16_t u16(const Byte* p) noexcept { return static_cast<std::uint16_t>(p[0] | (p[1] << 8)); }
  static std::uint32_t u32(const Byte* p) noexcept {
    std::uint32_t v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
  }

  /// binary16 bits to float32, exact: a product with 2^112 corrects the exponent bias and also normalises
  /// subnormals; infinities and NaN get the largest exponent.
  static float half(std::uint16_t h) noexcept {
    const std::uint32_t magnitude = static_cast<std::uint32_t>(h & 0x7FFF) << 13;
    std::uint32_t bits = __builtin_bit_cast(std::uint32_t, __builtin_bit_cast(float, magnitude) * 0x1p112f);
    bits = magnitude >= 0x0F800000u ? magnitude | 0x7F800000u : bits;
    return __builtin_bit_cast(float, bits | (static_cast<std::uint32_t>(h & 0x8000) << 16));
  }

  static float product(float d, int q) noexcept { return d * static_cast<float>(q); }
};

}  // namespace gemma::kernels
