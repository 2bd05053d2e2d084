#include "examples/squad/stats/distributions.hpp"

#include <cmath>

#include <boost/math/distributions/chi_squared.hpp>
#include <boost/math/distributions/non_central_chi_squared.hpp>
#include <boost/math/distributions/normal.hpp>
#include <boost/math/distributions/students_t.hpp>

namespace gemma::squad::stats {
namespace math = boost::math;

double normal_two_sided(double z) {
  if (std::isinf(z)) return 0;
  return 2 * math::cdf(math::complement(math::normal(), std::fabs(z)));
}

double normal_quantile(double p) {
  return math::quantile(math::normal(), p);
}

double chi_squared_upper(double x, double df) {
  if (x <= 0) return 1;
  if (std::isinf(x)) return 0;
  return math::cdf(math::complement(math::chi_squared(df), x));
}

double needed_noncentrality(double df, double alpha, double power) {
  const double critical = math::quantile(math::complement(math::chi_squared(df), alpha));
  return math::non_central_chi_squared::find_non_centrality(math::complement(df, critical, power));
}

double student_two_sided(double t, double df) {
  if (std::isinf(t)) return 0;
  return 2 * math::cdf(math::complement(math::students_t(df), std::fabs(t)));
}

}  // namespace gemma::squad::stats
