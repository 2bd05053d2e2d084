// Dequantises stored blocks of every type to float32, a row at a time, in plain loops that the compiler
// vectorises.
// Invariant: the results equal those of kernels/reference/dequantize.hpp to the bit. Every function is a
// template over a type `Tag` that only one translation unit uses, so that no two units share a symbol; for
// the same reason no function of a shared header is called at run time.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../../gguf/dtype.hpp"
#include "dequantize_grids.hpp"
#include "stored_fields.hpp"

namespace gemma::kernels {

/// decode(Layout<Block>, p, out) writes the weights of the block at p (unaligned) to out. Every block of
/// gguf/blocks.hpp has an overload (blocks of the grid types in GridDecoder); dequantize_row() does not
/// compile for a type without an overload.
template <class Tag>
struct BlockDecoder : GridDecoder<Tag> {
  using GridDecoder<Tag>::decode;
  using Byte = std::uint8_t;
  using Fields = StoredFields<Tag>;
  static float half_at(const Byte* p) noexcept { return Fields::half(Fields::u16(p)); }
  static float product(float d, int q) noexcept { return Fields::product(d, q); }

  static void decode(Layout<BlockF32>, const Byte* p, float* out) noexcept {
    __builtin_memcpy(out, p, sizeof(float));
  }
  static void decode(Layout<BlockF16>, const Byte* p, float* out) noexcept { *out = half_at(p); }
  static void decode(Layout<BlockBF16>, const Byte* p, float* out) noexcept {
    *out = __builtin_bit_cast(float, static_cast<std::uint32_t>(Fields::u16(p)) << 16);
  }

  // ---- 32 weights per block ------------------------------------------------------------------------------
  static void decode(Layout<BlockQ4_0>, const Byte* p, float* out) noexcept {
    using Block = BlockQ4_0;
    const float d = half_at(p + offsetof(Block, d));
    const Byte* qs = p + offsetof(Block, qs);
    for (int i = 0; i < 16; ++i) {
      out[i] = product(d, (qs[i] & 15) - 8);
      out[i + 16] = product(d, (qs[i] >> 4) - 8);
    }
  }
  static void decode(Layout<BlockQ4_1>, const Byte* p, float* out) noexcept {
    using Block = BlockQ4_1;
    const float d = half_at(p + offsetof(Block, d)), m = half_at(p + offsetof(Block, m));
    const Byte* qs = p + offsetof(Block, qs);
    for (int i = 0; i < 16; ++i) {
      out[i] = product(d, qs[i] & 15) + m;
      out[i + 16] = product(d, qs[i] >> 4) + m;
    }
  }
  /// Bit i of `bits`, shifted to bit 4 of a weight: 0 or 16.
  static int fifth_bit(std::uint32_t bits, int i) noexcept { return static_cast<int>((bits >> i) & 1u) << 4; }
  static void decode(Layout<BlockQ5_0>, const Byte* p, float* out) noexcept {
    using Block = BlockQ5_0;
    const float d = half_at(p + offsetof(Block, d));
    const Byte* qs = p + offsetof(Block, qs);
    const std::uint32_t high = Fields::u32(p + offsetof(Block, qh));
    for (int i = 0; i < 16; ++i) {
      out[i] = product(d, ((qs[i] & 15) | fifth_bit(high, i)) - 16);
      out[i + 16] = product(d, ((qs[i] >> 4) | fifth_bit(high, i + 16)) - 16);
    }
  }
  static void decode(Layout<BlockQ5_1>, const Byte* p, float* out) noexcept {
    using Block = BlockQ5_1;
    const float d = half_at(p + offsetof(Block, d)), m = half_at(p + offsetof(Block, m));
    const Byte* qs = p + offsetof(Block, qs);
    const std::uint32_t high = Fields::u32(p + offsetof(Block, qh));
    for (int i = 0; i < 16; ++i) {
      out[i] = product(d, (qs[i] & 15) | fifth_bit(high, i)) + m;
      out[i + 16] = product(d, (qs[i] >> 4) | fifth_bit(high, i + 16)) + m;
    }
  }
  static void decode(Layout<BlockQ8_0>, const Byte* p, float* out) noexcept {
    using Block = BlockQ8_0;
    const float d = half_at(p + offsetof(Block, d));
    const Byte* qs = p + offsetof(Block, qs);
    for (int i = 0; i < 32; ++i) out[i] = product(d, static_cast<std::int8_t>(qs[i]));
  }
  static void uneven_nibbles(const Byte* qs, float d, float* out) noexcept {
    for (int i = 0; i < 16; ++i) {
      out[i] = product(d, kIQ4Values[qs[i] & 15]);
      out[i + 16] = product(d, kIQ4Values[qs[i] >> 4]);
    }
  }
  static void decode(Layout<BlockIQ4_NL>, const Byte* p, float* out) noexcept {
    using Block = BlockIQ4_NL;
    uneven_nibbles(p + offsetof(Block, qs), half_at(p + offsetof(Block, d)), out);
  }

