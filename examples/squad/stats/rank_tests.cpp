#include "examples/squad/stats/rank_tests.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include <boost/math/distributions/chi_squared.hpp>
#include <boost/math/distributions/non_central_chi_squared.hpp>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>

#include "examples/squad/stats/ranks.hpp"
#include "gguf/error.hpp"

namespace gemma::squad::stats {
namespace {

namespace math = boost::math;

constexpr std::size_t kExactLimit = 50;  // 2^50 sign patterns are still counted exactly in a double
constexpr double kMostQuestions = 1e9;   // a larger number is no useful result

double real(std::size_t n) {
  return static_cast<double>(n);
}

/// P(|X| > |x|) of a distribution that is symmetric around 0; 0 for an infinite x.
template <typename Distribution>
double two_sided(const Distribution& distribution, double x) {
  return std::isinf(x) ? 0 : 2 * math::cdf(math::complement(distribution, std::fabs(x)));
}

/// P(X > x) of chi-square with `df` > 0 degrees of freedom; 1 for x <= 0.
double chi_squared_upper(double x, double df) {
  return x <= 0 ? 1 : math::cdf(math::complement(math::chi_squared(df), x));
}

void check(const Columns& columns, bool blocked) {
  if (columns.size() < 2) throw Error(ErrorCode::kInvalidArgument, "a comparison needs at least two models");
  for (const auto& column : columns) {
    if (column.empty())
      throw Error(ErrorCode::kInvalidArgument, "a comparison needs at least one value per model");
    if (blocked && column.size() != columns[0].size()) {
      throw Error(ErrorCode::kInvalidArgument,
                  "a blocked comparison needs the same questions for each model");
    }
  }
}

template <typename Test>
std::vector<Pair> every_pair(std::size_t k, Test test) {
  std::vector<Pair> pairs;
  std::vector<double> p;
  for (std::size_t a = 0; a < k; ++a) {
    for (std::size_t b = a + 1; b < k; ++b) {
      pairs.push_back(test(a, b));
      pairs.back().a = a;
      pairs.back().b = b;
      p.push_back(pairs.back().p);
    }
  }
  const std::vector<double> adjusted = holm(p);
  for (std::size_t i = 0; i < pairs.size(); ++i) pairs[i].p_holm = adjusted[i];
  return pairs;
}

/// All values ranked together.
struct Pooled {
  std::vector<double> mean_rank;  // [k]
  double n = 0;
  double ties = 0;
  double between = 0;  // sum over models of (rank sum)^2 / size
};

Pooled pool(const Columns& columns) {
  std::vector<double> all;
  for (const auto& column : columns) all.insert(all.end(), column.begin(), column.end());
  const Ranked ranked = rank(all);
  Pooled out;
  out.n = real(all.size());
  out.ties = ranked.ties;
  std::size_t at = 0;
  for (const auto& column : columns) {
    double sum = 0;
    for (std::size_t i = 0; i < column.size(); ++i) sum += ranked.ranks[at++];
    out.mean_rank.push_back(sum / real(column.size()));
    out.between += sum * sum / real(column.size());
  }
  return out;
}

/// Values ranked within each question.
struct Blocked {
  std::vector<double> rank_sum;  // [k]
  double n = 0, k = 0;
  double squares = 0;  // sum of all squared ranks
  double ties = 0;
};

Blocked rank_blocks(const Columns& columns) {
  Blocked out;
  out.k = real(columns.size());
  out.n = real(columns[0].size());
  out.rank_sum.assign(columns.size(), 0);
  std::vector<double> row(columns.size());
  for (std::size_t i = 0; i < columns[0].size(); ++i) {
    for (std::size_t j = 0; j < row.size(); ++j) row[j] = columns[j][i];
    const Ranked ranked = rank(row);
    out.ties += ranked.ties;
    for (std::size_t j = 0; j < row.size(); ++j) {
      out.rank_sum[j] += ranked.ranks[j];
      out.squares += ranked.ranks[j] * ranked.ranks[j];
    }
  }
  return out;
}

/// P(W+ <= w) for n untied non-zero differences: sign patterns counted by their rank sum.
double signed_rank_lower(std::size_t n, double w) {
  std::vector<double> count(n * (n + 1) / 2 + 1, 0);
  count[0] = 1;
  std::size_t largest = 0;
  for (std::size_t r = 1; r <= n; ++r) {
    for (std::size_t s = largest + 1; s-- > 0;) count[s + r] += count[s];
    largest += r;
  }
  double below = 0;
  for (std::size_t s = 0; s <= static_cast<std::size_t>(w); ++s) below += count[s];
  return std::ldexp(below, -static_cast<int>(n));
}

Pair signed_rank(const std::vector<double>& a, const std::vector<double>& b) {
  const double size = largest_size(a, largest_size(b));  // rounding is relative to it
  std::vector<double> differences, sizes;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::fabs(a[i] - b[i]) <= kRounding * size) continue;
    differences.push_back(a[i] - b[i]);
    sizes.push_back(std::fabs(a[i] - b[i]));
  }
  Pair pair;
  pair.n = differences.size();
  if (differences.empty()) return pair;
  const Ranked ranked = rank(sizes, size);
  double plus = 0, minus = 0;
  for (std::size_t i = 0; i < differences.size(); ++i) (differences[i] > 0 ? plus : minus) += ranked.ranks[i];
  const double n = real(pair.n);
  const double variance = n * (n + 1) * (2 * n + 1) / 24 - ranked.ties / 48;
  pair.statistic = std::min(plus, minus);
  pair.z = (plus - n * (n + 1) / 4) / std::sqrt(variance);
  pair.effect = (plus - minus) / (plus + minus);
  pair.exact = ranked.ties == 0 && pair.n == a.size() && pair.n <= kExactLimit;
  pair.p = pair.exact ? std::min(1.0, 2 * signed_rank_lower(pair.n, pair.statistic))
                      : two_sided(math::normal(), pair.z);
  return pair;
}

