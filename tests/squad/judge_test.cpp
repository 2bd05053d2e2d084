// Judges: orders, prompts, the parsing of rankings; the F1 and likelihood judges.
#include "examples/squad/judge.hpp"

#include <algorithm>
#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "gguf/error.hpp"
#include "tests/squad/fake_source.hpp"

namespace gemma::squad {
namespace {

using test::kNever;
const std::vector<std::size_t> kGivenOrder = {0, 1, 2};

JudgeTask some_task() {
  return {"q1",
          "When is Powder House Day?",
          {{"23 April", 0}, {"April 23", 0}},
          false,
          {"It's on\nApril 23rd!", "23 April", "In **May**"}};
}

TEST(Orders, PermutationsAreAllAndDistinct) {
  for (std::size_t k = 1; k <= 5; ++k) {
    const auto all = orders_for(OrderPolicy::kAll, 0, k);
    EXPECT_TRUE(std::is_sorted(all.begin(), all.end()));
    EXPECT_EQ(std::set<std::vector<std::size_t>>(all.begin(), all.end()).size(), all.size());
    std::set<std::vector<std::size_t>> rotated;
    for (std::size_t i = 0; i < all.size(); ++i) rotated.insert(orders_for(OrderPolicy::kRotate, i, k).at(0));
    EXPECT_EQ(rotated.size(), all.size());
    EXPECT_EQ(orders_for(OrderPolicy::kRotate, all.size(), k), orders_for(OrderPolicy::kRotate, 0, k));
  }
  EXPECT_EQ(orders_for(OrderPolicy::kFixed, 4, 3), (std::vector<std::vector<std::size_t>>{{0, 1, 2}}));
  EXPECT_EQ(permutation(5, 3), (std::vector<std::size_t>{2, 1, 0}));
  EXPECT_THROW(orders_for(OrderPolicy::kAll, 0, 6), Error);
  EXPECT_EQ(parse_order_policy("all"), OrderPolicy::kAll);
  EXPECT_THROW(parse_order_policy("some"), Error);
}

// The article's request, its indentation and the reduction of the answers included.
TEST(RankingPrompt, TheArticles) {
  EXPECT_EQ(ranking_prompt(JudgePrompt::kArticle, some_task(), kGivenOrder),
            "Based on the correct answer: 23 April, rank the IDs of the following three answers from the "
            "most to the "
            "least correct one:\n        1 It's on April 23rd \n        2 23 April\n        3 In May ");
}

TEST(RankingPrompt, FullAndReordered) {
  EXPECT_EQ(ranking_prompt(JudgePrompt::kFull, some_task(), std::vector<std::size_t>{2, 0, 1}),
            "Question: When is Powder House Day?\nCorrect answer: 23 April; or: April 23\nRank the IDs of "
            "the following "
            "three answers to the question from the most to the least correct one. Reply with the IDs alone, "
            "separated "
            "by commas.\n1: In **May**\n2: It's on April 23rd!\n3: 23 April");
}

TEST(F1Judge, TiesShareTheMidRank) {
  const auto judge = make_f1_judge();
  EXPECT_EQ(judge->judge(some_task(), kGivenOrder, kNever).ranks, (std::vector<double>{2, 1, 3}));
  JudgeTask task = some_task();
  task.answers = {"nothing", "23 april", "23 April."};
  EXPECT_EQ(judge->judge(task, kGivenOrder, kNever).ranks, (std::vector<double>{3, 1.5, 1.5}));
  task.is_v2 = true;
  task.truths.clear();
  task.answers = {"unanswerable", "23 April", ""};
  EXPECT_EQ(judge->judge(task, kGivenOrder, kNever).ranks, (std::vector<double>{1.5, 3, 1.5}));
}

// One of four words is right, and two of ten: both F1 scores are 1/3, but they differ in floating point.
TEST(F1Judge, EqualUpToRoundingIsATie) {
  JudgeTask task = some_task();
  task.truths = {{"red car", 0}};
  task.answers = {"it was red then", "in those days it always was red car or bus", "nothing"};
  EXPECT_EQ(make_f1_judge()->judge(task, kGivenOrder, kNever).ranks, (std::vector<double>{1.5, 1.5, 3}));
}

/// A model for which one ranking is the most likely; it counts the requests.
class OneRanking : public test::FakeSource {
 public:
  OneRanking(std::string favourite, std::vector<std::string>& asked)
      : FakeSource("judge", {}), favourite_(std::move(favourite)), asked_(asked) {}
  double log_likelihood(const Prompt& prompt, std::string_view continuation) override {
    EXPECT_TRUE(prompt.chat);
    asked_.emplace_back(continuation);
    return continuation == favourite_ ? -1.0 : -2.0;
  }

 private:
  std::string favourite_;
  std::vector<std::string>& asked_;
};

TEST(LikelihoodJudge, TheLikeliestRankingWins) {
  std::vector<std::string> asked;
  const auto judge = make_likelihood_judge(std::make_unique<OneRanking>("3, 1, 2", asked), "j.gguf", "00");
  // shown in the order 1, 2, 0: ID 3 is model 0
  const Verdict verdict = judge->judge(some_task(), std::vector<std::size_t>{1, 2, 0}, kNever);
  EXPECT_EQ(verdict.ranks, (std::vector<double>{1, 2, 3}));
  EXPECT_EQ(std::set<std::string>(asked.begin(), asked.end()).size(), 6U);
  EXPECT_TRUE(judge->sees_order());
}

TEST(LikelihoodJudge, MakesRoomForLongAnswersUpToTheModelsLimit) {
  struct Source : test::FakeSource {  // a token per byte, made for 4096
    explicit Source(std::vector<std::size_t>& reserved) : FakeSource("judge", {}), sizes(reserved) {}
    void reserve(std::size_t n, std::size_t) override { sizes.push_back(n); }
    double log_likelihood(const Prompt& prompt, std::string_view continuation) override {
      EXPECT_LE(prompt.text.size() + continuation.size(), sizes.back());
      return -1;
    }
    std::vector<std::size_t>& sizes;
  };
  std::vector<std::size_t> sizes;
  const auto judge = make_likelihood_judge(std::make_unique<Source>(sizes), "j.gguf", "00", 500);
  JudgeTask task = some_task();
  judge->judge(task, kGivenOrder, kNever);
  EXPECT_EQ(sizes, (std::vector<std::size_t>{500}));
  task.answers[1] = std::string(1500, 'x');
  judge->judge(task, kGivenOrder, kNever);
  task.answers[2] = std::string(1500, 'y');
  judge->judge(task, kGivenOrder, kNever);
  ASSERT_EQ(sizes.size(), 3U);
  EXPECT_EQ(sizes[2], 2 * sizes[1]);
  task.answers[0] = std::string(1500, 'z');
  const Verdict verdict = judge->judge(task, kGivenOrder, kNever);  // no verdict on this question only
  EXPECT_TRUE(verdict.ranks.empty());
  EXPECT_NE(verdict.trouble.find("the answers make a prompt of 4"), std::string::npos) << verdict.trouble;
  EXPECT_NE(verdict.trouble.find("j.gguf was made for 4096"), std::string::npos) << verdict.trouble;
}

}  // namespace
}  // namespace gemma::squad