  // ---- 256 weights per super-block -----------------------------------------------------------------------
  static void decode(Layout<BlockQ2_K>, const Byte* p, float* out) noexcept {
    using Block = BlockQ2_K;
    const Byte* qs = p + offsetof(Block, qs);
    const Byte* scales = p + offsetof(Block, scales);
    const float d = half_at(p + offsetof(Block, d)), dmin = half_at(p + offsetof(Block, dmin));
    for (int j = 0; j < 16; ++j) {
      const float min = product(dmin, scales[j] >> 4);
      const Byte* q = qs + j / 8 * 32 + j % 2 * 16;
      const int scale = scales[j] & 15, shift = 2 * (j / 2 % 4);
      for (int i = 0; i < 16; ++i) *out++ = product(d, scale * ((q[i] >> shift) & 3)) - min;
    }
  }
  static void decode(Layout<BlockQ3_K>, const Byte* p, float* out) noexcept {
    using Block = BlockQ3_K;
    const Byte* qs = p + offsetof(Block, qs);
    const Byte* s = p + offsetof(Block, scales);
    const float d = half_at(p + offsetof(Block, d));
    for (int j = 0; j < 16; ++j) {
      const int low = j < 8 ? s[j] & 15 : s[j - 8] >> 4;
      const int scale = (low | (((s[8 + j % 4] >> (2 * (j / 4))) & 3) << 4)) - 32;
      // (d * scale) * q, in this order, gives zeros the same sign as in other engines
      const float scaled = product(d, scale);
      const Byte* q = qs + j / 8 * 32 + j % 2 * 16;
      const Byte* mask = p + offsetof(Block, hmask) + j % 2 * 16;
      const int shift = 2 * (j / 2 % 4), bit = j / 2;
      for (int i = 0; i < 16; ++i) {
        const int high = ((mask[i] >> bit) & 1) << 2;  // bit 2 of the code; the weight is the code minus 4
        *out++ = product(scaled, ((q[i] >> shift) & 3) + high - 4);
      }
    }
  }
  /// Scale j (k_scale) and minimum j (k_min), 6 bits each, from the 12 packed bytes of Q4_K and Q5_K.
  static int k_scale(const Byte* s, int j) noexcept {
    return j < 4 ? s[j] & 63 : (s[j + 4] & 15) | ((s[j - 4] >> 6) << 4);
  }
  static int k_min(const Byte* s, int j) noexcept {
    return j < 4 ? s[j + 4] & 63 : (s[j + 4] >> 4) | ((s[j] >> 6) << 4);
  }
  static void decode(Layout<BlockQ4_K>, const Byte* p, float* out) noexcept {
    using Block = BlockQ4_K;
    const float d = half_at(p + offsetof(Block, d)), dmin = half_at(p + offsetof(Block, dmin));
    const Byte* scales = p + offsetof(Block, scales);
    for (int j = 0; j < 8; ++j) {
      const int scale = k_scale(scales, j), shift = 4 * (j % 2);
      const float min = product(dmin, k_min(scales, j));
      const Byte* q = p + offsetof(Block, qs) + j / 2 * 32;
      for (int i = 0; i < 32; ++i) *out++ = product(d, scale * ((q[i] >> shift) & 15)) - min;
    }
  }
  static void decode(Layout<BlockQ5_K>, const Byte* p, float* out) noexcept {
    using Block = BlockQ5_K;
    const float d = half_at(p + offsetof(Block, d)), dmin = half_at(p + offsetof(Block, dmin));
    const Byte* scales = p + offsetof(Block, scales);
    const Byte* high = p + offsetof(Block, qh);
    for (int j = 0; j < 8; ++j) {
      const int scale = k_scale(scales, j), shift = 4 * (j % 2);
      const float min = product(dmin, k_min(scales, j));
      const Byte* q = p + offsetof(Block, qs) + j / 2 * 32;
      for (int i = 0; i < 32; ++i)
        *out++ = product(d, scale * (((q[i] >> shift) & 15) | (((high[i] >> j) & 1) << 4))) - min;
    }
  }
  static void decode(Layout<BlockQ6_K>, const Byte* p, float* out) noexcept {
    using Block = BlockQ6_K;
    const float d = half_at(p + offsetof(Block, d));
    for (int j = 0; j < 16; ++j) {
      const float scaled = product(d, static_cast<std::int8_t>(p[offsetof(Block, scales) + j]));
      const Byte* low = p + offsetof(Block, ql) + j / 8 * 64 + j % 4 * 16;
      const Byte* high = p + offsetof(Block, qh) + j / 8 * 32 + j % 2 * 16;
      const int low_shift = j % 8 >= 4 ? 4 : 0, high_shift = 2 * (j % 8 / 2);
      for (int i = 0; i < 16; ++i) {
        const int q = ((low[i] >> low_shift) & 15) | (((high[i] >> high_shift) & 3) << 4);
        *out++ = product(scaled, q - 32);
      }
    }
  }
  static void decode(Layout<BlockIQ4_XS>, const Byte* p, float* out) noexcept {
    using Block = BlockIQ4_XS;
    const float d = half_at(p + offsetof(Block, d));
    const Byte* scales_l = p + offsetof(Block, scales_l);
    const int scales_h = Fields::u16(p + offsetof(Block, scales_h));
    for (int j = 0; j < 8; ++j) {
      const int low = (scales_l[j / 2] >> (4 * (j % 2))) & 15;
      const int scale = (low | (((scales_h >> (2 * j)) & 3) << 4)) - 32;
      const Byte* q = p + offsetof(Block, qs) + 16 * j;
      uneven_nibbles(q, product(d, scale), out);
      out += 32;
    }
  }

