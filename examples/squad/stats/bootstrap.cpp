#include "examples/squad/stats/bootstrap.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>
#include <vector>

#include "examples/squad/random.hpp"
#include "gguf/error.hpp"

namespace gemma::squad::stats {

double sorted_quantile(std::span<const double> sorted, double q) {
  if (sorted.empty()) return std::numeric_limits<double>::quiet_NaN();
  const double at = q * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(at);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (at - std::floor(at)) * (sorted[above] - sorted[below]);
}

Interval bootstrap_mean(std::span<const double> values, std::span<const std::size_t> clusters,
                        std::uint64_t seed, std::size_t resamples) {
  if (!clusters.empty() && clusters.size() != values.size()) {
    throw Error(ErrorCode::kInvalidArgument, "a bootstrap needs the passage of each value");
  }
  if (values.empty()) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    return {nan, nan, nan};
  }
  struct Sum {
    double total = 0;
    double n = 0;
  };
  // with a single passage, draw questions instead: drawing passages would give a point
  const bool by_value =
      std::all_of(clusters.begin(), clusters.end(), [&](std::size_t c) { return c == clusters[0]; });
  std::vector<Sum> sums;  // one per cluster, in order of first appearance
  std::unordered_map<std::size_t, std::size_t> place;
  Sum all;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t cluster = by_value ? i : clusters[i];
    const auto [found, is_new] = place.try_emplace(cluster, sums.size());
    if (is_new) sums.emplace_back();
    sums[found->second].total += values[i];
    sums[found->second].n += 1;
    all.total += values[i];
    all.n += 1;
  }
  SplitMix64 random(seed);
  std::vector<double> means(resamples);
  for (double& mean : means) {
    Sum drawn;
    for (std::size_t i = 0; i < sums.size(); ++i) {
      const Sum& one = sums[static_cast<std::size_t>(below(sums.size(), random))];
      drawn.total += one.total;
      drawn.n += one.n;
    }
    mean = drawn.total / drawn.n;
  }
  std::sort(means.begin(), means.end());
  return {all.total / all.n, sorted_quantile(means, 0.025), sorted_quantile(means, 0.975)};
}

}  // namespace gemma::squad::stats
