// Operations on eight floats at once in the compiler's vector types, which compile to any unit's instruction
// set.
// Invariant: each lane is a sequence of IEEE operations in the written order, so every unit gives the same
// bits. Everything is inlined or tagged with the unit's type A, so no symbol is shared between units. A also
// provides the operations for which compilers generate poor code: larger(), smaller(), rounded(), and
// first_equal(), the index of the first lane in which two vectors are equal, or 0
// (kernels/arch/encode_*.cpp).
#pragma once

#include <cstddef>
#include <cstdint>

namespace gemma::kernels::encode {

inline constexpr int kLanes = 8;
using Lanes __attribute__((vector_size(32))) = float;

template <class A>
[[gnu::always_inline]] inline Lanes all(float x) noexcept {
  return Lanes{} + x;
}
template <class A>
[[gnu::always_inline]] inline Lanes load(const float* from) noexcept {
  Lanes v;
  __builtin_memcpy(&v, from, sizeof v);
  return v;
}
template <class A>
[[gnu::always_inline]] inline void store(const Lanes& v, float* to) noexcept {
  __builtin_memcpy(to, &v, sizeof v);
}
template <class A>
[[gnu::always_inline]] inline float sum(const Lanes& v) noexcept {
  const float a = v[0] + v[4], b = v[1] + v[5], c = v[2] + v[6], d = v[3] + v[7];
  return (a + c) + (b + d);
}
/// The value of the largest lane; NaN if lane 0 is NaN.
template <class A>
[[gnu::always_inline]] inline float largest(const Lanes& v) noexcept {
  float most = v[0];
  for (int lane = 1; lane < kLanes; ++lane) most = v[lane] > most ? v[lane] : most;
  return most;
}
/// The index of the first lane that holds the largest value.
template <class A>
[[gnu::always_inline]] inline int largest_lane(const Lanes& v) noexcept {
  const Lanes most = all<A>(largest<A>(v));
  return A::first_equal(v, most);
}
/// Lane by lane the larger value; the second if either is NaN.
template <class A>
[[gnu::always_inline]] inline Lanes larger(const Lanes& x, const Lanes& y) noexcept {
  return A::larger(x, y);
}
template <class A>
[[gnu::always_inline]] inline Lanes smaller(const Lanes& x, const Lanes& y) noexcept {
  return A::smaller(x, y);
}
/// Rounds to the nearest integers, ties to even; |x| < 2^22. The sign of a zero is unspecified.
template <class A>
[[gnu::always_inline]] inline Lanes rounded(const Lanes& x) noexcept {
  return A::rounded(x);
}
/// x limited to [lo, hi]; NaN gives lo.
template <class A>
[[gnu::always_inline]] inline Lanes clamped(const Lanes& x, float lo, float hi) noexcept {
  return smaller<A>(larger<A>(x, all<A>(lo)), all<A>(hi));
}
template <class A>
[[gnu::always_inline]] inline float clamped(float x, float lo, float hi) noexcept {
  const float y = x > lo ? x : lo;
  return y < hi ? y : hi;
}
/// x limited to [lo, hi] and rounded to the nearest integer.
template <class A>
[[gnu::always_inline]] inline float rounded_within(float x, float lo, float hi) noexcept {
  return (clamped<A>(x, lo, hi) + 0x1.8p23f) - 0x1.8p23f;
}

/// x as binary16 bits, rounded to nearest even; magnitudes beyond 65504 become 65504, NaN stays NaN.
template <class A>
inline std::uint16_t to_half(float x) noexcept {
  const auto bits = __builtin_bit_cast(std::uint32_t, x);
  const std::uint32_t sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return static_cast<std::uint16_t>(sign | 0x7E00u);
  if (magnitude >= 0x477FE000u) return static_cast<std::uint16_t>(sign | 0x7BFFu);
  if (magnitude < 0x38800000u) {  // subnormal: adding 0.5 moves its 10 bits to the end of the mantissa
    const float shifted = __builtin_bit_cast(float, magnitude) + 0.5f;
    return static_cast<std::uint16_t>(sign | (__builtin_bit_cast(std::uint32_t, shifted) - 0x3F000000u));
  }
  const std::uint32_t odd = (magnitude >> 13) & 1u;
  return static_cast<std::uint16_t>(sign | ((magnitude - 0x38000000u + 0xFFFu + odd) >> 13));
}
template <class A>
inline float from_half(std::uint16_t half) noexcept {
  const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000u) << 16;
  const std::uint32_t exponent = (half >> 10) & 31u, mantissa = half & 0x3FFu;
  if (exponent == 31) return __builtin_bit_cast(float, sign | 0x7F800000u | (mantissa << 13));
  if (exponent != 0) return __builtin_bit_cast(float, sign | ((exponent + 112) << 23) | (mantissa << 13));
  const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
  return __builtin_bit_cast(float, sign | __builtin_bit_cast(std::uint32_t, magnitude));
}
/// x rounded to float16, as the scale of a block stores it.
template <class A>
inline float as_half(float x) noexcept {
  return from_half<A>(to_half<A>(x));
}

/// The integers lo to hi, stored as q - lo.
template <class A, int kLow, int kHigh>
struct IntegerGrid {
  static constexpr int kLeast = kLow, kMost = kHigh;
  [[gnu::always_inline]] static Lanes nearest(const Lanes& z) noexcept {
    return rounded<A>(clamped<A>(z, kLow, kHigh));
  }
  [[gnu::always_inline]] static int code(float value) noexcept { return static_cast<int>(value) - kLow; }
};

/// The 16 uneven levels of IQ4_NL and IQ4_XS.
template <class A>
struct LevelGrid {
  static constexpr int kLeast = -127, kMost = 113;
  static constexpr float kLevels[16] = {-127, -104, -83, -65, -49, -35, -22, -10,
                                        1,    13,   25,  38,  53,  69,  89,  113};
  [[gnu::always_inline]] static Lanes nearest(const Lanes& z) noexcept {
    Lanes level = all<A>(kLevels[0]);
    for (int k = 1; k < 16; ++k)
      level = z > all<A>(0.5f * (kLevels[k - 1] + kLevels[k])) ? all<A>(kLevels[k]) : level;
    return level;
  }
  [[gnu::always_inline]] static int code(float value) noexcept {
    int code = 0;
    for (int k = 1; k < 16; ++k) code += value >= kLevels[k] ? 1 : 0;
    return code;
  }
};

}  // namespace gemma::kernels::encode
