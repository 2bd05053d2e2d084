// Judges: orders, prompts, readings of replies; the F1 and likelihood judges; stored verdicts and what they
// say.
#include "examples/squad/judge.hpp"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <map>
#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "examples/squad/judge_likelihood.hpp"
#include "examples/squad/runner.hpp"
#include "examples/squad/verdicts.hpp"
#include "gguf/error.hpp"
#include "tests/squad/fake_source.hpp"

namespace gemma::squad {
namespace {

using test::kNever;
const std::vector<std::size_t> kOrder = {0, 1, 2};

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
  EXPECT_EQ(ranking_prompt(JudgePrompt::kArticle, some_task(), kOrder),
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

TEST(ParseRanking, WhatIsOneAndWhatIsNot) {
  const std::vector<double> ranks = {2, 1, 3};
  for (const char* good :
       {"2,1,3", "2, 1, 3", "213", "2 > 1 > 3", "[2,1,3]", "[\"2\",\"1\",\"3\"]", " 2;1;3\n"}) {
    EXPECT_EQ(parse_ranking(good, 3), ranks) << good;
  }
  for (const char* bad : {"", "2,1", "2,1,3,3", "2,2,1", "0,1,2", "1,2,4", "the second", "2,1,3 because",
                          "21,3", "1-2-3", "99999999999999999999,1,2"}) {
    EXPECT_TRUE(parse_ranking(bad, 3).empty()) << bad;
  }
  EXPECT_EQ(parse_ranking("3,1,2", 3), (std::vector<double>{2, 3, 1}));  // ID 3 is the best
}

TEST(F1Judge, TiesShareTheMidRank) {
  const auto judge = make_f1_judge();
  EXPECT_EQ(judge->judge(some_task(), kOrder, kNever).ranks, (std::vector<double>{2, 1, 3}));
  JudgeTask task = some_task();
  task.answers = {"nothing", "23 april", "23 April."};
  EXPECT_EQ(judge->judge(task, kOrder, kNever).ranks, (std::vector<double>{3, 1.5, 1.5}));
  task.is_v2 = true;
  task.truths.clear();
  task.answers = {"unanswerable", "23 April", ""};
  EXPECT_EQ(judge->judge(task, kOrder, kNever).ranks, (std::vector<double>{1.5, 3, 1.5}));
}

// Of four words one is right, of ten two: F1 is 1/3 twice, and in floating point it is not.
TEST(F1Judge, EqualUpToRoundingIsATie) {
  JudgeTask task = some_task();
  task.truths = {{"red car", 0}};
  task.answers = {"it was red then", "in those days it always was red car or bus", "nothing"};
  EXPECT_EQ(make_f1_judge()->judge(task, kOrder, kNever).ranks, (std::vector<double>{1.5, 1.5, 3}));
}

/// A model that likes one ranking best, and counts what it was asked.
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
    explicit Source(std::vector<std::size_t>& sizes) : FakeSource("judge", {}), sizes_(sizes) {}
    void reserve(std::size_t n) override { sizes_.push_back(n); }
    double log_likelihood(const Prompt& prompt, std::string_view continuation) override {
      EXPECT_LE(prompt.text.size() + continuation.size(), sizes_.back());
      return -1;
    }
    std::vector<std::size_t>& sizes_;
  };
  std::vector<std::size_t> sizes;
  const auto judge = make_likelihood_judge(std::make_unique<Source>(sizes), "j.gguf", "00", 500);
  JudgeTask task = some_task();
  judge->judge(task, kOrder, kNever);
  EXPECT_EQ(sizes, (std::vector<std::size_t>{500}));
  task.answers[1] = std::string(1500, 'x');
  judge->judge(task, kOrder, kNever);
  task.answers[2] = std::string(1500, 'y');
  judge->judge(task, kOrder, kNever);
  ASSERT_EQ(sizes.size(), 3U);
  EXPECT_EQ(sizes[2], 2 * sizes[1]);
  task.answers[0] = std::string(1500, 'z');
  try {
    judge->judge(task, kOrder, kNever);
    FAIL() << "a verdict";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.message()).find("judge j.gguf, question q1: the answers make a prompt of 4"),
              std::string::npos)
        << error.message();
  }
}

// ---- verdicts of a run ----

const std::vector<ModelSpec> kJudged = {{"gemma", "g"}, {"llama", "l"}, {"mistral", "m"}};

