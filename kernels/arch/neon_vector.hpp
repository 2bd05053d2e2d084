// The float vector (float_vector.hpp) of NEON on AArch64: 4 lanes.
// Invariant: included by kernels/arch/neon.cpp alone, so that the linker cannot choose this code for another
// unit. Operations that xsimd lacks, or names differently between releases, are written here.
#pragma once

#include <cstddef>
#include <cstdint>

#include <arm_neon.h>
#include <xsimd/xsimd.hpp>

namespace gemma::kernels {

struct NeonVector {
  using batch = xsimd::batch<float, xsimd::neon64>;
  static constexpr std::size_t kLanes = 4;
  // attention: rows and vectors of a register tile (24 accumulators in 32 registers)
  static constexpr int kAttentionRows = 6;
  static constexpr int kAttentionVectors = 4;
  // attention over 8-bit keys: dot accumulators of a register tile (besides as many float accumulators)
  static constexpr int kAttentionDots = 12;
  // matmul: maxima of weight rows, tokens and accumulators of a register tile
  static constexpr int kMatmulRows = 4;
  static constexpr int kMatmulTokens = 6;
  static constexpr int kMatmulSums = 24;

  static batch fma(batch a, batch b, batch c) noexcept { return vfmaq_f32(c, a, b); }
  /// Correctly rounded (IEEE 754); xsimd 8.1 divides by an estimate with Newton steps.
  static batch divide(batch a, batch b) noexcept { return vdivq_f32(a, b); }

  /// The first n < kLanes floats; the other lanes are 0 and their memory is not read.
  static batch load_part(const float* p, std::size_t n) noexcept {
    float lanes[kLanes] = {};
    __builtin_memcpy(lanes, p, n * sizeof(float));
    return vld1q_f32(lanes);
  }
  static void store_part(batch x, float* p, std::size_t n) noexcept {
    float lanes[kLanes];
    vst1q_f32(lanes, x);
    __builtin_memcpy(p, lanes, n * sizeof(lanes[0]));
  }

  static batch load_f16(const std::uint16_t* p) noexcept {
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
  }
  static batch load_f16_part(const std::uint16_t* p, std::size_t n) noexcept {
    std::uint16_t lanes[kLanes] = {};
    __builtin_memcpy(lanes, p, n * sizeof(lanes[0]));
    return load_f16(lanes);
  }
  static batch load_bf16(const std::uint16_t* p) noexcept {
    return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p), 16));
  }
  static batch load_bf16_part(const std::uint16_t* p, std::size_t n) noexcept {
    std::uint16_t lanes[kLanes] = {};
    __builtin_memcpy(lanes, p, n * sizeof(lanes[0]));
    return load_bf16(lanes);
  }
  /// Rounds to nearest even; magnitudes above 65504 saturate, NaN stays NaN.
  static void store_f16(batch x, std::uint16_t* p) noexcept {
    const float32x4_t limited = vminq_f32(vdupq_n_f32(65504.0f), vmaxq_f32(vdupq_n_f32(-65504.0f), x));
    vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(limited)));
  }

  /// Sum of the lanes: the two halves are added until one lane is left.
  static float sum(batch x) noexcept {
    const float32x2_t s2 = vadd_f32(vget_low_f32(x), vget_high_f32(x));
    return vget_lane_f32(s2, 0) + vget_lane_f32(s2, 1);
  }
  /// out[i] = sum(v[i])
  static void sums_8(const batch (&v)[8], float (&out)[8]) noexcept {
    for (int i = 0; i < 8; ++i) out[i] = sum(v[i]);
  }
  static float max(batch x) noexcept { return vmaxvq_f32(x); }

  /// The float whose bits are those of x shifted left by 23: an integer in the low mantissa bits of x becomes
  /// an exponent.
  static batch low_bits_to_exponent(batch x) noexcept {
    return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(x), 23));
  }
  /// 0, 1, ..., kLanes - 1
  static batch lane_index() noexcept {
    constexpr float kIndex[kLanes] = {0, 1, 2, 3};
    return vld1q_f32(kIndex);
  }

  /// p[0], p[0], p[1], p[1]: kLanes / 2 floats, each twice.
  static batch load_twice(const float* p) noexcept {
    const float32x2_t x = vld1_f32(p);
    return vcombine_f32(vdup_lane_f32(x, 0), vdup_lane_f32(x, 1));
  }
  /// Exchanges lanes 2i and 2i + 1.
  static batch swap_pairs(batch x) noexcept { return vrev64q_f32(x); }
  /// -1, 1, -1, 1
  static batch alternating_sign() noexcept {
    constexpr float kSigns[kLanes] = {-1, 1, -1, 1};
    return vld1q_f32(kSigns);
  }

  // ---- 8-bit keys and values
  using Dots = int32x4_t;
  static Dots begin_dots(std::int32_t /*sum*/) noexcept { return vdupq_n_s32(0); }
  static int8x16_t load_codes(const std::int8_t* p) noexcept { return vld1q_s8(p); }
  static int8x16_t broadcast_codes(const std::int8_t* p) noexcept {
    std::int32_t four;
    __builtin_memcpy(&four, p, sizeof four);
    return vreinterpretq_s8_s32(vdupq_n_s32(four));
  }
  static Dots add_dots(Dots dots, int8x16_t key, int8x16_t q) noexcept { return vdotq_s32(dots, key, q); }
  static batch dots_to_float(Dots dots) noexcept { return vcvtq_f32_s32(dots); }
  static batch load_bytes(const std::int8_t* p) noexcept {
    std::int32_t four;
    __builtin_memcpy(&four, p, sizeof four);
    const int16x8_t words = vmovl_s8(vreinterpret_s8_s32(vdup_n_s32(four)));
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(words)));
  }
  static batch load_bytes_part(const std::int8_t* p, std::size_t n) noexcept {
    std::int8_t bytes[kLanes] = {};
    __builtin_memcpy(bytes, p, n);
    return load_bytes(bytes);
  }

  /// Largest |x[i]| of 32, as the integer maximum of the bits: NaN exceeds infinity, infinity exceeds every
  /// finite number.
  static float max_magnitude_32(const float* x) noexcept {
    uint32x4_t m = vdupq_n_u32(0);
    for (int i = 0; i < 32; i += 4)
      m = vmaxq_u32(m, vandq_u32(vreinterpretq_u32_f32(vld1q_f32(x + i)), vdupq_n_u32(0x7FFFFFFFu)));
    return __builtin_bit_cast(float, vmaxvq_u32(m));
  }
  /// q[i] = x[i] for 32 integers; sums[0] and sums[1]: the sums of the first and of the last 16.
  static void to_bytes_32(const float* x, std::int8_t* q, std::int32_t* sums) noexcept {
    for (int half = 0; half < 2; ++half, x += 16, q += 16) {
      int32x4_t r[4];
      for (int i = 0; i < 4; ++i) r[i] = vcvtnq_s32_f32(vld1q_f32(x + 4 * i));
      const int16x8_t low = vcombine_s16(vqmovn_s32(r[0]), vqmovn_s32(r[1]));
      const int16x8_t high = vcombine_s16(vqmovn_s32(r[2]), vqmovn_s32(r[3]));
      vst1q_s8(q, vcombine_s8(vqmovn_s16(low), vqmovn_s16(high)));
      sums[half] = vaddvq_s32(vaddq_s32(vaddq_s32(r[0], r[1]), vaddq_s32(r[2], r[3])));
    }
  }
};

}  // namespace gemma::kernels
