// half.hpp, compared with independent arithmetic in double precision. A conversion to a narrower type is
// monotone, so the values at and on both sides of every rounding boundary determine it for all floats.
#include "gguf/half.hpp"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>

#include <gtest/gtest.h>

namespace gemma {
namespace {

struct Format {
  int exponent_bits;
  int mantissa_bits;
  std::uint16_t infinity;  // bits of +inf; larger values are NaN
  float (*widen)(std::uint16_t) noexcept;
  std::uint16_t (*narrow)(float) noexcept;
};
constexpr Format kF16{5, 10, 0x7C00, f16_to_f32, f32_to_f16};
constexpr Format kBF16{8, 7, 0x7F80, bf16_to_f32, f32_to_bf16};

/// The value of the finite bits h, by the definition of the format.
double value_of(const Format& f, std::uint16_t h) {
  const int bias = (1 << (f.exponent_bits - 1)) - 1;
  const int exponent = (h >> f.mantissa_bits) & ((1 << f.exponent_bits) - 1);
  const int mantissa = h & ((1 << f.mantissa_bits) - 1);
  const double sign = (h & 0x8000) != 0 ? -1.0 : 1.0;
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - f.mantissa_bits);
  return sign * std::ldexp((1 << f.mantissa_bits) + mantissa, exponent - bias - f.mantissa_bits);
}

std::uint32_t bits_of(float f) {
  return std::bit_cast<std::uint32_t>(f);
}

class HalfTest : public testing::TestWithParam<Format> {};

TEST_P(HalfTest, WidensEveryBitPattern) {
  const Format& f = GetParam();
  for (std::uint32_t i = 0; i < 65536; ++i) {
    const auto h = static_cast<std::uint16_t>(i);
    const auto magnitude = static_cast<std::uint16_t>(h & 0x7FFF);
    const float wide = f.widen(h);
    ASSERT_EQ(std::signbit(wide), (h & 0x8000) != 0) << i;
    if (magnitude > f.infinity) {
      ASSERT_TRUE(std::isnan(wide)) << i;
    } else if (magnitude == f.infinity) {
      ASSERT_TRUE(std::isinf(wide)) << i;
    } else {
      ASSERT_EQ(static_cast<double>(wide), value_of(f, h)) << i;
    }
  }
}

TEST_P(HalfTest, EveryBitPatternSurvivesTheRoundTrip) {
  const Format& f = GetParam();
  for (std::uint32_t i = 0; i < 65536; ++i) {
    const auto h = static_cast<std::uint16_t>(i);
    const std::uint16_t back = f.narrow(f.widen(h));
    if ((h & 0x7FFF) > f.infinity) {
      const auto quiet = static_cast<std::uint16_t>(h | (1u << (f.mantissa_bits - 1)));
      ASSERT_EQ(back, quiet) << i;  // NaN stays NaN, made quiet, payload kept
    } else {
      ASSERT_EQ(back, h) << i;
    }
  }
}

TEST_P(HalfTest, RoundsToNearestEvenAtEveryBoundary) {
  const Format& f = GetParam();
  for (std::uint16_t low = 0; low < f.infinity; ++low) {
    const auto high = static_cast<std::uint16_t>(low + 1);
    // beyond the largest finite value, rounding works as if the exponent continued
    const double step = high == f.infinity
                            ? value_of(f, low) - value_of(f, static_cast<std::uint16_t>(low - 1))
                            : value_of(f, high) - value_of(f, low);
    const float middle = static_cast<float>(value_of(f, low) + step / 2);
    ASSERT_EQ(static_cast<double>(middle), value_of(f, low) + step / 2) << low;  // exact in float32
    const std::uint16_t even = (low & 1) == 0 ? low : high;
    const float below = std::nextafter(middle, 0.0f);
    const float above = std::nextafter(middle, std::numeric_limits<float>::infinity());
    ASSERT_EQ(f.narrow(middle), even) << low;
    ASSERT_EQ(f.narrow(below), low) << low;
    ASSERT_EQ(f.narrow(above), high) << low;
    ASSERT_EQ(f.narrow(-middle), even | 0x8000) << low;
    ASSERT_EQ(f.narrow(-below), low | 0x8000) << low;
    ASSERT_EQ(f.narrow(-above), high | 0x8000) << low;
  }
}

TEST_P(HalfTest, ExtremesOfFloat32) {
  const Format& f = GetParam();
  using Limits = std::numeric_limits<float>;
  EXPECT_EQ(f.narrow(Limits::max()), f.infinity);
  EXPECT_EQ(f.narrow(-Limits::max()), f.infinity | 0x8000);
  EXPECT_EQ(f.narrow(Limits::infinity()), f.infinity);
  EXPECT_EQ(f.narrow(Limits::denorm_min()), 0);
  EXPECT_EQ(f.narrow(-Limits::denorm_min()), 0x8000);
  EXPECT_EQ(f.narrow(-0.0f), 0x8000);
  for (const std::uint32_t nan : {0x7F800001u, 0x7FC00000u, 0x7FFFFFFFu, 0xFF800001u, 0xFFFFFFFFu}) {
    const float back = f.widen(f.narrow(std::bit_cast<float>(nan)));
    EXPECT_TRUE(std::isnan(back)) << std::hex << nan;
    EXPECT_EQ(bits_of(back) >> 31, nan >> 31) << std::hex << nan;
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, HalfTest, testing::Values(kF16, kBF16),
                         [](const auto& param) { return param.param.mantissa_bits == 10 ? "F16" : "BF16"; });

#if defined(__aarch64__)
using CompilersFloat16 = __fp16;  // on this platform gcc 12 supports _Float16 in C only
#elif defined(__FLT16_MANT_DIG__)
__extension__ using CompilersFloat16 = _Float16;
#endif
#if defined(__aarch64__) || defined(__FLT16_MANT_DIG__)
TEST(Half, AgreesWithTheCompilersFloat16) {
  std::mt19937 random(1);
  for (int i = 0; i < 1'000'000; ++i) {
    const float f = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
    if (std::isnan(f)) continue;
    const auto h = static_cast<CompilersFloat16>(f);
    ASSERT_EQ(f32_to_f16(f), std::bit_cast<std::uint16_t>(h)) << f;
    ASSERT_EQ(bits_of(f16_to_f32(std::bit_cast<std::uint16_t>(h))), bits_of(static_cast<float>(h))) << f;
  }
}
#endif

TEST(Half, WorksAtCompileTime) {
  static_assert(f16_to_f32(0x3C00) == 1.0f && f32_to_f16(65504.0f) == 0x7BFF && f32_to_f16(0x1p-24f) == 1);
  static_assert(bf16_to_f32(0x4235) == 45.25f && f32_to_bf16(55.4256f) == 0x425E);  // sqrt(2048), sqrt(3072)
}

}  // namespace
}  // namespace gemma