/// A judge that prefers what is shown first with a given probability, else ranks at random; it counts its
/// questions.
class BiasedJudge : public Judge {
 public:
  explicit BiasedJudge(double bias, std::string name = "biased") : bias_(bias), name_(std::move(name)) {}
  nlohmann::ordered_json identity() const override { return {{"judge", name_}}; }
  bool sees_order() const override { return true; }
  Verdict judge(const JudgeTask&, std::span<const std::size_t> order, const std::atomic<bool>&) override {
    ++asked;
    std::vector<double> ranks = {1, 2, 3};
    if (random_.uniform() >= bias_) shuffle(ranks, random_);
    Verdict verdict;
    verdict.ranks.resize(3);
    for (std::size_t i = 0; i < 3; ++i) verdict.ranks[order[i]] = ranks[i];
    verdict.prompt_tokens = 100;
    verdict.completion_tokens = 5;
    verdict.attempts = 2;
    return verdict;
  }
  std::size_t asked = 0;

 private:
  double bias_;
  std::string name_;
  SplitMix64 random_{5};
};

class JudgedRun : public ::testing::Test {
 protected:
  JudgedRun() {
    Dataset set;
    set.version = "1.1";
    for (std::size_t p = 0; p < 48; ++p) {
      set.passages.push_back({"t", fmt::format("Passage {} holds words.", p)});
      set.questions.push_back({fmt::format("q{}", p), "What?", {{"words", 16}}, p});
    }
    RunSettings settings;
    settings.n_questions = 48;
    settings.preset = make_preset("chat", false);
    for (const ModelSpec& model : kJudged) settings.models.push_back({model.name, model.name, "0", "fake"});
    RunDirectory run = RunDirectory::start(folder_ / "run", settings, set);
    run_questions(run, kJudged, test::fake_factory(), kNever, nullptr);
  }
  RunDirectory run() const { return RunDirectory::read(folder_ / "run"); }
  bool judge(Judge& judge, OrderPolicy policy, const std::string& name = "j") {
    return judge_run(run(), judge, name, policy, kNever, nullptr);
  }
  test::TemporaryDirectory folder_;
};

TEST_F(JudgedRun, VerdictsAreStoredAndNotAskedAgain) {
  BiasedJudge first(0);
  EXPECT_TRUE(judge(first, OrderPolicy::kAll));
  EXPECT_EQ(first.asked, 48U * 6U);
  BiasedJudge again(0);
  EXPECT_TRUE(judge(again, OrderPolicy::kAll));
  EXPECT_EQ(again.asked, 0U);
  const Verdicts verdicts = read_verdicts(run(), "j");
  EXPECT_EQ(verdicts.records.size(), 288U);
  EXPECT_EQ(verdicts.prompt_tokens(), 28800U);
  EXPECT_EQ(verdicts.completion_tokens(), 1440U);
  EXPECT_EQ(verdicts.attempts(), 576U);
  EXPECT_EQ(judges_of(folder_ / "run"), (std::vector<std::string>{"j"}));
}

TEST_F(JudgedRun, ContinuesAfterAHalfLine) {
  BiasedJudge first(0);
  judge(first, OrderPolicy::kRotate);
  const auto file = folder_ / "run/verdicts-j.jsonl";
  std::ifstream in(file);
  const std::string whole(std::istreambuf_iterator<char>(in), {});
  std::ofstream(file) << whole.substr(0, whole.size() - 30);
  BiasedJudge again(0);
  EXPECT_TRUE(judge(again, OrderPolicy::kRotate));
  EXPECT_EQ(again.asked, 1U);
  EXPECT_EQ(read_verdicts(run(), "j").records.size(), 48U);
}

TEST_F(JudgedRun, VerdictsOfJudgesAreNotMixed) {
  BiasedJudge first(0), other(0, "other");
  judge(first, OrderPolicy::kRotate);
  EXPECT_THROW(judge(other, OrderPolicy::kRotate), Error);
  EXPECT_THROW(judge(first, OrderPolicy::kAll), Error);
  EXPECT_TRUE(judge(other, OrderPolicy::kRotate, "other"));
  EXPECT_EQ(judges_of(folder_ / "run"), (std::vector<std::string>{"j", "other"}));
  EXPECT_THROW(judge(first, OrderPolicy::kRotate, "a/b"), Error);
}

TEST_F(JudgedRun, AJudgeWithoutAVerdictGivesWay) {
  std::ofstream(folder_ / "run/verdicts-j.jsonl") << R"({"judge":{"judge":"mistyped"},"order":"all"})"
                                                  << "\n";
  BiasedJudge right(0);
  EXPECT_TRUE(judge(right, OrderPolicy::kRotate));
  EXPECT_EQ(read_verdicts(run(), "j").identity, R"({"judge":"biased"})");
  EXPECT_EQ(read_verdicts(run(), "j").records.size(), 48U);
}

