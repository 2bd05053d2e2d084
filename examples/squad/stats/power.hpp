// How many questions are needed to distinguish models.
// Invariant: assumes that the true difference is the observed one; if there is none, there is no number.
#pragma once

#include <cstddef>
#include <optional>

#include "examples/squad/stats/rank_tests.hpp"

namespace gemma::squad::stats {

inline constexpr double kAlpha = 0.05;
inline constexpr double kPower = 0.80;

/// The non-centrality with which a chi-square test of `df` degrees of freedom at `alpha` has that power.
double needed_noncentrality(double df, double alpha, double power);

/// The number of questions with which Friedman's test over k models at level kAlpha has power kPower.
/// Friedman's Q has mean k - 1 + lambda, where lambda grows with the number of questions; lambda / n is
/// estimated by (Q - (k - 1)) / n. Returns nullopt if that is not positive (no difference beyond chance).
std::optional<std::size_t> questions_for_friedman(const Omnibus& friedman, std::size_t k, std::size_t n);

/// The number of questions with which Wilcoxon's signed-rank test of one pair has power kPower at level
/// `alpha` (for m pairs under Holm the first step: kAlpha / m). Noether (1987): its deviate z grows with the
/// square root of n, so n ((z_(1 - alpha / 2) + z_power) / z)^2; without ties this is his (z + z)^2 / (3 (p'
/// - 1/2)^2). Returns nullopt if z = 0.
std::optional<std::size_t> questions_for_wilcoxon(double z, std::size_t n, double alpha);

}  // namespace gemma::squad::stats
