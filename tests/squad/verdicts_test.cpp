// Verdicts of a run: stored, continued, incomplete, missing; and their evaluation.
#include "examples/squad/verdicts.hpp"

#include <fstream>
#include <set>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "examples/squad/runner.hpp"
#include "gguf/error.hpp"
#include "tests/paths.hpp"
#include "tests/squad/fake_source.hpp"
#include "tests/temporary_folder.hpp"

namespace gemma::squad {
namespace {

using test::kNever;

const std::vector<ModelSpec> kJudged = {{"gemma", "g"}, {"llama", "l"}, {"mistral", "m"}};

/// Prefers what is shown first with a given probability, otherwise ranks at random; counts its questions.
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
  gemma::test::TemporaryFolder folder_;
};

TEST_F(JudgedRun, VerdictsAreStoredAndNotAskedAgain) {
  BiasedJudge first(0);
  EXPECT_TRUE(judge(first, OrderPolicy::kAll));
  EXPECT_EQ(first.asked, 48U * 6U);
  BiasedJudge again(0);
  EXPECT_TRUE(judge(again, OrderPolicy::kAll));
  EXPECT_EQ(again.asked, 0U);
  const Verdicts verdicts = read_verdicts(run(), "j");
  EXPECT_EQ(verdicts.n_ranked(), 288U);
  EXPECT_EQ(verdicts.prompt_tokens, 28800U);
  EXPECT_EQ(verdicts.completion_tokens, 1440U);
  EXPECT_EQ(verdicts.attempts, 576U);
  EXPECT_EQ(judges_of(folder_ / "run"), (std::vector<std::string>{"j"}));
}

TEST_F(JudgedRun, ContinuesAfterAHalfLine) {
  BiasedJudge first(0);
  judge(first, OrderPolicy::kRotate);
  const auto file = folder_ / "run/verdicts-j.jsonl";
  const std::string whole = gemma::test::read_bytes(file);
  std::ofstream(file) << whole.substr(0, whole.size() - 30);
  BiasedJudge again(0);
  EXPECT_TRUE(judge(again, OrderPolicy::kRotate));
  EXPECT_EQ(again.asked, 1U);
  EXPECT_EQ(read_verdicts(run(), "j").n_ranked(), 48U);
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
  EXPECT_EQ(read_verdicts(run(), "j").n_ranked(), 48U);
}

TEST_F(JudgedRun, RanksAreAveragedOverOrders) {
  BiasedJudge blind(1);  // always 1, 2, 3 by place: over all orders every model gets 2
  judge(blind, OrderPolicy::kAll);
  for (const auto& column : rank_columns(run(), read_verdicts(run(), "j")).ranks) {
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
  EXPECT_EQ(read_verdicts(run(), "f1").n_ranked(), 48U);
  const auto columns = rank_columns(run(), read_verdicts(run(), "f1")).ranks;
  for (std::size_t i = 0; i < 48; ++i) {
    EXPECT_DOUBLE_EQ(columns[0][i] + columns[1][i] + columns[2][i], 6);
  }
}

// A question needs verdicts in all of its orders: otherwise its mean rank would depend on positions.
TEST_F(JudgedRun, HalfTheOrdersAreNoVerdict) {
  BiasedJudge judge_of_places(1);
  judge(judge_of_places, OrderPolicy::kAll);
  const auto file = folder_ / "run/verdicts-j.jsonl";
  std::string text = gemma::test::read_bytes(file);
  text.pop_back();
  std::ofstream(file, std::ios::binary) << text.substr(0, text.rfind('\n') + 1);
  EXPECT_EQ(read_verdicts(run(), "j").n_ranked(), 287U);
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
    return read_verdicts(run(), "j").n_ranked();
  };
  const std::string order = R"(["mistral","gemma","llama"])";
  EXPECT_EQ(read(order, R"({"gemma":1,"llama":2.5,"mistral":2.5})"), 1U);
  EXPECT_THROW(read(order, R"({"gemma":1,"llama":2,"mistral":300})"), Error);
  EXPECT_THROW(read(order, R"({"gemma":1,"llama":1,"mistral":1})"), Error);
  EXPECT_THROW(read(order, R"({"gemma":-1,"llama":4,"mistral":3})"), Error);
  EXPECT_THROW(read(R"(["mistral","gemma"])", R"({"gemma":1,"llama":2,"mistral":3})"), Error);
  EXPECT_THROW(read(R"(["mistral","gemma","gemma"])", R"({"gemma":1,"llama":2,"mistral":3})"), Error);
}

/// Ranks all questions but some, for which it has no ranking or does not reply.
class PickyJudge : public Judge {
 public:
  explicit PickyJudge(std::set<std::string> unranked, bool is_down = false)
      : unranked_(std::move(unranked)), is_down_(is_down) {}
  nlohmann::ordered_json identity() const override { return {{"judge", "picky"}}; }
  bool sees_order() const override { return true; }
  Verdict judge(const JudgeTask& task, std::span<const std::size_t> order,
                const std::atomic<bool>&) override {
    asked.push_back(task.id);
    Verdict verdict;
    verdict.prompt_tokens = 10;
    verdict.attempts = 3;
    if (unranked_.empty() || unranked_.contains(task.id)) {
      verdict.trouble = "not a ranking of 3: 'none of them'";
      verdict.is_endpoint_down = is_down_;
    } else {
      verdict.ranks.resize(3);
      for (std::size_t i = 0; i < 3; ++i) verdict.ranks[order[i]] = static_cast<double>(i + 1);
    }
    return verdict;
  }
  std::vector<std::string> asked;

