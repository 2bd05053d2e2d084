// Numbers that are computed from a checkpoint's settings.
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>
#include <numbers>
#include <vector>

#include "examples/convert/settings.hpp"

namespace gemma::convert {

/// Llama 3.1's divisors of rotary frequencies: frequencies with long wavelengths are divided by `factor`; the
/// divisor falls gradually to 1 between two wavelengths.
inline std::vector<float> llama3_divisors(const Settings& scaling, std::size_t head_dim, double base) {
  const double factor = scaling.number("factor", 8.0), low = scaling.number("low_freq_factor", 1.0);
  const double high = scaling.number("high_freq_factor", 4.0);
  const double old_context = scaling.number("original_max_position_embeddings", 8192.0);
  if (!(high > low) || !(factor > 0)) scaling.malformed("high_freq_factor", "above low_freq_factor");
  std::vector<float> out;
  for (std::size_t i = 0; i < head_dim; i += 2) {
    const double wave =
        2 * std::numbers::pi * std::pow(base, static_cast<double>(i) / static_cast<double>(head_dim));
    double divisor = 1;
    if (wave > old_context / low) {
      divisor = factor;
    } else if (wave >= old_context / high) {
      const double smooth = (old_context / wave - low) / (high - low);
      divisor = 1 / ((1 - smooth) / factor + smooth);
    }
    out.push_back(static_cast<float>(divisor));
  }
  return out;
}

/// sum of c[i] * x^i
template <std::size_t kN>
float polynomial(const float (&c)[kN], float x) {
  float sum = c[kN - 1];
  for (std::size_t i = kN - 1; i-- > 0;) sum = sum * x + c[i];
  return sum;
}

/// The quantile p of the standard normal distribution; -infinity for 0. In float32, as the reference of Gemma
/// 3n computes it and published files contain it: a rational approximation of the inverse error function
/// (that of MATLAB's and PyTorch's erfinv), then two Newton steps, which for 0.95 give a result two units in
/// the last place from the exact one. A more accurate formula would give different logits.
inline float normal_quantile(float p) {
  if (!(p > 0)) return -std::numeric_limits<float>::infinity();
  const float y = 2 * p - 1, distance = std::fabs(y);
  float x = 0;
  if (distance <= 0.7f) {
    constexpr float kOver[] = {0.886226899f, -1.645349621f, 0.914624893f, -0.140543331f};
    constexpr float kUnder[] = {1.0f, -2.118377725f, 1.442710462f, -0.329097515f, 0.012229801f};
    x = y * polynomial(kOver, y * y) / polynomial(kUnder, y * y);
  } else {
    constexpr float kOver[] = {-1.970840454f, -1.624906493f, 3.429567803f, 1.641345311f};
    constexpr float kUnder[] = {1.0f, 3.543889200f, 1.637067800f};
    const float z = std::sqrt(-std::log((1.0f - distance) / 2.0f));
    x = std::copysign(polynomial(kOver, z), y) / polynomial(kUnder, z);
  }
  const float slope = 2.0f / std::sqrt(std::numbers::pi_v<float>);
  for (int i = 0; i < 2; ++i) x -= (std::erf(x) - y) / (slope * std::exp(-x * x));
  return x * std::numbers::sqrt2_v<float>;
}

}  // namespace gemma::convert