TEST_F(JudgedRun, RanksAreAveragedOverOrders) {
  BiasedJudge blind(1);  // always 1, 2, 3 by place: over all orders every model gets 2
  judge(blind, OrderPolicy::kAll);
  for (const auto& column : rank_columns(run(), read_verdicts(run(), "j"))) {
    for (const double rank : column) EXPECT_DOUBLE_EQ(rank, 2);
  }
}

TEST_F(JudgedRun, PositionBiasIsSeenWhereThereIsOne) {
  BiasedJudge biased(0.5), fair(0);
  judge(biased, OrderPolicy::kRotate, "biased");
  judge(fair, OrderPolicy::kAll, "fair");
  const PositionBias found = position_bias(read_verdicts(run(), "biased"), 3);
  EXPECT_TRUE(found.is_known);
  EXPECT_LT(found.p, 0.05);
  EXPECT_LT(found.mean_rank[0], found.mean_rank[2]);
  const PositionBias none = position_bias(read_verdicts(run(), "fair"), 3);
  EXPECT_GT(none.p, 0.05);
  EXPECT_NEAR(none.mean_rank[0], 2, 0.15);
}

TEST_F(JudgedRun, AFixedOrderSaysNothingAboutBias) {
  BiasedJudge biased(0.5);
  judge(biased, OrderPolicy::kFixed);
  EXPECT_FALSE(position_bias(read_verdicts(run(), "j"), 3).is_known);
}

TEST_F(JudgedRun, F1NeedsOneOrder) {
  judge_run(run(), *make_f1_judge(), "f1", OrderPolicy::kAll, kNever, nullptr);
  EXPECT_EQ(read_verdicts(run(), "f1").records.size(), 48U);
  for (std::size_t i = 0; i < 48; ++i) {
    const auto columns = rank_columns(run(), read_verdicts(run(), "f1"));
    EXPECT_DOUBLE_EQ(columns[0][i] + columns[1][i] + columns[2][i], 6);
  }
}

// Some of the orders of a question are not all of them: the mean rank would be that of a place.
TEST_F(JudgedRun, HalfTheOrdersAreNoVerdict) {
  BiasedJudge judge_of_places(1);
  judge(judge_of_places, OrderPolicy::kAll);
  const auto file = folder_ / "run/verdicts-j.jsonl";
  std::ifstream in(file);
  std::string text(std::istreambuf_iterator<char>(in), {});
  text.pop_back();
  std::ofstream(file, std::ios::binary) << text.substr(0, text.rfind('\n') + 1);
  EXPECT_EQ(read_verdicts(run(), "j").records.size(), 287U);
  EXPECT_THROW(rank_columns(run(), read_verdicts(run(), "j")), Error);
}

TEST_F(JudgedRun, WhatIsNoRankingIsNoVerdict) {
  const auto read = [&](const std::string& order, const std::string& ranks) {
    std::ofstream(folder_ / "run/verdicts-j.jsonl")
        << R"({"judge":{"judge":"x"},"order":"rotate"})"
        << "\n"
        << R"({"id":"q1","order":)" << order << R"(,"ranks":)" << ranks
        << R"(,"attempts":1,"prompt_tokens":0,"completion_tokens":0})"
        << "\n";
    return read_verdicts(run(), "j").records.size();
  };
  const std::string order = R"(["mistral","gemma","llama"])";
  EXPECT_EQ(read(order, R"({"gemma":1,"llama":2.5,"mistral":2.5})"), 1U);
  EXPECT_THROW(read(order, R"({"gemma":1,"llama":2,"mistral":300})"), Error);
  EXPECT_THROW(read(order, R"({"gemma":1,"llama":1,"mistral":1})"), Error);
  EXPECT_THROW(read(order, R"({"gemma":-1,"llama":4,"mistral":3})"), Error);
  EXPECT_THROW(read(R"(["mistral","gemma"])", R"({"gemma":1,"llama":2,"mistral":3})"), Error);
  EXPECT_THROW(read(R"(["mistral","gemma","gemma"])", R"({"gemma":1,"llama":2,"mistral":3})"), Error);
}

TEST_F(JudgedRun, MissingVerdictsAreSaid) {
  EXPECT_THROW(read_verdicts(run(), "nobody"), Error);
  std::ofstream(folder_ / "run/verdicts-j.jsonl") << R"({"judge":{"judge":"biased"},"order":"rotate"})"
                                                  << "\n";
  EXPECT_THROW(rank_columns(run(), read_verdicts(run(), "j")), Error);
  std::ofstream(folder_ / "run/verdicts-k.jsonl") << "{\"judge\":{},\"order\":\"rotate\"}\n{\"id\":\"q1\"}\n";
  EXPECT_THROW(read_verdicts(run(), "k"), Error);
}

}  // namespace
}  // namespace gemma::squad
