// Numbers that a checkpoint gives by other numbers.
#pragma once

#include <cmath>
#include <cstddef>
#include <limits>
#include <numbers>
#include <vector>

#include "examples/convert/settings.hpp"

namespace gemma::convert {

/// Llama 3.1's divisors of the frequencies: those of long waves are slowed down by `factor`, between two
/// lengths gradually.
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

/// The x below which a standard normal number is with probability p; -infinity for 0. Newton's method on the
/// error function, from 0: its steps never overshoot towards the far side.
inline double normal_quantile(double p) {
  if (p <= 0) return -std::numeric_limits<double>::infinity();
  if (p > 0.5) return -normal_quantile(1 - p);  // where the tail keeps its digits
  double x = 0;
  for (int i = 0; i < 100; ++i) {
    const double below = 0.5 * std::erfc(-x / std::numbers::sqrt2);
    const double density = std::exp(-0.5 * x * x) / std::sqrt(2 * std::numbers::pi);
    const double step = (below - p) / density;
    x -= std::fmin(step, 1.0);
    if (std::fabs(step) < 1e-15) break;
  }
  return x;
}

}  // namespace gemma::convert
