// The rank tests against published worked examples, the programs that people use (SciPy 1.10, scikit-posthocs
// 0.11), permutations counted one by one, and their own level under the null hypothesis.
#include "examples/squad/stats/rank_tests.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <gtest/gtest.h>

#include "examples/squad/random.hpp"
#include "examples/squad/stats/ranks.hpp"
#include "gguf/error.hpp"

namespace gemma::squad::stats {
namespace {

Columns transposed(const std::vector<std::vector<double>>& rows) {
  Columns columns(rows[0].size());
  for (const auto& row : rows) {
    for (std::size_t j = 0; j < row.size(); ++j) columns[j].push_back(row[j]);
  }
  return columns;
}

/// n questions, each ranking k models at random.
Columns null_ranks(std::size_t n, std::size_t k, SplitMix64& random) {
  Columns columns(k);
  std::vector<double> row(k);
  std::iota(row.begin(), row.end(), 1.0);
  for (std::size_t i = 0; i < n; ++i) {
    shuffle(row, random);
    for (std::size_t j = 0; j < k; ++j) columns[j].push_back(row[j]);
  }
  return columns;
}

// Times to round first base by three methods, 22 players: Hollander and Wolfe (1973), Table 1 of chapter 7
// (as in the documentation of R's friedman.test).
const Columns kRounding = transposed(
    {{5.40, 5.50, 5.55}, {5.85, 5.70, 5.75}, {5.20, 5.60, 5.50}, {5.55, 5.50, 5.40}, {5.90, 5.85, 5.70},
     {5.45, 5.55, 5.60}, {5.40, 5.40, 5.35}, {5.45, 5.50, 5.35}, {5.25, 5.15, 5.00}, {5.85, 5.80, 5.70},
     {5.25, 5.20, 5.10}, {5.65, 5.55, 5.45}, {5.60, 5.35, 5.45}, {5.05, 5.00, 4.95}, {5.50, 5.50, 5.40},
     {5.45, 5.55, 5.50}, {5.55, 5.55, 5.35}, {5.45, 5.50, 5.55}, {5.50, 5.45, 5.25}, {5.65, 5.60, 5.40},
     {5.70, 5.65, 5.55}, {6.30, 6.30, 6.25}});

// Twelve questions with ties, for figures of SciPy and scikit-posthocs.
const Columns kTied = transposed({{1, 2, 3},
                                  {1, 3, 2},
                                  {1.5, 1.5, 3},
                                  {2, 1, 3},
                                  {1, 2.5, 2.5},
                                  {3, 1, 2},
                                  {1, 2, 3},
                                  {2, 2, 2},
                                  {1, 3, 2},
                                  {1.5, 3, 1.5},
                                  {1, 2, 3},
                                  {2, 1, 3}});

TEST(Rank, MidRanksAndTies) {
  const std::vector<double> values = {3, 1, 3, 2, 3};
  const Ranked ranked = rank(values);
  EXPECT_EQ(ranked.ranks, (std::vector<double>{4, 1, 4, 2, 4}));
  EXPECT_EQ(ranked.ties, 24);
}

// F1 of a third comes out as 0.33333333333333337, 0.3333333333333333 or 0.33333333333333326, by how many
// words were in common with how many: one value, which rounding must not put in an order.
TEST(Rank, RoundingBreaksNoTie) {
  const double low = 0.33333333333333326, middle = 0.3333333333333333, high = 0.33333333333333337;
  const Ranked ranked = rank(std::vector<double>{high, 0.5, low, middle, 0.33333333});
  EXPECT_EQ(ranked.ranks, (std::vector<double>{3, 5, 3, 3, 1}));
  EXPECT_EQ(ranked.ties, 24);
  EXPECT_EQ(friedman({{low, low}, {middle, high}, {high, middle}}).p, 1);
  const Pair none = wilcoxon({{100 * low, 20}, {100 * high, 20}})[0];
  EXPECT_EQ(none.n, 0U);
  EXPECT_NE(0.3 - 0.2, 0.1);
  const Pair tied = wilcoxon({{0.3, 0.1, 0.7}, {0.2, 0, 0}})[0];  // two differences of one size
  EXPECT_FALSE(tied.exact);
}

// Holm (1979) by hand: 0.01 * 4, max(0.04, 0.02 * 3), max(0.06, 0.03 * 2), max(0.06, 0.04 * 1).
TEST(Holm, StepsDown) {
  const std::vector<double> adjusted = holm(std::vector<double>{0.03, 0.01, 0.04, 0.02});
  EXPECT_DOUBLE_EQ(adjusted[0], 0.06);
  EXPECT_DOUBLE_EQ(adjusted[1], 0.04);
  EXPECT_DOUBLE_EQ(adjusted[2], 0.06);
  EXPECT_DOUBLE_EQ(adjusted[3], 0.06);
  EXPECT_EQ(holm(std::vector<double>{0.9, 0.8})[0], 1);
}

// Mucociliary efficiency: Hollander and Wolfe (1973), p. 115; R's kruskal.test prints 0.77143, df 2, p 0.68.
TEST(KruskalWallis, HollanderAndWolfe) {
  const Omnibus test =
      kruskal_wallis({{2.9, 3.0, 2.5, 2.6, 3.2}, {3.8, 2.7, 4.0, 2.4}, {2.8, 3.4, 3.7, 2.2, 2.0}});
  EXPECT_NEAR(test.statistic, 0.77143, 5e-6);
  EXPECT_EQ(test.df, 2);
  EXPECT_NEAR(test.p, 0.68, 5e-5);
}

// The two examples in the documentation of scipy.stats.kruskal.
TEST(KruskalWallis, SciPysExamples) {
  Omnibus test = kruskal_wallis({{1, 3, 5, 7, 9}, {2, 4, 6, 8, 10}});
  EXPECT_NEAR(test.statistic, 0.2727272727272734, 1e-12);
  EXPECT_NEAR(test.p, 0.6015081344405895, 1e-12);
  test = kruskal_wallis({{1, 1, 1}, {2, 2, 2}, {2, 2}});
  EXPECT_NEAR(test.statistic, 7.0, 1e-12);
  EXPECT_NEAR(test.p, 0.0301973834223185, 1e-12);
  EXPECT_NEAR(test.effect, 1.0, 1e-12);  // epsilon squared of complete separation
}

TEST(KruskalWallis, AsSciPyWithTies) {
  const Omnibus test = kruskal_wallis(kTied);
  EXPECT_NEAR(test.statistic, 10.357905982905981, 1e-11);
  EXPECT_NEAR(test.p, 0.005633902071085455, 1e-13);
}

// The example in the documentation of scikit-posthocs' posthoc_dunn without its missing value (which that
// program counts into N); groups of unequal size.
TEST(Dunn, AsScikitPosthocsUnequalGroups) {
  const std::vector<Pair> pairs = dunn({{1, 2, 3, 5, 1}, {12, 31, 54}, {10, 12, 6, 74, 11}});
  ASSERT_EQ(pairs.size(), 3U);
  EXPECT_NEAR(pairs[0].p, 0.005747656586744, 1e-13);
  EXPECT_NEAR(pairs[1].p, 0.020309623487607, 1e-13);
  EXPECT_NEAR(pairs[2].p, 0.451954369267379, 1e-13);
  EXPECT_NEAR(pairs[0].p_holm, 0.017242969760232, 1e-13);
  EXPECT_NEAR(pairs[1].p_holm, 0.040619246975214, 1e-13);
  EXPECT_NEAR(pairs[2].p_holm, 0.451954369267379, 1e-13);
}

TEST(Dunn, AsScikitPosthocsWithTies) {
  const std::vector<Pair> pairs = dunn(kTied);
  EXPECT_NEAR(pairs[0].p, 0.104333022170639, 1e-13);
  EXPECT_NEAR(pairs[1].p, 0.00128942421015, 1e-13);
  EXPECT_NEAR(pairs[2].p, 0.110908550538602, 1e-13);
  EXPECT_NEAR(pairs[0].p_holm, 0.208666044341279, 1e-13);
  EXPECT_NEAR(pairs[1].p_holm, 0.003868272630449, 1e-13);
  EXPECT_LT(pairs[0].difference, 0);  // the first model ranks lower
}

// 3 x 60 values: untied N (N + 1) / 12 = 2715; the ranks 1, 2, 3 sixty times each give T = 301.592 and
// z = 6.690 x the difference of mean ranks.
TEST(Dunn, SixtyQuestionsOfThreeRanks) {
  const double n = 180;
  EXPECT_DOUBLE_EQ(n * (n + 1) / 12, 2715);
  SplitMix64 random(4);
  const Columns columns = null_ranks(60, 3, random);
  std::vector<double> all;
  for (const auto& column : columns) all.insert(all.end(), column.begin(), column.end());
  EXPECT_NEAR(rank(all).ties / (12 * (n - 1)), 301.592, 5e-4);
  for (const Pair& pair : dunn(columns)) {
    // a rank of 1, 2, 3 is a pooled mid-rank of 30.5, 90.5, 150.5
    EXPECT_NEAR(pair.z, 6.690 * pair.difference / 60, 2e-4 * std::fabs(pair.difference)) << pair.difference;
  }
}

// The variance in Dunn's z is that of a permutation: exact, counted over all 7! / ... assignments of tied
// values.
TEST(Dunn, VarianceIsThatOfAllPermutations) {
  std::vector<double> values = {1, 2, 2, 3, 5, 5, 5};
  const double na = 2, nb = 3;  // groups of 2, 3 and 2
  const Ranked ranked = rank(values);
  std::vector<std::size_t> order = {0, 1, 2, 3, 4, 5, 6};
  double sum = 0, squares = 0, count = 0;
  do {
    const auto r = [&](std::size_t i) { return ranked.ranks[order[i]]; };
    const double difference = (r(0) + r(1)) / na - (r(2) + r(3) + r(4)) / nb;
    sum += difference;
    squares += difference * difference;
    ++count;
  } while (std::next_permutation(order.begin(), order.end()));
  EXPECT_EQ(count, 5040);
  EXPECT_NEAR(sum, 0, 1e-9);
  const std::vector<Pair> pairs = dunn({{1, 2}, {2, 3, 5}, {5, 5}});
  const double z = ((1 + 2.5) / na - (2.5 + 4 + 6) / nb) / std::sqrt(squares / count);
  EXPECT_NEAR(pairs[0].z, z, 1e-12);
}

TEST(Friedman, HollanderAndWolfe) {
  const Omnibus test = friedman(kRounding);
  EXPECT_NEAR(test.statistic, 11.143, 5e-4);
  EXPECT_EQ(test.df, 2);
  EXPECT_NEAR(test.p, 0.003805, 5e-7);
  EXPECT_NEAR(test.effect, test.statistic / 44, 1e-15);
}

TEST(Friedman, AsSciPyWithTies) {
  const Omnibus test = friedman(kTied);
  EXPECT_NEAR(test.statistic, 7.024390243902439, 1e-12);
  EXPECT_NEAR(test.p, 0.029831359041139795, 1e-13);
}

TEST(Friedman, CompleteAgreementAndNone) {
  EXPECT_NEAR(friedman({{1, 1, 1, 1}, {2, 2, 2, 2}, {3, 3, 3, 3}}).effect, 1, 1e-15);
  const Omnibus none = friedman({{5, 5}, {5, 5}, {5, 5}});
  EXPECT_EQ(none.statistic, 0);
  EXPECT_EQ(none.p, 1);
}

// Over all (3!)^4 rankings of four questions, Q has exactly mean k - 1 and the tail that tables give:
// Q = 8 has 0.0046, Q >= 6.5 has 0.042 (Hollander and Wolfe, Table A.15, n = 4, k = 3).
TEST(Friedman, AllRankingsOfFourQuestions) {
  const std::vector<std::vector<double>> orders = {{1, 2, 3}, {1, 3, 2}, {2, 1, 3},
                                                   {2, 3, 1}, {3, 1, 2}, {3, 2, 1}};
  double sum = 0, at_65 = 0, at_8 = 0;
  for (std::size_t code = 0; code < 1296; ++code) {
    const Omnibus test = friedman(
        transposed({orders[code % 6], orders[code / 6 % 6], orders[code / 36 % 6], orders[code / 216]}));
    sum += test.statistic;
    at_65 += test.statistic > 6.5 - 1e-9;
    at_8 += test.statistic > 8 - 1e-9;
  }
  EXPECT_NEAR(sum / 1296, 2, 1e-12);
  EXPECT_NEAR(at_65 / 1296, 0.042, 5e-4);
  EXPECT_NEAR(at_8 / 1296, 0.0046, 5e-5);
}

// The example in the documentation of scikit-posthocs' posthoc_conover_friedman.
TEST(Conover, AsScikitPosthocs) {
  const Columns columns =
      transposed({{31, 27, 24}, {31, 28, 31}, {45, 29, 46}, {21, 18, 48}, {42, 36, 46}, {32, 17, 40}});
  EXPECT_NEAR(friedman(columns).statistic, 6.869565217391299, 1e-12);
  const std::vector<Pair> pairs = conover(columns);
  EXPECT_NEAR(pairs[0].p, 0.023251524593855, 1e-13);
  EXPECT_NEAR(pairs[1].p, 0.429486958863943, 1e-13);
  EXPECT_NEAR(pairs[2].p, 0.005732300257254, 1e-13);
  EXPECT_NEAR(pairs[0].p_holm, 0.04650304918771, 1e-13);
  EXPECT_NEAR(pairs[2].p_holm, 0.017196900771763, 1e-13);
}

TEST(Conover, AsScikitPosthocsWithTies) {
  const std::vector<Pair> pairs = conover(kTied);
  EXPECT_NEAR(pairs[0].p, 0.145630124349572, 1e-13);
  EXPECT_NEAR(pairs[1].p, 0.006336840539842, 1e-13);
  EXPECT_NEAR(pairs[1].p_holm, 0.019010521619525, 1e-13);
  EXPECT_NEAR(pairs[2].p_holm, 0.291260248699145, 1e-13);
}

TEST(Conover, EveryQuestionAlike) {
  const std::vector<Pair> pairs = conover({{1, 1, 1}, {2, 2, 2}, {2, 2, 2}});
  EXPECT_EQ(pairs[0].p, 0);
  EXPECT_EQ(pairs[2].p, 1);  // no difference at all
}

// Depression scale under a tranquilliser: Hollander and Wolfe (1973), p. 29; R's wilcox.test prints V = 40
// and p = 0.01953 one-sided.
TEST(Wilcoxon, HollanderAndWolfe) {
  const std::vector<Pair> pairs = wilcoxon({{1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30},
                                            {0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29}});
  EXPECT_TRUE(pairs[0].exact);
  EXPECT_EQ(pairs[0].statistic, 45 - 40);
  EXPECT_NEAR(pairs[0].p / 2, 0.01953, 5e-6);
  EXPECT_NEAR(pairs[0].effect, (40.0 - 5.0) / 45.0, 1e-15);
}

// Heights of cross- and self-fertilised maize (Darwin 1876), the example of scipy.stats.wilcoxon.
TEST(Wilcoxon, DarwinsMaize) {
  const std::vector<double> d = {6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75};
  const std::vector<Pair> pairs = wilcoxon({d, std::vector<double>(d.size(), 0)});
  EXPECT_EQ(pairs[0].statistic, 24);
  EXPECT_NEAR(pairs[0].p, 0.041259765625, 1e-15);
}

TEST(Wilcoxon, NormalApproximationAsSciPy) {
  const std::vector<Pair> pairs = wilcoxon(kTied);
  EXPECT_FALSE(pairs[0].exact);
  EXPECT_EQ(pairs[0].statistic, 15);
  EXPECT_NEAR(pairs[0].p, 0.19521006938475483, 1e-13);
  EXPECT_EQ(pairs[1].statistic, 3);
  EXPECT_NEAR(pairs[1].p, 0.011122511741423853, 1e-14);
  EXPECT_EQ(pairs[2].statistic, 14.5);
  EXPECT_NEAR(pairs[2].p, 0.17442738220249676, 1e-13);
}

TEST(Wilcoxon, ExactPIsThatOfAllSignPatterns) {
  SplitMix64 random(11);
  for (std::size_t n = 1; n <= 12; ++n) {
    std::vector<double> d(n);
    for (double& value : d) value = random.uniform() - 0.4;
    const Pair pair = wilcoxon({d, std::vector<double>(n, 0)})[0];
    std::vector<double> sizes(n);
    for (std::size_t i = 0; i < n; ++i) sizes[i] = std::fabs(d[i]);
    const Ranked ranked = rank(sizes);
    std::size_t as_extreme = 0;
    for (std::size_t signs = 0; signs < std::size_t{1} << n; ++signs) {
      double plus = 0, minus = 0;
      for (std::size_t i = 0; i < n; ++i) ((signs >> i & 1) != 0 ? plus : minus) += ranked.ranks[i];
      as_extreme += std::min(plus, minus) <= pair.statistic;
    }
    const double p = static_cast<double>(as_extreme) / static_cast<double>(std::size_t{1} << n);
    EXPECT_TRUE(pair.exact);
    EXPECT_NEAR(pair.p, std::min(1.0, p), 1e-12) << n;
  }
}

TEST(Wilcoxon, AllEqual) {
  const Pair pair = wilcoxon({{1, 2, 3}, {1, 2, 3}})[0];
  EXPECT_EQ(pair.p, 1);
  EXPECT_EQ(pair.n, 0U);
  EXPECT_EQ(pair.effect, 0);
}

// p values of the blocked tests against 20,000 permutations within the questions, at an effect in the middle.
TEST(BlockedTests, AgreeWithPermutationsWithinQuestions) {
  SplitMix64 random(21);
  Columns columns = null_ranks(40, 3, random);
  for (std::size_t i = 0; i < 18; ++i) {  // let the first model win some questions
    columns[0][i] = 1;
    columns[1][i] = 2 + static_cast<double>(i % 2);
    columns[2][i] = 3 - static_cast<double>(i % 2);
  }
  const double q = friedman(columns).statistic;
  const std::vector<Pair> pairs = conover(columns);
  constexpr int kRounds = 20000;
  int q_reached = 0, t_reached = 0;
  for (int round = 0; round < kRounds; ++round) {
    const Columns other = null_ranks(40, 3, random);
    q_reached += friedman(other).statistic >= q - 1e-9;
    t_reached += std::fabs(conover(other)[1].z) >= std::fabs(pairs[1].z) - 1e-9;
  }
  EXPECT_NEAR(friedman(columns).p, static_cast<double>(q_reached) / kRounds, 0.01);
  EXPECT_NEAR(pairs[1].p, static_cast<double>(t_reached) / kRounds, 0.01);
}

// The level of each test when the models do not differ: 60 questions, three ranks each, 20,000 experiments.
// The blocked tests keep their 5%; Dunn's, which takes ranks that sum to 6 for independent, rejects 11% of
// pairs.
TEST(BlockedTests, TypeOneErrorIsFivePercent) {
  SplitMix64 random(31);
  constexpr int kRounds = 20000;
  double q = 0, t = 0, w = 0, z = 0, family = 0;
  for (int round = 0; round < kRounds; ++round) {
    const Columns columns = null_ranks(60, 3, random);
    const bool overall = friedman(columns).p <= 0.05;
    q += overall;
    bool any = false;
    const std::vector<Pair> c = conover(columns), s = wilcoxon(columns), d = dunn(columns);
    for (std::size_t i = 0; i < 3; ++i) {
      t += c[i].p <= 0.05;
      w += s[i].p <= 0.05;
      z += d[i].p <= 0.05;
      any = any || c[i].p_holm <= 0.05;
    }
    family += overall && any;
  }
  EXPECT_NEAR(q / kRounds, 0.05, 0.01);
  EXPECT_NEAR(t / (3 * kRounds), 0.05, 0.01);
  EXPECT_NEAR(w / (3 * kRounds), 0.05, 0.01);
  // any pair at all, as the report decides (Friedman, then Conover with Holm): never above 5%, Holm is
  // conservative
  EXPECT_LE(family / kRounds, 0.05);
  EXPECT_GE(family / kRounds, 0.03);
  EXPECT_NEAR(z / (3 * kRounds), 0.11, 0.01);
  RecordProperty("friedman_percent", std::to_string(100 * q / kRounds));
  RecordProperty("conover_percent", std::to_string(100 * t / (3 * kRounds)));
  RecordProperty("wilcoxon_percent", std::to_string(100 * w / (3 * kRounds)));
  RecordProperty("decision_percent", std::to_string(100 * family / kRounds));
  RecordProperty("dunn_percent", std::to_string(100 * z / (3 * kRounds)));
}

TEST(RankTests, BadData) {
  EXPECT_THROW(friedman({{1, 2}}), Error);
  EXPECT_THROW(friedman({{1, 2}, {1}}), Error);
  EXPECT_THROW(conover({{1}, {2}}), Error);
  EXPECT_THROW(wilcoxon({{}, {}}), Error);
  EXPECT_THROW(kruskal_wallis({{1}, {}}), Error);
}

TEST(Pairs, AreFoundByTheirModels) {
  const std::vector<Pair> pairs = dunn({{1, 2}, {2, 3}, {3, 1}, {4, 5}, {5, 6}});
  ASSERT_EQ(pairs.size(), 10U);
  for (std::size_t i = 0; i < pairs.size(); ++i) EXPECT_EQ(pair_index(pairs[i].a, pairs[i].b, 5), i);
}

}  // namespace
}  // namespace gemma::squad::stats
