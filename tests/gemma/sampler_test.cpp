// Samplers: distributions, seeds, and logits that are NaN or infinite.
#include "gemma/sampler.hpp"

#include <cmath>
#include <limits>
#include <map>
#include <vector>

#include <gtest/gtest.h>

namespace gemma {
namespace {

std::map<std::int32_t, double> frequencies(const SamplerOptions& options, const std::vector<float>& logits,
                                           int n) {
  Sampler sampler(options);
  std::map<std::int32_t, double> out;
  for (int i = 0; i < n; ++i) out[sampler.sample(logits)] += 1.0 / n;
  return out;
}

const std::vector<float> kLogits = {std::log(0.1f), std::log(0.5f), std::log(0.15f), std::log(0.25f)};

TEST(Sampler, GreedyTakesTheFirstOfTheLargest) {
  Sampler s;
  EXPECT_EQ(s.sample(kLogits), 1);
  EXPECT_EQ(s.sample(std::vector<float>{3, 7, 7, 1}), 1);
}

TEST(Sampler, TemperatureOneDrawsTheSoftmax) {
  const auto f = frequencies({.temperature = 1.0f, .seed = 3}, kLogits, 40000);
  EXPECT_NEAR(f.at(0), 0.10, 0.01);
  EXPECT_NEAR(f.at(1), 0.50, 0.01);
  EXPECT_NEAR(f.at(2), 0.15, 0.01);
  EXPECT_NEAR(f.at(3), 0.25, 0.01);
}

TEST(Sampler, TemperatureSharpens) {
  const auto f = frequencies({.temperature = 0.5f, .seed = 3}, kLogits, 40000);
  const double sum = 0.01 + 0.25 + 0.0225 + 0.0625;  // squares
  EXPECT_NEAR(f.at(1), 0.25 / sum, 0.01);
  EXPECT_NEAR(f.at(3), 0.0625 / sum, 0.01);
}

TEST(Sampler, TopKTopPMinPCut) {
  EXPECT_EQ(frequencies({.temperature = 1.0f, .top_k = 2}, kLogits, 2000).size(), 2u);
  // 0.5 + 0.25 reaches 0.7: two tokens; 0.76 needs a third
  EXPECT_EQ(frequencies({.temperature = 1.0f, .top_p = 0.7f}, kLogits, 2000).size(), 2u);
  EXPECT_EQ(frequencies({.temperature = 1.0f, .top_p = 0.76f}, kLogits, 2000).size(), 3u);
  // at least 0.4 of 0.5: 0.5 and 0.25
  EXPECT_EQ(frequencies({.temperature = 1.0f, .min_p = 0.4f}, kLogits, 2000).size(), 2u);
  EXPECT_EQ(frequencies({.temperature = 5.0f, .top_p = 0.01f}, kLogits, 200).size(), 1u);
}

TEST(Sampler, PenaltyMakesRecentTokensLessLikely) {
  Sampler s({.repeat_penalty = 2.0f, .repeat_last = 2});
  const std::vector<float> logits = {5.0f, 8.0f, 6.0f, -1.0f};
  EXPECT_EQ(s.sample(logits), 1);  // 8
  EXPECT_EQ(s.sample(logits), 2);  // 8 / 2 < 6
  EXPECT_EQ(s.sample(logits), 0);  // 4, 3 < 5
  EXPECT_EQ(s.sample(logits), 1);  // 1 is no longer among the last two
}

TEST(Sampler, SameSeedSameTokens) {
  const SamplerOptions options{.temperature = 0.9f, .top_k = 3, .top_p = 0.95f, .seed = 42};
  Sampler a(options);
  Sampler b(options);
  Sampler c({.temperature = 0.9f, .top_k = 3, .top_p = 0.95f, .seed = 43});
  std::vector<std::int32_t> xs, ys, zs;
  for (int i = 0; i < 100; ++i) {
    xs.push_back(a.sample(kLogits));
    ys.push_back(b.sample(kLogits));
    zs.push_back(c.sample(kLogits));
  }
  EXPECT_EQ(xs, ys);
  EXPECT_NE(xs, zs);
}

TEST(Sampler, LogitsThatAreNotNumbersAreAnError) {
  Sampler greedy;
  Sampler warm({.temperature = 1.0f});
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  for (const auto& bad : {std::vector<float>{1, nan, 2}, std::vector<float>{nan}, std::vector<float>{1, inf},
                          std::vector<float>{-inf, -inf}, std::vector<float>{}}) {
    EXPECT_THROW(greedy.sample(bad), Error);
    EXPECT_THROW(warm.sample(bad), Error);
  }
  EXPECT_EQ(greedy.sample(std::vector<float>{-inf, 3}), 1);  // a masked token is fine
}

TEST(Sampler, RefusesOptionsOutOfRange) {
  EXPECT_THROW(Sampler({.temperature = -1.0f}), Error);
  EXPECT_THROW(Sampler({.temperature = std::numeric_limits<float>::quiet_NaN()}), Error);
  EXPECT_THROW(Sampler({.top_p = 0.0f}), Error);
  EXPECT_THROW(Sampler({.top_p = 1.5f}), Error);
  EXPECT_THROW(Sampler({.min_p = -0.1f}), Error);
  EXPECT_THROW(Sampler({.repeat_penalty = 0.0f}), Error);
  EXPECT_THROW(Sampler({.repeat_last = std::size_t{1} << 60}), Error);
}

}  // namespace
}  // namespace gemma