std::optional<std::size_t> whole(double n) {
  if (!(n < kMostQuestions)) return std::nullopt;
  return static_cast<std::size_t>(std::ceil(n));
}

}  // namespace

Omnibus kruskal_wallis(const Columns& columns) {
  check(columns, false);
  const Pooled pooled = pool(columns);
  Omnibus out;
  out.df = real(columns.size()) - 1;
  const double n = pooled.n;
  const double correction = 1 - pooled.ties / (n * n * n - n);
  if (n < 2 || correction <= 0) return out;
  out.statistic = (12 / (n * (n + 1)) * pooled.between - 3 * (n + 1)) / correction;
  out.p = chi_squared_upper(out.statistic, out.df);
  out.effect = out.statistic / (n - 1);
  return out;
}

std::vector<Pair> dunn(const Columns& columns) {
  check(columns, false);
  const Pooled pooled = pool(columns);
  const double n = pooled.n;
  const double variance = n * (n + 1) / 12 - (n > 1 ? pooled.ties / (12 * (n - 1)) : 0);
  return every_pair(columns.size(), [&](std::size_t a, std::size_t b) {
    Pair pair;
    pair.difference = pooled.mean_rank[a] - pooled.mean_rank[b];
    if (pair.difference == 0) return pair;
    pair.z =
        pair.difference / std::sqrt(variance * (1 / real(columns[a].size()) + 1 / real(columns[b].size())));
    pair.statistic = std::fabs(pair.z);
    pair.p = two_sided(math::normal(), pair.z);
    return pair;
  });
}

Omnibus friedman(const Columns& columns) {
  check(columns, true);
  const Blocked blocks = rank_blocks(columns);
  Omnibus out;
  out.df = blocks.k - 1;
  const double correction = 1 - blocks.ties / (blocks.n * blocks.k * (blocks.k * blocks.k - 1));
  if (correction <= 0) return out;
  double spread = 0;  // sum of (R_j - n (k + 1) / 2)^2
  for (const double sum : blocks.rank_sum) {
    const double difference = sum - blocks.n * (blocks.k + 1) / 2;
    spread += difference * difference;
  }
  out.statistic = 12 * spread / (blocks.n * blocks.k * (blocks.k + 1)) / correction;
  out.p = chi_squared_upper(out.statistic, out.df);
  out.effect = out.statistic / (blocks.n * (blocks.k - 1));
  return out;
}

std::vector<Pair> conover(const Columns& columns) {
  check(columns, true);
  const Blocked blocks = rank_blocks(columns);
  const double n = blocks.n, k = blocks.k, df = (n - 1) * (k - 1);
  if (df <= 0) throw Error(ErrorCode::kInvalidArgument, "Conover's test needs at least two questions");
  // 2 (n A - sum R^2) / ((n - 1)(k - 1)), where A is the sum of squared ranks: the variation within questions
  double squared_sums = 0;
  for (const double r : blocks.rank_sum) squared_sums += r * r;
  const double within = std::max(0.0, 2 * (n * blocks.squares - squared_sums) / df);
  return every_pair(columns.size(), [&](std::size_t a, std::size_t b) {
    Pair pair;
    const double difference = blocks.rank_sum[a] - blocks.rank_sum[b];
    pair.difference = difference / n;
    if (difference == 0) return pair;
    pair.z = within > 0 ? difference / std::sqrt(within)
                        : std::copysign(std::numeric_limits<double>::infinity(), difference);
    pair.statistic = std::fabs(pair.z);
    pair.p = two_sided(math::students_t(df), pair.z);
    return pair;
  });
}

std::vector<Pair> wilcoxon(const Columns& columns) {
  check(columns, true);
  const Blocked blocks = rank_blocks(columns);
  return every_pair(columns.size(), [&](std::size_t a, std::size_t b) {
    Pair pair = signed_rank(columns[a], columns[b]);
    pair.difference = (blocks.rank_sum[a] - blocks.rank_sum[b]) / blocks.n;
    return pair;
  });
}

double needed_noncentrality(double df, double alpha, double power) {
  const double critical = math::quantile(math::complement(math::chi_squared(df), alpha));
  return math::non_central_chi_squared::find_non_centrality(math::complement(df, critical, power));
}

std::optional<std::size_t> questions_for_friedman(const Omnibus& friedman, std::size_t k, std::size_t n) {
  const double df = static_cast<double>(k) - 1;
  const double per_question = (friedman.statistic - df) / static_cast<double>(n);
  if (!(per_question > 0)) return std::nullopt;
  return whole(needed_noncentrality(df, kAlpha, kPower) / per_question);
}

std::optional<std::size_t> questions_for_wilcoxon(double z, std::size_t n, double alpha) {
  if (z == 0) return std::nullopt;
  const double ratio =
      (math::quantile(math::normal(), 1 - alpha / 2) + math::quantile(math::normal(), kPower)) / z;
  return whole(static_cast<double>(n) * ratio * ratio);
}

}  // namespace gemma::squad::stats
