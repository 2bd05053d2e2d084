#include "examples/squad/metrics.hpp"

#include <filesystem>
#include <string>

#include <gtest/gtest.h>

#include "gguf/error.hpp"
#include "tests/paths.hpp"
#include "tests/temporary_folder.hpp"

namespace gemma::squad {
namespace {

TEST(NormalizeAnswer, TheOfficialSteps) {
  EXPECT_EQ(normalize_answer("The  Eiffel-Tower, (Paris)!"), "eiffeltower paris");
  EXPECT_EQ(normalize_answer("a an the A An THE"), "");
  EXPECT_EQ(normalize_answer("theatre and banana"), "theatre and banana");
  EXPECT_EQ(normalize_answer("the\xE2\x80\x93"
                             "an x"),
            "\xE2\x80\x93 x");  // en dash is no word character: \b matches
  EXPECT_EQ(normalize_answer("a\xC3\xA9 the_x"),
            "a\xC3\xA9 thex");  // é is one; _ is punctuation and goes first
  EXPECT_EQ(normalize_answer("\xC2\xA0"
                             "A\xE2\x80\x83"
                             "dog\x1C"),
            "dog");  // Unicode white space
  EXPECT_EQ(normalize_answer("ÜBER"), "über");
  EXPECT_EQ(normalize_answer("a\xCC\x81"), "\xCC\x81");  // a combining accent is no word character: "a" goes
}

TEST(ScorePair, TokenF1) {
  EXPECT_DOUBLE_EQ(score_pair("the cat sat", "a cat", false).f1, 2.0 * 0.5 * 1.0 / 1.5);
  EXPECT_DOUBLE_EQ(score_pair("cat cat", "cat", false).f1, 2.0 * 0.5 * 1.0 / 1.5);  // multisets, not sets
  EXPECT_EQ(score_pair("The Cat.", "cat", false).exact, 1);
  EXPECT_EQ(score_pair("dog", "cat", false).f1, 0);
  EXPECT_EQ(score_pair("", "", false).exact, 1);
  EXPECT_EQ(score_pair("", "the", false).f1, 0);  // v1.1 gives no F1 to two empty multisets
  EXPECT_EQ(score_pair("", "the", true).f1, 1);   // v2.0 does
}

TEST(ScoreAnswer, BestOverTheGoldAnswers) {
  const Score score = score_answer("big dog", {{"dog", 0}, {"big dog", 0}, {"cat", 0}}, false);
  EXPECT_EQ(score.exact, 1);
  EXPECT_EQ(score.f1, 1);
}

TEST(ScoreAnswer, NoAnswerOfVersion2) {
  EXPECT_EQ(score_answer("", {}, true).f1, 1);
  EXPECT_EQ(score_answer("", {}, true).exact, 1);
  EXPECT_EQ(score_answer("Paris", {}, true).f1, 0);
  EXPECT_EQ(score_answer("", {{"Paris", 0}}, true).f1, 0);
  EXPECT_EQ(score_answer("", {{"the", 0}}, true).exact, 1);  // a gold answer of articles alone does not count
  EXPECT_EQ(score_answer("", {{"the", 0}, {"Paris", 0}}, true).exact, 0);
}

TEST(AsPrediction, SayingThatThereIsNoAnswer) {
  EXPECT_EQ(as_prediction(" Unanswerable.", true), "");
  EXPECT_EQ(as_prediction("The answer is unanswerable", true), "");
  EXPECT_EQ(as_prediction("Unanswerable questions", true), "Unanswerable questions");
  EXPECT_EQ(as_prediction("unanswerable", false), "unanswerable");
}

TEST(ScorePredictions, Version2CountsAsOfficial) {
  Dataset set;
  set.is_v2 = true;
  set.passages = {{"t", "p"}};
  set.questions = {
      {"a", "?", {{"Paris", 0}}, 0}, {"b", "?", {}, 0}, {"c", "?", {}, 0}, {"d", "?", {{"Rome", 0}}, 0}};
  const PredictionScores scores =
      score_predictions(set, {{"a", "in Paris"}, {"b", ""}, {"c", "Oslo"}, {"zzz", "not of this set"}});
  EXPECT_EQ(scores.missing, 1U);  // d: left out, not wrong
  EXPECT_EQ(scores.unknown, 1U);
  EXPECT_EQ(scores.all.n, 3U);
  EXPECT_DOUBLE_EQ(scores.all.exact(), 100.0 / 3);
  EXPECT_DOUBLE_EQ(scores.all.f1(), 100.0 * (2.0 / 3 + 1) / 3);
  EXPECT_DOUBLE_EQ(scores.no_answer.exact(), 50);
  EXPECT_EQ(scores.has_answer.n, 1U);
}

TEST(ScorePredictions, MissingIsWrongInVersion1) {
  Dataset set;
  set.passages = {{"t", "p"}};
  set.questions = {{"a", "?", {{"Paris", 0}}, 0}, {"b", "?", {{"Rome", 0}}, 0}};
  const PredictionScores scores = score_predictions(set, {{"a", "Paris"}});
  EXPECT_EQ(scores.all.n, 2U);
  EXPECT_DOUBLE_EQ(scores.all.exact(), 50);
  EXPECT_EQ(scores.missing, 1U);
}

/// Published predictions of two systems on the development set and the figures that the official script
/// prints.
void expect_published(const char* file, double exact, double f1) {
  GEMMA_NEEDS_SHARED("squad");
  const auto folder = test::shared_dir() / "squad";
  const Dataset set = read_dataset(folder / "dev-v1.1.json");
  EXPECT_EQ(set.questions.size(), 10570U);
  const PredictionScores scores = score_predictions(set, read_predictions(folder / file));
  EXPECT_NEAR(scores.all.exact(), exact, 1e-11);
  EXPECT_NEAR(scores.all.f1(), f1, 1e-11);
}

TEST(ScorePredictions, PublishedBertEnsemble) {
  expect_published("predictions-bert-ensemble.json", 86.20624408703878, 92.1955797835112);
}

TEST(ScorePredictions, PublishedLogisticRegression) {
  expect_published("predictions-logistic-regression.json", 40.14191106906339, 50.981536473244724);
}

TEST(ReadPredictions, BadInputIsOneLine) {
  const gemma::test::TemporaryFolder folder;
  const auto message = [&](const char* text) {
    const std::string file = folder.write("predictions.json", text);
    try {
      read_predictions(file);
    } catch (const Error& error) {
      return std::string(error.message()).substr(file.size());
    }
    return std::string("accepted");
  };
  EXPECT_EQ(message("{"), ": not JSON (byte 2)");
  EXPECT_EQ(message("[]"), ": not an object of question id -> answer");
  EXPECT_EQ(message(R"({"a":1})"), ": the answer of a is not a string");
  EXPECT_EQ(message(R"({"a":"b"})"), "accepted");
}

}  // namespace
}  // namespace gemma::squad
