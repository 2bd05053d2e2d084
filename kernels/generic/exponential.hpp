// 2^x, exp and tanh of float vectors, for every vector type V of kernels/arch.
// Invariant: a lane of the result depends on that lane of the input alone; NaN gives NaN.
// tests/kernels/vector_test.cpp measures the error over the range of float32: at most 2.3 ulp for SiLU (which
// uses exp), 2.5 for GELU (2^x of a sum of two floats), 3.4 for tanh.
#pragma once

#include <xsimd/xsimd.hpp>

#include "float_vector.hpp"

namespace gemma::kernels {

/// Exponential functions of vectors of type V.
template <FloatVector V>
struct Exponential {
  using batch = typename V::batch;

  static constexpr float kLog2E = 1.44269502162933349609375f;  // log2(e) rounded to float32
  static constexpr float kLog2ELow = 1.92596298909109e-08f;    // log2(e) - kLog2E

  /// Splits 2^(x + low) at the integer n nearest to x: scale = 2^(n - 1) and part = 2 (2^r - 1) with r = x +
  /// low - n, so that 2^(x + low) = scale * (2 + part). Requires -125 <= x < 128. The scale is half of 2^n,
  /// so that it is finite for n = 128.
  static void split_exp2(batch x, batch low, batch& scale, batch& part) noexcept {
    // adding 1.5 * 2^23 rounds x to an integer n in the low mantissa bits; the additional 126 makes those
    // bits the exponent field of 2^(n - 1)
    const batch magic(12582912.0f + 126.0f);
    const batch shifted = x + magic;
    scale = V::low_bits_to_exponent(shifted);
    const batch r = (x - (shifted - magic)) + low;
    // minimax polynomial of (2^r - 1) / r on [-0.5, 0.5], relative error 1.1e-8; the coefficients are doubled
    batch p(0.0003080702523673164f);
    p = V::fma(p, r, batch(0.0026781470950856597f));
    p = V::fma(p, r, batch(0.019236474988366954f));
    p = V::fma(p, r, batch(0.11100714867296223f));
    p = V::fma(p, r, batch(0.4804529958992884f));
    p = V::fma(p, r, batch(1.3862943758533715f));
    part = p * r;
  }

  /// 2^(x + low) for |low| much smaller than 1: 0 for x < -125, infinity for x >= 128.
  static batch exp2(batch x, batch low) noexcept {
    batch scale, part;
    split_exp2(x, low, scale, part);
    const batch y = scale * (part + batch(2.0f));
    return xsimd::select(x < batch(-125.0f), batch(0.0f),
                         xsimd::select(x >= batch(128.0f), batch(__builtin_inff()), y));
  }

  /// 2^x for x <= 0: 0 for x < -125.
  static batch exp2_nonpositive(batch x) noexcept {
    batch scale, part;
    split_exp2(x, batch(0.0f), scale, part);
    return xsimd::select(x < batch(-125.0f), batch(0.0f), scale * (part + batch(2.0f)));
  }

  /// e^x: 0 where the result is below 2^-125, infinity above the range of float32.
  static batch exp(batch x) noexcept {
    const batch high = x * batch(kLog2E);
    const batch low = V::fma(x, batch(kLog2E), batch(0.0f) - high);  // the rounding error of the product
    return exp2(high, V::fma(x, batch(kLog2ELow), low));
  }

  /// tanh(x) = (e^(2x) - 1) / (e^(2x) + 1), where e^(2x) - 1 is computed without cancellation.
  static batch tanh(batch x) noexcept {
    const batch limit(10.0f);  // tanh(10) rounds to 1
    const batch z = xsimd::select(x > limit, limit, xsimd::select(x < -limit, -limit, x));
    const batch high = z * batch(2.0f * kLog2E);
    const batch low = V::fma(z, batch(2.0f * kLog2E), batch(0.0f) - high);
    batch scale, part;
    split_exp2(high, V::fma(z, batch(2.0f * kLog2ELow), low), scale, part);
    const batch one(1.0f);
    const batch expm1 = V::fma(scale, part, (scale + scale) - one);
    return V::divide(expm1, expm1 + batch(2.0f));
  }
};

}  // namespace gemma::kernels
