// Decodes every stored type, one weight at a time: the oracle for tests of the fast decoders, and the code
// that the scalar table runs.
// Invariant: weight i of a block is computed from the formula beside its struct in gguf/blocks.hpp and from
// nothing else; compiled for the baseline CPU only.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "../../gguf/dtype.hpp"
#include "../../gguf/half.hpp"
#include "../grids.hpp"

namespace gemma::kernels::reference {

/// Scale and minimum of a sub-block, from the 12 packed bytes of Q4_K and Q5_K.
struct ScaleMin {
  int scale, min;  // 0 to 63
};
inline ScaleMin unpack_scale_min(const std::uint8_t* s, int j) noexcept {
  if (j < 4) return {s[j] & 63, s[j + 4] & 63};
  return {(s[j + 4] & 15) | ((s[j - 4] >> 6) << 4), (s[j + 4] >> 4) | ((s[j] >> 6) << 4)};
}

/// Scale of sub-block j (16 weights) of Q3_K, 0 to 63, before 32 is subtracted.
inline int unpack_q3_k_scale(const std::uint8_t* s, int j) noexcept {
  const int low = j < 8 ? s[j] & 15 : s[j - 8] >> 4;
  return low | (((s[8 + j % 4] >> (2 * (j / 4))) & 3) << 4);
}

/// Low or high nibble of a byte.
inline int nibble(std::uint8_t byte, bool high) noexcept {
  return high ? byte >> 4 : byte & 15;
}

/// The stored integer of weight i, without scales: the factor in the integer dot products.
inline int quant(const BlockQ4_0& b, int i) noexcept {
  return nibble(b.qs[i % 16], i >= 16) - 8;
}
inline int quant(const BlockQ4_1& b, int i) noexcept {
  return nibble(b.qs[i % 16], i >= 16);
}
inline int quant(const BlockQ5_0& b, int i) noexcept {
  return (nibble(b.qs[i % 16], i >= 16) | (((b.qh[i / 8] >> (i % 8)) & 1) << 4)) - 16;
}
inline int quant(const BlockQ5_1& b, int i) noexcept {
  return nibble(b.qs[i % 16], i >= 16) | (((b.qh[i / 8] >> (i % 8)) & 1) << 4);
}
inline int quant(const BlockQ8_0& b, int i) noexcept {
  return b.qs[i];
}
inline int quant(const BlockIQ4_NL& b, int i) noexcept {
  return kIQ4Values[nibble(b.qs[i % 16], i >= 16)];
}
inline int quant(const BlockQ2_K& b, int i) noexcept {
  return (b.qs[i / 128 * 32 + i % 32] >> (2 * (i / 32 % 4))) & 3;
}
inline int quant(const BlockQ3_K& b, int i) noexcept {
  const int low = (b.qs[i / 128 * 32 + i % 32] >> (2 * (i / 32 % 4))) & 3;
  return low - ((b.hmask[i % 32] >> (i / 32)) & 1 ? 0 : 4);
}
inline int quant(const BlockQ4_K& b, int i) noexcept {
  return nibble(b.qs[i / 64 * 32 + i % 32], i / 32 % 2 == 1);
}
inline int quant(const BlockQ5_K& b, int i) noexcept {
  return nibble(b.qs[i / 64 * 32 + i % 32], i / 32 % 2 == 1) | (((b.qh[i % 32] >> (i / 32)) & 1) << 4);
}
inline int quant(const BlockQ6_K& b, int i) noexcept {
  const int low = nibble(b.ql[i / 128 * 64 + i % 64], i % 128 >= 64);
  return (low | (((b.qh[i / 128 * 32 + i % 32] >> (2 * (i / 32 % 4))) & 3) << 4)) - 32;
}
inline int quant(const BlockIQ4_XS& b, int i) noexcept {
  return kIQ4Values[nibble(b.qs[i / 32 * 16 + i % 16], i % 32 >= 16)];
}

/// Two-bit field of weight i in K order.
inline int k_order(const std::uint8_t* qs, int i) noexcept {
  return (qs[i / 128 * 32 + i % 32] >> (2 * (i / 32 % 4))) & 3;
}

inline int quant(const BlockQ2_0& b, int i) noexcept {
  return ((b.qs[i / 4] >> (2 * (i % 4))) & 3) - 1;
}
inline int quant(const BlockQ1_0& b, int i) noexcept {
  return (b.qs[i / 8] >> (i % 8)) & 1 ? 1 : -1;
}
inline int quant(const BlockTQ2_0& b, int i) noexcept {
  return k_order(b.qs, i) - 1;
}
/// Digit n of a byte that stores five base-3 digits as a fraction of 256.
inline int trit(std::uint8_t byte, int n) noexcept {
  constexpr int kPower[] = {1, 3, 9, 27, 81};
  return ((byte * kPower[n] & 255) * 3) >> 8;
}
inline int quant(const BlockTQ1_0& b, int i) noexcept {
  if (i < 160) return trit(b.qs[i % 32], i / 32) - 1;
  if (i < 240) return trit(b.qs[32 + i % 16], (i - 160) / 16) - 1;
  return trit(b.qh[i % 4], (i - 240) / 4) - 1;
}

/// Weight i of a block. Products are exact in any order; (d * scale) * q gives zeros the sign that other
/// engines give them.
template <class Block>
float weight(const Block& b, int i) noexcept {  // w = d * q
  return f16_to_f32(b.d) * static_cast<float>(quant(b, i));
}
inline float weight(const BlockQ4_1& b, int i) noexcept {
  return f16_to_f32(b.d) * static_cast<float>(quant(b, i)) + f16_to_f32(b.m);
}
inline float weight(const BlockQ5_1& b, int i) noexcept {
  return f16_to_f32(b.d) * static_cast<float>(quant(b, i)) + f16_to_f32(b.m);
}
inline float weight(const BlockQ2_K& b, int i) noexcept {
  const int s = b.scales[i / 16];
  return f16_to_f32(b.d) * static_cast<float>((s & 15) * quant(b, i)) -
         f16_to_f32(b.dmin) * static_cast<float>(s >> 4);
}
inline float weight(const BlockQ3_K& b, int i) noexcept {
  return f16_to_f32(b.d) * static_cast<float>(unpack_q3_k_scale(b.scales, i / 16) - 32) *
         static_cast<float>(quant(b, i));
}
inline float weight(const BlockQ4_K& b, int i) noexcept {
  const ScaleMin s = unpack_scale_min(b.scales, i / 32);
  return f16_to_f32(b.d) * static_cast<float>(s.scale * quant(b, i)) -
         f16_to_f32(b.dmin) * static_cast<float>(s.min);
}
inline float weight(const BlockQ5_K& b, int i) noexcept {
  const ScaleMin s = unpack_scale_min(b.scales, i / 32);
  return f16_to_f32(b.d) * static_cast<float>(s.scale * quant(b, i)) -
         f16_to_f32(b.dmin) * static_cast<float>(s.min);
}
inline float weight(const BlockQ6_K& b, int i) noexcept {
  return f16_to_f32(b.d) * static_cast<float>(b.scales[i / 16]) * static_cast<float>(quant(b, i));
}
inline float weight(const BlockIQ4_XS& b, int i) noexcept {
  const int j = i / 32;
  const int scale = nibble(b.scales_l[j / 2], j % 2 == 1) | (((b.scales_h >> (2 * j)) & 3) << 4);
  return f16_to_f32(b.d) * static_cast<float>(scale - 32) * static_cast<float>(quant(b, i));
}

// ---- whole elements and 4-bit floats, ternary and one-bit types
inline float weight(const BlockF32& b, int) noexcept {
  return b.w;
}
inline float weight(const BlockF16& b, int) noexcept {
  return f16_to_f32(b.w);
}
inline float weight(const BlockBF16& b, int) noexcept {
  return bf16_to_f32(b.w);
}
inline float weight(const BlockMXFP4& b, int i) noexcept {
  return std::ldexp(1.0f, b.e - 128) * static_cast<float>(kFp4Values[nibble(b.qs[i % 16], i >= 16)]);
}
/// An unsigned E4M3 scale of NVFP4. The largest code, which is NaN elsewhere, is 0, and bit 7 is ignored.
inline float ue4m3_to_f32(std::uint8_t s) noexcept {
  if (s == 0x7F) return 0.0f;
  const int e = (s >> 3) & 15, m = s & 7;
  return e == 0 ? std::ldexp(static_cast<float>(m), -9) : std::ldexp(static_cast<float>(8 + m), e - 10);
}
inline float weight(const BlockNVFP4& b, int i) noexcept {
  const int q = nibble(b.qs[i / 16 * 8 + i % 8], i % 16 >= 8);
  return ue4m3_to_f32(b.s[i / 16]) * 0.5f * static_cast<float>(kFp4Values[q]);
}
// ---- types with grids
/// A magnitude with the sign of weight i: bit i % 8 of a sign byte.
inline int with_sign(int magnitude, int sign_byte, int i) noexcept {
  return (sign_byte >> (i % 8)) & 1 ? -magnitude : magnitude;
}
/// The sign byte that is stored as 7 bits: bit 7 makes the number of ones even.
inline int even_signs(std::uint32_t seven) noexcept {
  return static_cast<int>(seven | (static_cast<std::uint32_t>(std::popcount(seven)) & 1u) << 7);
}
inline std::uint32_t load_u32(const std::uint8_t* p) noexcept {
  return static_cast<std::uint32_t>(p[0] | p[1] << 8 | p[2] << 16) | static_cast<std::uint32_t>(p[3]) << 24;
}
/// The sign byte of the eight weights that weight i belongs to, from the 32 bits of IQ2_XXS and IQ3_XXS.
inline int signs_of_word(std::uint32_t word, int i) noexcept {
  return even_signs((word >> (7 * (i / 8 % 4))) & 127);
}

inline float weight(const BlockIQ2_XXS& b, int i) noexcept {
  const BlockIQ2_XXS::Group& group = b.groups[i / 32];
  const std::uint32_t word = load_u32(group.signs);
  const int g = kGridIQ2XXS.row[group.index[i / 8 % 4]][i % 8];
  return f16_to_f32(b.d) * (0.5f + static_cast<float>(word >> 28)) * 0.25f *
         static_cast<float>(with_sign(g, signs_of_word(word, i), i));
}
inline float weight(const BlockIQ2_XS& b, int i) noexcept {
  const std::uint16_t q = b.qs[i / 8];
  const int g = kGridIQ2XS.row[q & 511][i % 8];
  return f16_to_f32(b.d) * (0.5f + static_cast<float>(nibble(b.scales[i / 32], i % 32 >= 16))) * 0.25f *
         static_cast<float>(with_sign(g, even_signs(q >> 9), i));
}
inline float weight(const BlockIQ2_S& b, int i) noexcept {
  const int index = b.qs[i / 8] | ((b.qh[i / 32] >> (2 * (i / 8 % 4))) & 3) << 8;
  const int g = kGridIQ2S.row[index][i % 8];
  return f16_to_f32(b.d) * (0.5f + static_cast<float>(nibble(b.scales[i / 32], i % 32 >= 16))) * 0.25f *
         static_cast<float>(with_sign(g, b.signs[i / 8], i));
}
inline float weight(const BlockIQ3_XXS& b, int i) noexcept {
  const std::uint32_t word = load_u32(b.signs[i / 32]);
  const int g = kGridIQ3XXS.row[b.qs[i / 4]][i % 4];
  return f16_to_f32(b.d) * (0.5f + static_cast<float>(word >> 28)) * 0.5f *
         static_cast<float>(with_sign(g, signs_of_word(word, i), i));
}
inline float weight(const BlockIQ3_S& b, int i) noexcept {
  const int index = b.qs[i / 4] | ((b.qh[i / 32] >> (i / 4 % 8)) & 1) << 8;
  const int g = kGridIQ3S.row[index][i % 4];
  const int scale = 1 + 2 * nibble(b.scales[i / 64], i % 64 >= 32);
  return f16_to_f32(b.d) * static_cast<float>(scale) * static_cast<float>(with_sign(g, b.signs[i / 8], i));
}
/// Weight of IQ1: d * (2 scale + 1) * (g +- 1/8), g from row `index` of the grid.
inline float iq1_weight(std::uint16_t d, int scale, int index, bool minus, int i) noexcept {
  const float g = static_cast<float>(kGridIQ1.row[index][i % 8]) + (minus ? -0.125f : 0.125f);
  return f16_to_f32(d) * static_cast<float>(2 * scale + 1) * g;
}
inline float weight(const BlockIQ1_S& b, int i) noexcept {
  const int h = b.qh[i / 32];
  const int index = b.qs[i / 8] | ((h >> (3 * (i / 8 % 4))) & 7) << 8;
  return iq1_weight(b.d, (h >> 12) & 7, index, (h & 0x8000) != 0, i);
}
inline float weight(const BlockIQ1_M& b, int i) noexcept {
  std::uint16_t d = 0;
  for (int j = 0; j < 4; ++j) d = static_cast<std::uint16_t>(d | b.scales[j] >> 12 << (4 * j));
  const int h = nibble(b.qh[i / 16], i % 16 >= 8);
  const int scale = (b.scales[i / 64] >> (3 * (i / 16 % 4))) & 7;
  return iq1_weight(d, scale, b.qs[i / 8] | (h & 7) << 8, (h & 8) != 0, i);
}

/// A copy of a block of the file, whose mapped bytes are unaligned.
template <class Block>
Block load_block(const std::byte* from, std::size_t index) noexcept {
  Block b;
  std::memcpy(&b, from + index * sizeof(Block), sizeof(Block));
  return b;
}

/// Implements KernelTable::dequantize for kType.
template <DType kType>
void dequantize_blocks(const std::byte* from, std::size_t n, float* out) noexcept {
  for (std::size_t block = 0; block < n / kBlockElements<kType>; ++block) {
    const auto b = load_block<BlockOf<kType>>(from, block);
    for (int i = 0; i < kBlockElements<kType>; ++i) *out++ = weight(b, i);
  }
}

/// Pointer to dequantize_blocks of a supported type.
using DequantizeFunction = void (*)(const std::byte* from, std::size_t n, float* out) noexcept;

constexpr DequantizeFunction dequantize_function(DType type) noexcept {
  DequantizeFunction function = nullptr;
  for_each_dtype([&]<DType kType>() {
    if (kType == type) function = dequantize_blocks<kType>;
  });
  return function;
}

}  // namespace gemma::kernels::reference
