// Stored blocks -> float32, a row at a time, for every type; plain loops that the compiler vectorises.
// Invariant: every function is a template over the ISA unit's tag A, so that no two units share a symbol, and
// gives the bits of kernels/reference/dequantize.hpp. No function of a shared header is called at run time.
#pragma once

#include <cstddef>
#include <cstdint>

#include "../../gguf/dtype.hpp"

namespace gemma::kernels {

/// The per-type loops; A is any type that only one translation unit uses.
template <class A>
struct BlockDecoder {
  using Byte = std::uint8_t;

  static std::uint16_t load_u16(const Byte* p) noexcept {
    return static_cast<std::uint16_t>(p[0] | (p[1] << 8));
  }

  /// binary16 bits -> float32, exact: exponent rebiased by a product with 2^112, which also normalises
  /// subnormals; infinities and NaN get their exponent back.
  static float half(std::uint16_t h) noexcept {
    const std::uint32_t magnitude = static_cast<std::uint32_t>(h & 0x7FFF) << 13;
    std::uint32_t bits = __builtin_bit_cast(std::uint32_t, __builtin_bit_cast(float, magnitude) * 0x1p112f);
    bits = magnitude >= 0x0F800000u ? magnitude | 0x7F800000u : bits;
    return __builtin_bit_cast(float, bits | (static_cast<std::uint32_t>(h & 0x8000) << 16));
  }
  static float half_at(const Byte* p) noexcept { return half(load_u16(p)); }

  static float product(float d, int q) noexcept { return d * static_cast<float>(q); }

  static void f32(const Byte* p, std::size_t n, float* out) noexcept {
    if (n > 0) __builtin_memcpy(out, p, n * sizeof(float));
  }
  static void f16(const Byte* p, std::size_t n, float* out) noexcept {
    for (std::size_t i = 0; i < n; ++i) out[i] = half_at(p + 2 * i);
  }
  static void bf16(const Byte* p, std::size_t n, float* out) noexcept {
    for (std::size_t i = 0; i < n; ++i)
      out[i] = __builtin_bit_cast(float, static_cast<std::uint32_t>(load_u16(p + 2 * i)) << 16);
  }

  // ---- 32 weights a block: one function takes one block --------------------------------------------------
  static void q4_0(const Byte* p, float* out) noexcept {
    const float d = half_at(p);
    for (int i = 0; i < 16; ++i) {
      out[i] = product(d, (p[2 + i] & 15) - 8);
      out[i + 16] = product(d, (p[2 + i] >> 4) - 8);
    }
  }
  static void q4_1(const Byte* p, float* out) noexcept {
    const float d = half_at(p), m = half_at(p + 2);
    for (int i = 0; i < 16; ++i) {
      out[i] = product(d, p[4 + i] & 15) + m;
      out[i + 16] = product(d, p[4 + i] >> 4) + m;
    }
  }
  /// Bit i of the four bytes at p, as 0 or 16.
  static int fifth_bit(std::uint32_t bits, int i) noexcept { return static_cast<int>((bits >> i) & 1u) << 4; }
  static std::uint32_t load_u32(const Byte* p) noexcept {
    std::uint32_t v;
    __builtin_memcpy(&v, p, sizeof v);
    return v;
  }
  static void q5_0(const Byte* p, float* out) noexcept {
    const float d = half_at(p);
    const std::uint32_t high = load_u32(p + 2);
    for (int i = 0; i < 16; ++i) {
      out[i] = product(d, ((p[6 + i] & 15) | fifth_bit(high, i)) - 16);
      out[i + 16] = product(d, ((p[6 + i] >> 4) | fifth_bit(high, i + 16)) - 16);
    }
  }
  static void q5_1(const Byte* p, float* out) noexcept {
    const float d = half_at(p), m = half_at(p + 2);
    const std::uint32_t high = load_u32(p + 4);
    for (int i = 0; i < 16; ++i) {
      out[i] = product(d, (p[8 + i] & 15) | fifth_bit(high, i)) + m;
      out[i + 16] = product(d, (p[8 + i] >> 4) | fifth_bit(high, i + 16)) + m;
    }
  }
  static void q8_0(const Byte* p, float* out) noexcept {
    const float d = half_at(p);
    for (int i = 0; i < 32; ++i) out[i] = product(d, static_cast<std::int8_t>(p[2 + i]));
  }
  static void iq4_nl_nibbles(const Byte* qs, float d, float* out) noexcept {
    for (int i = 0; i < 16; ++i) {
      out[i] = product(d, kLevels[qs[i] & 15]);
      out[i + 16] = product(d, kLevels[qs[i] >> 4]);
    }
  }
  static void iq4_nl(const Byte* p, float* out) noexcept { iq4_nl_nibbles(p + 2, half_at(p), out); }

