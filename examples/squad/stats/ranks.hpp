// Mid-ranks, the size of ties, and Holm's correction, which all rank tests use.
// Invariant: ranks start at 1 and tied values share the mean of the ranks they cover, so ranks of n values
// sum to n (n + 1) / 2.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>
#include <span>
#include <vector>

namespace gemma::squad::stats {

struct Ranked {
  std::vector<double> ranks;  // [n], in the order of the values
  double ties = 0;            // sum of t^3 - t over groups of t equal values; 0 without ties
};

/// Relative difference up to which values are equal, as a fraction of the largest: an F1 of 1/3 may differ by
/// 2^-53, depending on the words it is computed from. Seconds are stored to a millionth, so measured values
/// never come this close.
inline constexpr double kRounding = 1e-12;

/// The largest magnitude of `values`, at least `least`.
inline double largest_size(std::span<const double> values, double least = 0) {
  for (const double value : values) least = std::max(least, std::fabs(value));
  return least;
}

/// Indices of `values`, the smallest value's first.
inline std::vector<std::size_t> sorted_order(std::span<const double> values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  return order;
}

/// Ranks of `values`, smallest first. Values within kRounding of each other, relative to `size` (or to the
/// largest magnitude, if that is more), are tied. Values must be finite.
inline Ranked rank(std::span<const double> values, double size = 0) {
  const double slack = kRounding * largest_size(values, size);
  const std::vector<std::size_t> order = sorted_order(values);
  Ranked out;
  out.ranks.resize(values.size());
  for (std::size_t i = 0; i < order.size();) {
    std::size_t end = i + 1;
    while (end < order.size() && values[order[end]] - values[order[i]] <= slack) ++end;
    const auto t = static_cast<double>(end - i);
    for (std::size_t j = i; j < end; ++j) {
      out.ranks[order[j]] = (static_cast<double>(i) + 1 + static_cast<double>(end)) / 2;
    }
    out.ties += t * t * t - t;
    i = end;
  }
  return out;
}

/// Holm (1979): p values adjusted for multiple tests, step-down, in the given order, at most 1.
inline std::vector<double> holm(std::span<const double> p) {
  const std::vector<std::size_t> order = sorted_order(p);
  std::vector<double> adjusted(p.size());
  double largest = 0;
  for (std::size_t i = 0; i < order.size(); ++i) {
    largest = std::max(largest, static_cast<double>(order.size() - i) * p[order[i]]);
    adjusted[order[i]] = std::min(largest, 1.0);
  }
  return adjusted;
}

}  // namespace gemma::squad::stats
