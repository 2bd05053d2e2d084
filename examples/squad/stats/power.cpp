#include "examples/squad/stats/power.hpp"

#include <cmath>

#include <boost/math/distributions/chi_squared.hpp>
#include <boost/math/distributions/non_central_chi_squared.hpp>
#include <boost/math/distributions/normal.hpp>

namespace gemma::squad::stats {
namespace math = boost::math;

namespace {

constexpr double kMost = 1e9;  // a larger number is no useful result

std::optional<std::size_t> whole(double n) {
  if (!(n < kMost)) return std::nullopt;
  return static_cast<std::size_t>(std::ceil(n));
}

}  // namespace

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
