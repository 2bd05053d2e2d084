// Mid-ranks, the size of ties, and Holm's correction, which all rank tests use.
// Invariant: ranks start at 1 and tied values share the mean of the ranks they cover, so ranks of n values
// sum to n (n + 1) / 2.
#pragma once

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
double largest_size(std::span<const double> values, double least = 0);

/// Ranks of `values`, smallest first. Values within kRounding of each other, relative to `size` (or to the
/// largest magnitude, if that is more), are tied. Values must be finite.
Ranked rank(std::span<const double> values, double size = 0);

/// Holm (1979): p values adjusted for multiple tests, step-down, in the given order, at most 1.
std::vector<double> holm(std::span<const double> p);

}  // namespace gemma::squad::stats
