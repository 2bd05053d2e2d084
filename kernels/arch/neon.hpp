// Primitives (integer_primitives.hpp) of the 8-bit matmul on NEON with dot products (Armv8.2-A): 4 rows per
// vector, signed weights.
// Invariant: NeonPrimitives is a template over the instruction set that derives from it, so that units with
// different flags share no function.
#pragma once

#include <cstddef>
#include <cstdint>

#include <arm_neon.h>

#include "../generic/unroll.hpp"

namespace gemma::kernels {

/// Primitives that NEON with dot products shares with NEON with int8 matrix multiplies. A is the struct that
/// derives from this.
template <class A>
struct NeonPrimitives {
  using Int = int32x4_t;
  using Float = float32x4_t;
  static constexpr std::size_t kLanes = 4;
  static constexpr int kDirectTokens = 4;       // up to this many tokens, weights are multiplied as unpacked
  static constexpr bool kSignedWeights = true;  // sdot, smmla
  static constexpr bool kRowVectors = false;

  struct Rows {
    const std::uint8_t* row[kLanes];
  };

  // ---- loads
  /// 16 bytes of each row, transposed: c[i] holds bytes 4i .. 4i + 3, of row r in lane r.
  static void load_columns16(const Rows& rows, std::size_t offset, Int (&c)[4]) noexcept {
    Int a[4];
    unroll<A, 4>([&]<int I>()
                     GEMMA_INLINE_LAMBDA { a[I] = vreinterpretq_s32_u8(vld1q_u8(rows.row[I] + offset)); });
    const int64x2_t b0 = vreinterpretq_s64_s32(vtrn1q_s32(a[0], a[1])),
                    b1 = vreinterpretq_s64_s32(vtrn2q_s32(a[0], a[1]));
    const int64x2_t b2 = vreinterpretq_s64_s32(vtrn1q_s32(a[2], a[3])),
                    b3 = vreinterpretq_s64_s32(vtrn2q_s32(a[2], a[3]));
    c[0] = vreinterpretq_s32_s64(vtrn1q_s64(b0, b2));
    c[1] = vreinterpretq_s32_s64(vtrn1q_s64(b1, b3));
    c[2] = vreinterpretq_s32_s64(vtrn2q_s64(b0, b2));
    c[3] = vreinterpretq_s32_s64(vtrn2q_s64(b1, b3));
  }
  /// 32 bytes of each row, transposed in the same way.
  static void load_columns32(const Rows& rows, std::size_t offset, Int (&c)[8]) noexcept {
    Int low[4], high[4];
    load_columns16(rows, offset, low);
    load_columns16(rows, offset + 16, high);
    unroll<A, 4>([&]<int I>() GEMMA_INLINE_LAMBDA {
      c[I] = low[I];
      c[I + 4] = high[I];
    });
  }
  /// 16 bytes of weights of each row, in the order of add_dots().
  static void load_weights16(const Rows& rows, std::size_t offset, Int (&c)[4]) noexcept {
    load_columns16(rows, offset, c);
  }
  /// The binary16 at `offset` of each row.
  static Float load_half(const Rows& rows, std::size_t offset) noexcept {
    std::uint16_t h[4];
    unroll<A, 4>([&]<int I>()
                     GEMMA_INLINE_LAMBDA { __builtin_memcpy(&h[I], rows.row[I] + offset, sizeof h[I]); });
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(h)));
  }
  static Float load(const float* p) noexcept { return vld1q_f32(p); }
  static void store(float* p, Float v) noexcept { vst1q_f32(p, v); }
  static Float broadcast(const float* p) noexcept { return vld1q_dup_f32(p); }
  static Int broadcast_int(const std::int32_t* p) noexcept { return vld1q_dup_s32(p); }

  // ---- bits
  static Int zero_int() noexcept { return vdupq_n_s32(0); }
  static Int and_mask(Int v, int mask) noexcept { return vandq_s32(v, vdupq_n_s32(mask)); }
  static Int xor_mask(Int v, unsigned mask) noexcept {
    return veorq_s32(v, vdupq_n_s32(static_cast<int>(mask)));
  }
  /// (v & mask) | other
  static Int and_mask_or(Int v, int mask, Int other) noexcept { return vorrq_s32(and_mask(v, mask), other); }
  static Int or_int(Int a, Int b) noexcept { return vorrq_s32(a, b); }
  static Int sub_bytes(Int v, int subtrahend) noexcept {
    return vreinterpretq_s32_s8(
        vsubq_s8(vreinterpretq_s8_s32(v), vdupq_n_s8(static_cast<std::int8_t>(subtrahend))));
  }
  /// Replaces every byte b of v, 0 to 15, by table[b].
  static Int look_up(Int v, const std::uint8_t (&table)[16]) noexcept {
    return vreinterpretq_s32_u8(vqtbl1q_u8(vld1q_u8(table), vreinterpretq_u8_s32(v)));
  }
  /// Byte b of each lane: 0x10 if bit 4 * kColumn + b of that lane of v is set, else 0.
  template <int kColumn>
  static Int spread_bits(Int v) noexcept {
    const uint8x16_t index = vreinterpretq_u8_u32(
        vaddq_u32(vdupq_n_u32(kColumn / 2 * 0x01010101u),
                  vcombine_u32(vcreate_u32(0x0404040400000000u), vcreate_u32(0x0C0C0C0C08080808u))));
    const uint8x16_t bits = vreinterpretq_u8_u32(vdupq_n_u32(kColumn % 2 == 0 ? 0x08040201u : 0x80402010u));
    return tested_bits(v, index, bits);
  }
  /// Byte i of the result: 0x10 if byte index[i] of v has one of the bits bits[i] set, else 0.
  static Int tested_bits(Int v, uint8x16_t index, uint8x16_t bits) noexcept {
    const uint8x16_t bytes = vqtbl1q_u8(vreinterpretq_u8_s32(v), index);
    return vreinterpretq_s32_u8(vandq_u8(vtstq_u8(bytes, bits), vdupq_n_u8(0x10)));
  }
  template <int kBits>
  static Int shift_right(Int v) noexcept {
    if constexpr (kBits == 0)
      return v;
    else
      return vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(v), kBits));
  }
  /// Shifts to the right if kBits is negative.
  template <int kBits>
  static Int shift_left(Int v) noexcept {
    if constexpr (kBits < 0)
      return shift_right<-kBits>(v);
    else if constexpr (kBits == 0)
      return v;
    else
      return vshlq_n_s32(v, kBits);
  }
  template <int kByte>
  static Int unsigned_byte(Int v) noexcept {
    return and_mask(shift_right<8 * kByte>(v), 0xFF);
  }
  template <int kByte>
  static Int signed_byte(Int v) noexcept {
    return vshrq_n_s32(shift_left<24 - 8 * kByte>(v), 24);
  }

  // ---- arithmetic
  /// The low 16 bits of each lane as binary16.
  static Float half_low(Int v) noexcept {
    return vcvt_f32_f16(vreinterpret_f16_u16(vmovn_u32(vreinterpretq_u32_s32(v))));
  }
  static Float half_high(Int v) noexcept { return half_low(shift_right<16>(v)); }
  static Float to_float(Int v) noexcept { return vcvtq_f32_s32(v); }
  static Float as_float(Int v) noexcept { return vreinterpretq_f32_s32(v); }
  static Int as_int(Float v) noexcept { return vreinterpretq_s32_f32(v); }
  static Float negate(Float v) noexcept { return vnegq_f32(v); }
  static Float mul(Float a, Float b) noexcept { return vmulq_f32(a, b); }
  static Float sub(Float a, Float b) noexcept { return vsubq_f32(a, b); }
  static Float fma(Float a, Float b, Float c) noexcept { return vfmaq_f32(c, a, b); }
  /// sum + a.low * b.low + a.high * b.high, with the int16 halves of each lane
  static Int add_pair_products(Int sum, Int a, Int b) noexcept {
    const int16x8_t x = vreinterpretq_s16_s32(a), y = vreinterpretq_s16_s32(b);
    const Int low = vmull_s16(vget_low_s16(x), vget_low_s16(y));
    const Int high = vmull_high_s16(x, y);
    return vaddq_s32(sum, vpaddq_s32(low, high));
  }
};

