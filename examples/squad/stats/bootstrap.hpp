// Seeded bootstrap intervals of means, by passage.
// Invariant: the interval depends on the data and the seed alone.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace gemma::squad::stats {

struct Interval {
  double mean = 0;
  double low = 0;
  double high = 0;
};

inline constexpr std::size_t kResamples = 1000;

/// Mean of `values` with its 95% percentile interval (Efron 1979; quantiles interpolated linearly, as
/// seaborn's bars). `clusters` gives each value's passage: whole passages are drawn with replacement, because
/// questions about one text are not independent. With one question per passage, a single passage, or an empty
/// `clusters`, this is the ordinary bootstrap. An empty `values` gives NaN. Throws gemma::Error
/// (invalid_argument) when the lengths differ.
Interval bootstrap_mean(std::span<const double> values, std::span<const std::size_t> clusters,
                        std::uint64_t seed, std::size_t resamples = kResamples);

/// Quantile q in [0, 1] of sorted values, linear between order statistics (NumPy's default).
double sorted_quantile(std::span<const double> sorted, double q);

}  // namespace gemma::squad::stats