  // ---- 256 weights a super-block -------------------------------------------------------------------------
  static void q2_k(const Byte* p, float* out) noexcept {
    const Byte* qs = p + 16;
    const float d = half_at(p + 80), dmin = half_at(p + 82);
    for (int j = 0; j < 16; ++j) {
      const float min = product(dmin, p[j] >> 4);
      const Byte* q = qs + j / 8 * 32 + j % 2 * 16;
      const int scale = p[j] & 15, shift = 2 * (j / 2 % 4);
      for (int i = 0; i < 16; ++i) *out++ = product(d, scale * ((q[i] >> shift) & 3)) - min;
    }
  }
  static void q3_k(const Byte* p, float* out) noexcept {
    const Byte* qs = p + 32;
    const Byte* s = p + 96;
    const float d = half_at(p + 108);
    for (int j = 0; j < 16; ++j) {
      const int low = j < 8 ? s[j] & 15 : s[j - 8] >> 4;
      const int scale = (low | (((s[8 + j % 4] >> (2 * (j / 4))) & 3) << 4)) - 32;
      const Byte* q = qs + j / 8 * 32 + j % 2 * 16;
      const Byte* mask = p + j % 2 * 16;
      const int shift = 2 * (j / 2 % 4), bit = j / 2;
      for (int i = 0; i < 16; ++i) {
        const int high = ((mask[i] >> bit) & 1) << 2;  // 4 when set; the stored value is lowered by 4
        *out++ = product(d, scale * (((q[i] >> shift) & 3) + high - 4));
      }
    }
  }
  /// Scale and minimum j of the 12 packed bytes of Q4_K and Q5_K.
  static int k_scale(const Byte* s, int j) noexcept {
    return j < 4 ? s[j] & 63 : (s[j + 4] & 15) | ((s[j - 4] >> 6) << 4);
  }
  static int k_min(const Byte* s, int j) noexcept {
    return j < 4 ? s[j + 4] & 63 : (s[j + 4] >> 4) | ((s[j] >> 6) << 4);
  }
  static void q4_k(const Byte* p, float* out) noexcept {
    const float d = half_at(p), dmin = half_at(p + 2);
    for (int j = 0; j < 8; ++j) {
      const int scale = k_scale(p + 4, j), shift = 4 * (j % 2);
      const float min = product(dmin, k_min(p + 4, j));
      const Byte* q = p + 16 + j / 2 * 32;
      for (int i = 0; i < 32; ++i) *out++ = product(d, scale * ((q[i] >> shift) & 15)) - min;
    }
  }
  static void q5_k(const Byte* p, float* out) noexcept {
    const float d = half_at(p), dmin = half_at(p + 2);
    const Byte* high = p + 16;
    for (int j = 0; j < 8; ++j) {
      const int scale = k_scale(p + 4, j), shift = 4 * (j % 2);
      const float min = product(dmin, k_min(p + 4, j));
      const Byte* q = p + 48 + j / 2 * 32;
      for (int i = 0; i < 32; ++i)
        *out++ = product(d, scale * (((q[i] >> shift) & 15) | (((high[i] >> j) & 1) << 4))) - min;
    }
  }
  static void q6_k(const Byte* p, float* out) noexcept {
    const float d = half_at(p + 208);
    for (int j = 0; j < 16; ++j) {
      const int scale = static_cast<std::int8_t>(p[192 + j]);
      const Byte* low = p + j / 8 * 64 + j % 4 * 16;
      const Byte* high = p + 128 + j / 8 * 32 + j % 2 * 16;
      const int low_shift = j % 8 >= 4 ? 4 : 0, high_shift = 2 * (j % 8 / 2);
      for (int i = 0; i < 16; ++i) {
        const int q = ((low[i] >> low_shift) & 15) | (((high[i] >> high_shift) & 3) << 4);
        *out++ = product(d, scale * (q - 32));
      }
    }
  }
  static void iq4_xs(const Byte* p, float* out) noexcept {
    const float d = half_at(p);
    const int scales_h = load_u16(p + 2);
    for (int j = 0; j < 8; ++j) {
      const int low = (p[4 + j / 2] >> (4 * (j % 2))) & 15;
      const int scale = (low | (((scales_h >> (2 * j)) & 3) << 4)) - 32;
      const Byte* q = p + 8 + 16 * j;
      for (int i = 0; i < 16; ++i) {
        out[i] = product(d, scale * kLevels[q[i] & 15]);
        out[i + 16] = product(d, scale * kLevels[q[i] >> 4]);
      }
      out += 32;
    }
  }