struct Neon : NeonPrimitives<Neon> {
  static constexpr int kPanels = 1;
  static constexpr int kHalvesTile = 8;
  static constexpr int kPart = 1;  // token counts of smaller tiles are its multiples
  static constexpr int kTile = 8;  // tokens of a register tile: 8 accumulators in 32 registers
  static constexpr int kStep = 4;  // tokens whose dot products are interleaved

  /// dots[0][t] += the products of w[0][kBegin .. kBegin + kCount) and bytes 4 * kBegin .. of token t (32
  /// bytes per token).
  template <class W, int kBegin, int kCount, int kTokens>
  [[gnu::always_inline]] static void add_dots(const Int (*w)[8], const std::int8_t* x,
                                              Int (&dots)[1][kTokens]) noexcept {
    unroll<Neon, kCount / 4>([&]<int I>() GEMMA_INLINE_LAMBDA {
      constexpr int kFirst = kBegin + 4 * I;
      unroll<Neon, kTokens>([&]<int T>() GEMMA_INLINE_LAMBDA {
        const int8x16_t token = vld1q_s8(x + 32 * T + 4 * kFirst);  // each lane is multiplied by four rows
        unroll<Neon, 4>([&]<int C>() GEMMA_INLINE_LAMBDA {
          dots[0][T] = vdotq_laneq_s32(dots[0][T], vreinterpretq_s8_s32(w[0][kFirst + C]), token, C);
        });
      });
    });
  }
};

}  // namespace gemma::kernels