 private:
  std::set<std::string> unranked_;  // empty: all
  bool is_down_;
};

TEST_F(JudgedRun, AQuestionWithoutARankingIsGoneOnFrom) {
  PickyJudge picky({"q3", "q47"});
  EXPECT_TRUE(judge(picky, OrderPolicy::kRotate));
  EXPECT_EQ(picky.asked.size(), 48U);
  Verdicts verdicts = read_verdicts(run(), "j");
  EXPECT_EQ(verdicts.n_ranked(), 46U);
  ASSERT_EQ(verdicts.latest.size(), 48U);
  const auto failure = std::find_if(verdicts.latest.begin(), verdicts.latest.end(),
                                    [](const auto& v) { return v.second.ranks.empty(); });
  EXPECT_EQ(run().questions().questions[failure->first.question].id, "q3");
  EXPECT_EQ(failure->second.trouble, "not a ranking of 3: 'none of them'");
  EXPECT_EQ(verdicts.prompt_tokens, 480U);
  EXPECT_TRUE(is_settled(run(), verdicts));
  const RankColumns columns = rank_columns(run(), verdicts);
  EXPECT_EQ(columns.questions.size(), 46U);
  EXPECT_EQ(columns.ranks[0].size(), 46U);
  // the next judging asks only for these two, and their tokens are counted as well
  PickyJudge again({"q47"});
  EXPECT_TRUE(judge(again, OrderPolicy::kRotate));
  EXPECT_EQ(again.asked, (std::vector<std::string>{"q3", "q47"}));
  verdicts = read_verdicts(run(), "j");
  EXPECT_EQ(verdicts.n_ranked(), 47U);
  EXPECT_EQ(verdicts.latest.size(), 48U);
  EXPECT_EQ(verdicts.attempts, 150U);  // three for each of 48 questions, and of two again
  EXPECT_EQ(verdicts.prompt_tokens, 500U);
}

TEST_F(JudgedRun, AQuestionWithoutAllItsOrdersIsLeftOut) {
  struct HalfJudge : PickyJudge {
    HalfJudge() : PickyJudge({"none"}) {}
    Verdict judge(const JudgeTask& task, std::span<const std::size_t> order,
                  const std::atomic<bool>& cancel) override {
      Verdict verdict = PickyJudge::judge(task, order, cancel);
      if (task.id == "q5" && order[0] == 2) verdict.ranks.clear();
      return verdict;
    }
  } half;
  EXPECT_TRUE(judge(half, OrderPolicy::kAll));
  const RankColumns columns = rank_columns(run(), read_verdicts(run(), "j"));
  EXPECT_EQ(columns.questions.size(), 47U);
  for (const double rank : columns.ranks[1]) EXPECT_DOUBLE_EQ(rank, 2);
}

TEST_F(JudgedRun, WhoNeverRanksIsNotAskedForEver) {
  PickyJudge never({});
  EXPECT_THROW(judge(never, OrderPolicy::kRotate), Error);
  EXPECT_EQ(never.asked.size(), kMostUnranked);
  EXPECT_FALSE(is_settled(run(), read_verdicts(run(), "j")));
  EXPECT_THROW(rank_columns(run(), read_verdicts(run(), "j")), Error);
  const std::set<std::string> tried(never.asked.begin(), never.asked.end());
  PickyJudge sane({"q3"});  // asks first for what was never asked for
  EXPECT_TRUE(judge(sane, OrderPolicy::kRotate));
  EXPECT_FALSE(tried.contains(sane.asked.front()));
  EXPECT_TRUE(tried.contains(sane.asked.back()));
  PickyJudge down({"q3"}, true);
  EXPECT_TRUE(judge(down, OrderPolicy::kRotate, "down"));  // once
  const std::vector<Question> all = run().questions().questions;
  PickyJudge gone({all[4].id, all[5].id, all[6].id, all[7].id}, true);
  EXPECT_THROW(judge(gone, OrderPolicy::kRotate, "gone"), Error);
  EXPECT_EQ(gone.asked.back(), all[6].id);
}

TEST_F(JudgedRun, MissingVerdictsAreSaid) {
  EXPECT_THROW(read_verdicts(run(), "nobody"), Error);
  std::ofstream(folder_ / "run/verdicts-j.jsonl") << R"({"judge":{"judge":"biased"},"order":"rotate"})"
                                                  << "\n";
  EXPECT_THROW(rank_columns(run(), read_verdicts(run(), "j")), Error);
  std::ofstream(folder_ / "run/verdicts-k.jsonl") << "{\"judge\":{},\"order\":\"rotate\"}\n{\"id\":\"q1\"}\n";
  EXPECT_THROW(read_verdicts(run(), "k"), Error);
  BiasedJudge biased(0);
  EXPECT_TRUE(judge(biased, OrderPolicy::kRotate, "l"));
  std::string text = gemma::test::read_bytes(folder_ / "run/verdicts-l.jsonl");
  text.replace(text.find("\"id\":\""), 6, "\"id\":\"x");  // of no question of this run
  std::ofstream(folder_ / "run/verdicts-l.jsonl") << text;
  EXPECT_THROW(read_verdicts(run(), "l"), Error);
}

}  // namespace
}  // namespace gemma::squad
