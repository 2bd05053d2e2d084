// The tail probabilities that the tests report, as plain functions, so that Boost.Math is compiled once.
// Invariant: thread-safe and pure; arguments outside a distribution's support give the limit (0 or 1).
#pragma once

namespace gemma::squad::stats {

/// P(|Z| > |z|) of a standard normal.
double normal_two_sided(double z);
/// z with P(Z <= z) = p, 0 < p < 1.
double normal_quantile(double p);
/// P(X > x) of chi-square with `df` > 0 degrees of freedom.
double chi_squared_upper(double x, double df);
/// The non-centrality at which a chi-square test with `df` degrees of freedom at level `alpha` has power
/// `power`.
double needed_noncentrality(double df, double alpha, double power);
/// P(|T| > |t|) of Student's t with `df` > 0; an infinite t gives 0.
double student_two_sided(double t, double df);

}  // namespace gemma::squad::stats
