#include "examples/squad/stats/ranks.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numeric>

namespace gemma::squad::stats {
namespace {

/// Indices of `values`, the smallest value's first.
std::vector<std::size_t> sorted_order(std::span<const double> values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  return order;
}

}  // namespace

double largest_size(std::span<const double> values, double least) {
  for (const double value : values) least = std::max(least, std::fabs(value));
  return least;
}

Ranked rank(std::span<const double> values, double size) {
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

std::vector<double> holm(std::span<const double> p) {
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