  // ---- 4-bit floats, ternary and one-bit types
  /// Decodes kWidth bytes of 4-bit floats: the low nibbles of all bytes, then the high nibbles.
  template <int kWidth>
  static void fp4_nibbles(const Byte* qs, float d, float* out) noexcept {
    for (int i = 0; i < kWidth; ++i) {
      out[i] = product(d, kFp4Values[qs[i] & 15]);
      out[i + kWidth] = product(d, kFp4Values[qs[i] >> 4]);
    }
  }
  static void decode(Layout<BlockMXFP4>, const Byte* p, float* out) noexcept {
    const std::uint32_t e = p[offsetof(BlockMXFP4, e)];
    // 2^(e - 128), which is subnormal for e = 0 and e = 1
    const std::uint32_t bits = e < 2 ? 0x00200000u << e : (e - 1) << 23;
    fp4_nibbles<16>(p + offsetof(BlockMXFP4, qs), __builtin_bit_cast(float, bits), out);
  }
  /// Half of the value of an unsigned E4M3 code; for a subnormal code m that is m * 2^-10.
  static float half_of_e4m3(Byte s) noexcept {
    const std::uint32_t code = s & 0x7F;
    const float normal = __builtin_bit_cast(float, (code << 20) + (std::uint32_t{119} << 23));
    const float small = product(0x1p-10f, static_cast<int>(code));
    return s == 0x7F ? 0.0f : code < 8 ? small : normal;
  }
  static void decode(Layout<BlockNVFP4>, const Byte* p, float* out) noexcept {
    for (int j = 0; j < 4; ++j)
      fp4_nibbles<8>(p + offsetof(BlockNVFP4, qs) + 8 * j, half_of_e4m3(p[offsetof(BlockNVFP4, s) + j]),
                     out + 16 * j);
  }
  static void decode(Layout<BlockQ1_0>, const Byte* p, float* out) noexcept {
    const float d = half_at(p + offsetof(BlockQ1_0, d));
    const Byte* qs = p + offsetof(BlockQ1_0, qs);
    for (int j = 0; j < 16; ++j)
      for (int i = 0; i < 8; ++i) *out++ = (qs[j] >> i) & 1 ? d : -d;
  }
  static void decode(Layout<BlockQ2_0>, const Byte* p, float* out) noexcept {
    const float d = half_at(p + offsetof(BlockQ2_0, d));
    const Byte* qs = p + offsetof(BlockQ2_0, qs);
    for (int j = 0; j < 16; ++j)
      for (int i = 0; i < 4; ++i) *out++ = product(d, ((qs[j] >> (2 * i)) & 3) - 1);
  }
  static void decode(Layout<BlockTQ2_0>, const Byte* p, float* out) noexcept {
    const float d = half_at(p + offsetof(BlockTQ2_0, d));
    for (int j = 0; j < 8; ++j) {
      const Byte* q = p + offsetof(BlockTQ2_0, qs) + j / 4 * 32;
      const int shift = 2 * (j % 4);
      for (int i = 0; i < 32; ++i) *out++ = product(d, ((q[i] >> shift) & 3) - 1);
    }
  }
  /// Decodes kDigits base-3 digits of each of kWidth bytes: the first digit of all bytes, then the second,
  /// and so on.
  template <int kWidth, int kDigits>
  static void trits(const Byte* q, float d, float* out) noexcept {
    int power = 1;
    for (int n = 0; n < kDigits; ++n, power *= 3)
      for (int i = 0; i < kWidth; ++i) *out++ = product(d, (((q[i] * power & 255) * 3) >> 8) - 1);
  }
  static void decode(Layout<BlockTQ1_0>, const Byte* p, float* out) noexcept {
    const float d = half_at(p + offsetof(BlockTQ1_0, d));
    trits<32, 5>(p + offsetof(BlockTQ1_0, qs), d, out);
    trits<16, 5>(p + offsetof(BlockTQ1_0, qs) + 32, d, out + 160);
    trits<4, 4>(p + offsetof(BlockTQ1_0, qh), d, out + 240);
  }
};

/// out[n] = the n weights of type T stored at `from` (unaligned). n is a multiple of T's block size.
template <class Tag, DType T>
inline void dequantize_row(const std::byte* from, std::size_t n, float* out) noexcept {
  using Block = BlockOf<T>;
  constexpr std::size_t kElements = kBlockElements<T>;
  const std::uint8_t* p = reinterpret_cast<const std::uint8_t*>(from);
  for (std::size_t i = 0; i < n / kElements; ++i)
    BlockDecoder<Tag>::decode(Layout<Block>{}, p + i * sizeof(Block), out + i * kElements);
}

}  // namespace gemma::kernels
