// Dequantises blocks of the grid types (IQ1, IQ2, IQ3) to float32. Invariant: as in dequantize_block.hpp.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../../gguf/blocks.hpp"
#include "../grids.hpp"
#include "stored_fields.hpp"

namespace gemma::kernels {

/// decode(Layout<Block>, p, out) writes the 256 weights of the block at p (unaligned) to out.
template <class Tag>
struct GridDecoder {
  using Byte = std::uint8_t;
  using Fields = StoredFields<Tag>;
  static float half_at(const Byte* p) noexcept { return Fields::half(Fields::u16(p)); }

  /// out[kCount] = d * (weights of a grid row), where weight i is negated if bit i of `signs` is set.
  template <int kCount>
  static void signed_row(const std::int8_t* row, unsigned signs, float d, float* out) noexcept {
    for (int i = 0; i < kCount; ++i) {
      const int minus = -static_cast<int>((signs >> i) & 1u);
      out[i] = Fields::product(d, (row[i] ^ minus) - minus);
    }
  }
  /// The eight sign bits of which the lowest seven of `bits` are stored: the eighth makes the number of ones
  /// even.
  static unsigned even_signs(std::uint32_t bits) noexcept {
    const unsigned seven = bits & 127u;
    unsigned parity = seven ^ (seven >> 4);
    parity ^= parity >> 2;
    parity ^= parity >> 1;
    return seven | (parity & 1u) << 7;
  }
  static int nibble(const Byte* p, int i) noexcept { return (p[i / 2] >> (4 * (i % 2))) & 15; }

  static void decode(Layout<BlockIQ2_XXS>, const Byte* p, float* out) noexcept {
    using Block = BlockIQ2_XXS;
    const float d = half_at(p + offsetof(Block, d));
    for (int j = 0; j < 8; ++j) {
      const Byte* group = p + offsetof(Block, groups) + sizeof(Block::Group) * j;
      const std::uint32_t word = Fields::u32(group + offsetof(Block::Group, signs));
      const float scale = d * (0.5f + static_cast<float>(word >> 28)) * 0.25f;
      for (int l = 0; l < 4; ++l, out += 8)
        signed_row<8>(kGridIQ2XXS.row[group[l]], even_signs(word >> (7 * l)), scale, out);
    }
  }
  static void decode(Layout<BlockIQ2_XS>, const Byte* p, float* out) noexcept {
    using Block = BlockIQ2_XS;
    const float d = half_at(p + offsetof(Block, d));
    for (int j = 0; j < 16; ++j) {
      const float scale = d * (0.5f + static_cast<float>(nibble(p + offsetof(Block, scales), j))) * 0.25f;
      for (int l = 2 * j; l < 2 * j + 2; ++l, out += 8) {
        const unsigned q = Fields::u16(p + offsetof(Block, qs) + 2 * l);
        signed_row<8>(kGridIQ2XS.row[q & 511], even_signs(q >> 9), scale, out);
      }
    }
  }
  static void decode(Layout<BlockIQ2_S>, const Byte* p, float* out) noexcept {
    using Block = BlockIQ2_S;
    const float d = half_at(p + offsetof(Block, d));
    for (int j = 0; j < 16; ++j) {
      const float scale = d * (0.5f + static_cast<float>(nibble(p + offsetof(Block, scales), j))) * 0.25f;
      for (int l = 2 * j; l < 2 * j + 2; ++l, out += 8) {
        const int high = (p[offsetof(Block, qh) + l / 4] >> (2 * (l % 4))) & 3;
        signed_row<8>(kGridIQ2S.row[p[offsetof(Block, qs) + l] | high << 8], p[offsetof(Block, signs) + l],
                      scale, out);
      }
    }
  }
  static void decode(Layout<BlockIQ3_XXS>, const Byte* p, float* out) noexcept {
    using Block = BlockIQ3_XXS;
    const float d = half_at(p + offsetof(Block, d));
    for (int j = 0; j < 8; ++j) {
      const std::uint32_t word = Fields::u32(p + offsetof(Block, signs) + 4 * j);
      const float scale = d * (0.5f + static_cast<float>(word >> 28)) * 0.5f;
      const Byte* index = p + offsetof(Block, qs) + 8 * j;
      for (int l = 0; l < 4; ++l, out += 8) {
        const unsigned signs = even_signs(word >> (7 * l));
        signed_row<4>(kGridIQ3XXS.row[index[2 * l]], signs, scale, out);
        signed_row<4>(kGridIQ3XXS.row[index[2 * l + 1]], signs >> 4, scale, out + 4);
      }
    }
  }
  static void decode(Layout<BlockIQ3_S>, const Byte* p, float* out) noexcept {
    using Block = BlockIQ3_S;
    const float d = half_at(p + offsetof(Block, d));
    for (int j = 0; j < 8; ++j) {
      const float scale = Fields::product(d, 1 + 2 * nibble(p + offsetof(Block, scales), j));
      const Byte* index = p + offsetof(Block, qs) + 8 * j;
      const int high = p[offsetof(Block, qh) + j];
      for (int l = 0; l < 8; ++l, out += 4) {
        const unsigned signs = p[offsetof(Block, signs) + 4 * j + l / 2];
        signed_row<4>(kGridIQ3S.row[index[l] | ((high >> l) & 1) << 8], signs >> (4 * (l % 2)), scale, out);
      }
    }
  }

  /// out[8] = d * (row of the IQ1 grid + delta), where delta is -1/8 if `minus`, else 1/8.
  static void shifted_row(int index, bool minus, float d, float* out) noexcept {
    const std::int8_t* row = kGridIQ1.row[index];
    const float delta = minus ? -0.125f : 0.125f;
    for (int i = 0; i < 8; ++i) out[i] = d * (static_cast<float>(row[i]) + delta);
  }
  static void decode(Layout<BlockIQ1_S>, const Byte* p, float* out) noexcept {
    using Block = BlockIQ1_S;
    const float d = half_at(p + offsetof(Block, d));
    for (int j = 0; j < 8; ++j) {
      const int h = Fields::u16(p + offsetof(Block, qh) + 2 * j);
      const float scale = Fields::product(d, 2 * ((h >> 12) & 7) + 1);
      for (int l = 0; l < 4; ++l, out += 8) {
        const int low = p[offsetof(Block, qs) + 4 * j + l];
        shifted_row(low | ((h >> (3 * l)) & 7) << 8, (h & 0x8000) != 0, scale, out);
      }
    }
  }
  static void decode(Layout<BlockIQ1_M>, const Byte* p, float* out) noexcept {
    using Block = BlockIQ1_M;
    int scales[4], bits = 0;
    for (int j = 0; j < 4; ++j) {
      scales[j] = Fields::u16(p + offsetof(Block, scales) + 2 * j);
      bits |= scales[j] >> 12 << (4 * j);
    }
    const float d = Fields::half(static_cast<std::uint16_t>(bits));
    for (int l = 0; l < 32; ++l, out += 8) {
      const int h = nibble(p + offsetof(Block, qh), l);
      const float scale = Fields::product(d, 2 * ((scales[l / 8] >> (3 * (l / 2 % 4))) & 7) + 1);
      shifted_row(p[offsetof(Block, qs) + l] | (h & 7) << 8, (h & 8) != 0, scale, out);
    }
  }
};

}  // namespace gemma::kernels
