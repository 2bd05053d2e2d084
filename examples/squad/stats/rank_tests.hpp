// Rank tests between k models: Kruskal-Wallis and Dunn (which assume independent answers, as in the article),
// Friedman, Conover and Wilcoxon (which compare within each question); and the questions that they need.
// Invariant: data is one column per model; the blocked tests need columns of the same length, where row i is
// question i. Values that differ only by rounding are equal (ranks.hpp). All p values are two-sided; all
// functions throw gemma::Error (invalid_argument) for fewer than 2 columns or an empty one.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

namespace gemma::squad::stats {

using Columns = std::vector<std::vector<double>>;  // [k models][n values]

/// A test over all models at once.
struct Omnibus {
  double statistic = 0;
  double df = 0;
  double p = 1;
  double effect = 0;  // 0: none, 1: complete
};

/// A test of two models, a < b. Pairs come as (0, 1), (0, 2), ..., (1, 2), ...
struct Pair {
  std::size_t a = 0, b = 0;
  double difference = 0;  // mean rank of a minus that of b
  double statistic = 0;   // z or t, not negative; Wilcoxon: the smaller rank sum
  double z = 0;           // Wilcoxon: the signed normal deviate; else the signed `statistic`
  double p = 1;
  double p_holm = 1;
  double effect = 0;   // Wilcoxon: matched-pairs rank-biserial correlation, > 0 if a is larger; else 0
  bool exact = false;  // Wilcoxon: p from the exact distribution
  std::size_t n = 0;   // Wilcoxon: pairs that differ
};

/// The place of the pair a < b among all pairs of k models.
constexpr std::size_t pair_index(std::size_t a, std::size_t b, std::size_t k) noexcept {
  return a * (2 * k - a - 1) / 2 + b - a - 1;
}

/// Kruskal and Wallis (1952), corrected for ties; chi-square with k - 1 degrees of freedom.
/// effect: epsilon squared, H / (N - 1) (Tomczak and Tomczak 2014). All values equal: H = 0, p = 1.
Omnibus kruskal_wallis(const Columns& columns);

/// Dunn (1964) with the correction for ties of Glantz (2012), as scikit-posthocs' posthoc_dunn: pooled
/// mid-ranks, z = |difference| / sqrt((N (N + 1) / 12 - T) (1 / n_a + 1 / n_b)), T = ties / (12 (N - 1)),
/// two-sided normal, Holm.
std::vector<Pair> dunn(const Columns& columns);

/// Friedman (1937), corrected for ties; chi-square with k - 1 degrees of freedom.
/// effect: Kendall's W = Q / (n (k - 1)). All questions tied throughout: Q = 0, p = 1.
Omnibus friedman(const Columns& columns);

/// Conover and Iman (1979) after Friedman, as scikit-posthocs' posthoc_conover_friedman (Conover 1999,
/// section 5.8): Student's t with (n - 1)(k - 1) degrees of freedom on the rank sums, Holm. n >= 2. Where
/// every question orders the models alike, the statistic of unequal models is infinite and p = 0.
std::vector<Pair> conover(const Columns& columns);

/// Wilcoxon's (1945) signed-rank test of every pair, Holm. Questions with equal values are dropped
/// (Wilcoxon's own way). p is exact if no question was dropped, there are no ties and at most 50 questions;
/// else from the normal approximation corrected for ties, without continuity correction (the defaults of
/// SciPy and R, except R's continuity correction).
std::vector<Pair> wilcoxon(const Columns& columns);

// How many questions distinguish models whose true difference is the observed one.

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