  static constexpr int kLevels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                      1,    13,   25,  38,  53,  69,  89,  113};

  template <void (*kBlock)(const Byte*, float*) noexcept, std::size_t kElements, std::size_t kBytes>
  static void blocks(const Byte* p, std::size_t n, float* out) noexcept {
    for (std::size_t i = 0; i < n / kElements; ++i) kBlock(p + i * kBytes, out + i * kElements);
  }
};

/// out[n] = the n weights of type T stored at `from` (unaligned); n a multiple of T's block.
template <class A, DType T>
inline void dequantize_row(const std::byte* from, std::size_t n, float* out) noexcept {
  using D = BlockDecoder<A>;
  const std::uint8_t* p = reinterpret_cast<const std::uint8_t*>(from);
  if constexpr (T == DType::kF32) D::f32(p, n, out);
  if constexpr (T == DType::kF16) D::f16(p, n, out);
  if constexpr (T == DType::kBF16) D::bf16(p, n, out);
  if constexpr (T == DType::kQ4_0) D::template blocks<D::q4_0, kQK, sizeof(BlockQ4_0)>(p, n, out);
  if constexpr (T == DType::kQ4_1) D::template blocks<D::q4_1, kQK, sizeof(BlockQ4_1)>(p, n, out);
  if constexpr (T == DType::kQ5_0) D::template blocks<D::q5_0, kQK, sizeof(BlockQ5_0)>(p, n, out);
  if constexpr (T == DType::kQ5_1) D::template blocks<D::q5_1, kQK, sizeof(BlockQ5_1)>(p, n, out);
  if constexpr (T == DType::kQ8_0) D::template blocks<D::q8_0, kQK, sizeof(BlockQ8_0)>(p, n, out);
  if constexpr (T == DType::kIQ4_NL) D::template blocks<D::iq4_nl, kQK, sizeof(BlockIQ4_NL)>(p, n, out);
  if constexpr (T == DType::kQ2_K) D::template blocks<D::q2_k, kQKK, sizeof(BlockQ2_K)>(p, n, out);
  if constexpr (T == DType::kQ3_K) D::template blocks<D::q3_k, kQKK, sizeof(BlockQ3_K)>(p, n, out);
  if constexpr (T == DType::kQ4_K) D::template blocks<D::q4_k, kQKK, sizeof(BlockQ4_K)>(p, n, out);
  if constexpr (T == DType::kQ5_K) D::template blocks<D::q5_k, kQKK, sizeof(BlockQ5_K)>(p, n, out);
  if constexpr (T == DType::kQ6_K) D::template blocks<D::q6_k, kQKK, sizeof(BlockQ6_K)>(p, n, out);
  if constexpr (T == DType::kIQ4_XS) D::template blocks<D::iq4_xs, kQKK, sizeof(BlockIQ4_XS)>(p, n, out);
}

}  // namespace gemma::kernels
