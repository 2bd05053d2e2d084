// Decoding of every stored type, one weight at a time: the oracle of the fast decoders' tests, and what the
// scalar table runs. Invariant: weight i of a block is computed from the formula beside its struct in
// gguf/dtype.hpp and from nothing else; compiled for the baseline CPU only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "../../gguf/dtype.hpp"
#include "../../gguf/half.hpp"

namespace gemma::kernels::reference {

/// Scale and minimum of sub-block j of the 12 packed bytes of Q4_K and Q5_K.
struct ScaleMin {
  int scale, min;  // 0 to 63
};
inline ScaleMin unpack_scale_min(const std::uint8_t* s, int j) noexcept {
  if (j < 4) return {s[j] & 63, s[j + 4] & 63};
  return {(s[j + 4] & 15) | ((s[j - 4] >> 6) << 4), (s[j + 4] >> 4) | ((s[j] >> 6) << 4)};
}

/// Scale of sub-block j (16 weights) of Q3_K, 0 to 63, still to be lowered by 32.
inline int unpack_q3_k_scale(const std::uint8_t* s, int j) noexcept {
  const int low = j < 8 ? s[j] & 15 : s[j - 8] >> 4;
  return low | (((s[8 + j % 4] >> (2 * (j / 4))) & 3) << 4);
}

/// Low or high nibble of a byte.
inline int nibble(std::uint8_t byte, bool high) noexcept {
  return high ? byte >> 4 : byte & 15;
}

/// The stored integer of weight i, before any scale: what the integer dot products multiply.
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
  return kIQ4Values[static_cast<std::size_t>(nibble(b.qs[i % 16], i >= 16))];
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
  return kIQ4Values[static_cast<std::size_t>(nibble(b.qs[i / 32 * 16 + i % 16], i % 32 >= 16))];
}

/// Weight i of a block.
template <class Block>
float weight(const Block& b, int i) noexcept {  // Q4_0, Q5_0, Q8_0, IQ4_NL
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
  return f16_to_f32(b.d) * static_cast<float>((unpack_q3_k_scale(b.scales, i / 16) - 32) * quant(b, i));
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
  return f16_to_f32(b.d) * static_cast<float>(b.scales[i / 16] * quant(b, i));
}
inline float weight(const BlockIQ4_XS& b, int i) noexcept {
  const int j = i / 32;
  const int scale = nibble(b.scales_l[j / 2], j % 2 == 1) | (((b.scales_h >> (2 * j)) & 3) << 4);
  return f16_to_f32(b.d) * static_cast<float>((scale - 32) * quant(b, i));
}

/// A block copied out of the file: the mapped bytes are unaligned.
template <class Block>
Block load_block(const std::byte* from, std::size_t index) noexcept {
  Block b;
  std::memcpy(&b, from + index * sizeof(Block), sizeof(Block));
  return b;
}

template <class Block, int kElements>
void dequantize_blocks(const std::byte* from, std::size_t n, float* out) noexcept {
  for (std::size_t block = 0; block < n / kElements; ++block) {
    const Block b = load_block<Block>(from, block);
    for (int i = 0; i < kElements; ++i) *out++ = weight(b, i);
  }
}

inline void dequantize_f32(const std::byte* from, std::size_t n, float* out) noexcept {
  if (n > 0) std::memcpy(out, from, n * sizeof(float));
}
inline void dequantize_f16(const std::byte* from, std::size_t n, float* out) noexcept {
  for (std::size_t i = 0; i < n; ++i) out[i] = f16_to_f32(load_block<std::uint16_t>(from, i));
}
inline void dequantize_bf16(const std::byte* from, std::size_t n, float* out) noexcept {
  for (std::size_t i = 0; i < n; ++i) out[i] = bf16_to_f32(load_block<std::uint16_t>(from, i));
}

/// KernelTable::dequantize of a type.
using DequantizeFunction = void (*)(const std::byte* from, std::size_t n, float* out) noexcept;

constexpr DequantizeFunction dequantize_function(DType type) noexcept {
  switch (type) {
    case DType::kF32:
      return dequantize_f32;
    case DType::kF16:
      return dequantize_f16;
    case DType::kBF16:
      return dequantize_bf16;
    case DType::kQ4_0:
      return dequantize_blocks<BlockQ4_0, kQK>;
    case DType::kQ4_1:
      return dequantize_blocks<BlockQ4_1, kQK>;
    case DType::kQ5_0:
      return dequantize_blocks<BlockQ5_0, kQK>;
    case DType::kQ5_1:
      return dequantize_blocks<BlockQ5_1, kQK>;
    case DType::kQ8_0:
      return dequantize_blocks<BlockQ8_0, kQK>;
    case DType::kIQ4_NL:
      return dequantize_blocks<BlockIQ4_NL, kQK>;
    case DType::kQ2_K:
      return dequantize_blocks<BlockQ2_K, kQKK>;
    case DType::kQ3_K:
      return dequantize_blocks<BlockQ3_K, kQKK>;
    case DType::kQ4_K:
      return dequantize_blocks<BlockQ4_K, kQKK>;
    case DType::kQ5_K:
      return dequantize_blocks<BlockQ5_K, kQKK>;
    case DType::kQ6_K:
      return dequantize_blocks<BlockQ6_K, kQKK>;
    case DType::kIQ4_XS:
      return dequantize_blocks<BlockIQ4_XS, kQKK>;
  }
  return nullptr;
}

}  // namespace gemma::kernels::reference
