// Intervals and sample sizes, checked by what they promise: coverage and power in simulation.
#include "examples/squad/stats/bootstrap.hpp"

#include <cmath>
#include <vector>

#include <gtest/gtest.h>

#include "examples/squad/random.hpp"
#include "examples/squad/stats/rank_tests.hpp"
#include "gguf/error.hpp"

namespace gemma::squad::stats {
namespace {

TEST(Quantile, LinearAsNumPy) {
  const std::vector<double> sorted = {1, 2, 3, 4};
  EXPECT_DOUBLE_EQ(sorted_quantile(sorted, 0.5), 2.5);
  EXPECT_DOUBLE_EQ(sorted_quantile(sorted, 0.025), 1.075);
  EXPECT_DOUBLE_EQ(sorted_quantile(sorted, 1), 4);
  EXPECT_DOUBLE_EQ(sorted_quantile(std::vector<double>{7}, 0.3), 7);
}

TEST(Bootstrap, SameSeedSameInterval) {
  std::vector<double> values;
  SplitMix64 random(3);
  for (int i = 0; i < 60; ++i) values.push_back(random.uniform());
  const Interval a = bootstrap_mean(values, {}, 1), b = bootstrap_mean(values, {}, 1),
                 c = bootstrap_mean(values, {}, 2);
  EXPECT_EQ(a.low, b.low);
  EXPECT_EQ(a.high, b.high);
  EXPECT_NE(a.low, c.low);
  EXPECT_LT(a.low, a.mean);
  EXPECT_GT(a.high, a.mean);
}

// For a mean of 400 values the percentile interval is close to mean +- 1.96 standard errors.
TEST(Bootstrap, MatchesTheNormalIntervalOfALargeSample) {
  std::vector<double> values;
  SplitMix64 random(5);
  double sum = 0, squares = 0;
  for (int i = 0; i < 400; ++i) {
    values.push_back(random.uniform());
    sum += values.back();
    squares += values.back() * values.back();
  }
  const double error = std::sqrt((squares / 400 - sum / 400 * sum / 400) / 400);
  const Interval interval = bootstrap_mean(values, {}, 1, 20000);
  EXPECT_NEAR(interval.low, sum / 400 - 1.96 * error, 0.1 * error);
  EXPECT_NEAR(interval.high, sum / 400 + 1.96 * error, 0.1 * error);
}

TEST(Bootstrap, CoversTheTruth) {
  SplitMix64 random(6);
  int covered = 0;
  constexpr int kRounds = 1000;
  for (int round = 0; round < kRounds; ++round) {
    std::vector<double> values;
    for (int i = 0; i < 60; ++i) values.push_back(random.uniform());
    const Interval interval = bootstrap_mean(values, {}, random.next(), 400);
    covered += interval.low <= 0.5 && 0.5 <= interval.high;
  }
  EXPECT_NEAR(covered / 1000.0, 0.95, 0.025);
}

// Ten questions per passage that all score alike are worth one: the interval is sqrt(10) times wider than it
// would be for independent questions.
TEST(Bootstrap, PassagesAreDrawnWhole) {
  std::vector<double> values;
  std::vector<std::size_t> passages;
  SplitMix64 random(8);
  for (std::size_t p = 0; p < 60; ++p) {
    const double value = random.uniform();
    for (int i = 0; i < 10; ++i) {
      values.push_back(value);
      passages.push_back(p);
    }
  }
  const Interval by_passage = bootstrap_mean(values, passages, 1, 4000),
                 alone = bootstrap_mean(values, {}, 1, 4000);
  EXPECT_NEAR((by_passage.high - by_passage.low) / (alone.high - alone.low), std::sqrt(10.0), 0.25);
  EXPECT_EQ(by_passage.mean, alone.mean);
}

// With all questions about one passage, drawing passages would give the mean every time.
TEST(Bootstrap, OnePassageIsNoCertainty) {
  const std::vector<double> values = {0, 1, 0, 1, 1, 0, 1, 0};
  const Interval one = bootstrap_mean(values, std::vector<std::size_t>(8, 3), 1),
                 alone = bootstrap_mean(values, {}, 1);
  EXPECT_LT(one.low, one.high);
  EXPECT_EQ(one.low, alone.low);
  EXPECT_EQ(one.high, alone.high);
}

TEST(Bootstrap, EmptyAndBad) {
  EXPECT_TRUE(std::isnan(bootstrap_mean({}, {}, 1).mean));
  EXPECT_THROW(bootstrap_mean(std::vector<double>{1, 2}, std::vector<std::size_t>{1}, 1), Error);
}

// Non-centralities of 80% power at 5%: 7.849, 9.635 and 10.903 for 1, 2 and 3 degrees of freedom (tables of
// the non-central chi-square distribution; SciPy's ncx2 gives the further digits).
TEST(Power, Noncentrality) {
  EXPECT_NEAR(needed_noncentrality(1, 0.05, 0.80), 7.848860509326206, 1e-8);
  EXPECT_NEAR(needed_noncentrality(2, 0.05, 0.80), 9.634688867970246, 1e-8);
  EXPECT_NEAR(needed_noncentrality(3, 0.05, 0.80), 10.902563290133267, 1e-8);
}

/// Questions in which the first of three models is `lift` more likely than chance to come out first.
Columns lifted_ranks(std::size_t n, double lift, SplitMix64& random) {
  Columns columns(3);
  std::vector<double> row(3);
  for (std::size_t i = 0; i < n; ++i) {
    row = {1, 2, 3};
    if (random.uniform() < lift) {
      if (below(2, random) == 1) std::swap(row[1], row[2]);
    } else {
      shuffle(row, random);
    }
    for (std::size_t j = 0; j < 3; ++j) columns[j].push_back(row[j]);
  }
  return columns;
}

double power_at(std::size_t n, double lift, bool overall, double alpha, SplitMix64& random) {
  int rejected = 0;
  constexpr int kRounds = 3000;
  for (int round = 0; round < kRounds; ++round) {
    const Columns columns = lifted_ranks(n, lift, random);
    rejected += overall ? friedman(columns).p <= alpha : wilcoxon(columns)[0].p <= alpha;
  }
  return static_cast<double>(rejected) / kRounds;
}

/// The same distribution as proportions of 60,000 questions, so that the effect is known and not estimated.
Columns lifted_population(double lift) {
  const std::vector<std::vector<double>> orders = {{1, 2, 3}, {1, 3, 2}, {2, 1, 3},
                                                   {2, 3, 1}, {3, 1, 2}, {3, 2, 1}};
  Columns columns(3);
  for (std::size_t o = 0; o < orders.size(); ++o) {
    const auto n = static_cast<std::size_t>(std::lround(60000 * ((1 - lift) / 6 + (o < 2 ? lift / 2 : 0))));
    for (std::size_t j = 0; j < 3; ++j) columns[j].insert(columns[j].end(), n, orders[o][j]);
  }
  return columns;
}

// With the number of questions that the effect asks for, the test has the promised power.
TEST(Power, TheNumberOfQuestionsKeepsItsPromise) {
  SplitMix64 random(9);
  for (const double lift : {0.15, 0.30}) {
    const Columns all = lifted_population(lift);
    ASSERT_EQ(all[0].size(), 60000U);
    const auto overall = questions_for_friedman(friedman(all), 3, 60000);
    ASSERT_TRUE(overall.has_value());
    EXPECT_NEAR(power_at(*overall, lift, true, kAlpha, random), 0.80, 0.03) << *overall;
    const auto pair = questions_for_wilcoxon(wilcoxon(all)[0].z, 60000, kAlpha / 3);
    ASSERT_TRUE(pair.has_value());
    EXPECT_NEAR(power_at(*pair, lift, false, kAlpha / 3, random), 0.80, 0.03) << *pair;
  }
}

TEST(Power, NoDifferenceNoNumber) {
  EXPECT_FALSE(questions_for_wilcoxon(0, 60, 0.05).has_value());
  EXPECT_FALSE(questions_for_friedman({1.9, 2, 0.4, 0.01}, 3, 60).has_value());
  EXPECT_TRUE(questions_for_friedman({2.1, 2, 0.4, 0.01}, 3, 60).has_value());
}

}  // namespace
}  // namespace gemma::squad::stats
