#include "examples/squad/metrics.hpp"

#include <algorithm>
#include <array>
#include <iterator>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "examples/read_file.hpp"
#include "examples/squad/fail.hpp"
#include "examples/squad/text.hpp"

namespace gemma::squad {
namespace {

/// The words that are compared (Rajpurkar et al. 2016).
std::vector<std::string> answer_tokens(std::string_view text) {
  return split_words(without_articles(without_punctuation(lower(text))));
}

}  // namespace

std::string normalize_answer(std::string_view text) {
  return fmt::format("{}", fmt::join(answer_tokens(text), " "));
}

Score score_pair(std::string_view prediction, std::string_view truth, bool is_v2) {
  std::vector<std::string> given = answer_tokens(prediction), wanted = answer_tokens(truth), shared;
  Score score;
  score.exact = given == wanted ? 1 : 0;
  if (given.empty() && wanted.empty()) score.f1 = is_v2 ? 1 : 0;
  std::ranges::sort(given);
  std::ranges::sort(wanted);
  std::ranges::set_intersection(given, wanted, std::back_inserter(shared));
  if (shared.empty()) return score;
  const auto common = static_cast<double>(shared.size());
  const double precision = common / static_cast<double>(given.size());
  const double recall = common / static_cast<double>(wanted.size());
  score.f1 = (2 * precision * recall) / (precision + recall);
  return score;
}

Score score_answer(std::string_view prediction, const std::vector<Truth>& truths, bool is_v2) {
  Score best;
  bool any = false;
  for (const Truth& truth : truths) {
    if (is_v2 && normalize_answer(truth.text).empty()) continue;
    const Score score = score_pair(prediction, truth.text, is_v2);
    best.exact = std::max(best.exact, score.exact);
    best.f1 = std::max(best.f1, score.f1);
    any = true;
  }
  if (!any && is_v2) return score_pair(prediction, "", true);
  return best;
}

std::string as_prediction(std::string_view answer, bool is_v2) {
  if (!is_v2) return std::string(answer);
  static constexpr std::array<std::string_view, 8> kNoAnswer = {
      "unanswerable",       "no answer",          "not answerable",         "question is unanswerable",
      "it is unanswerable", "there is no answer", "answer is unanswerable", "this question is unanswerable"};
  const std::string plain = normalize_answer(answer);
  return std::ranges::find(kNoAnswer, plain) != kNoAnswer.end() ? std::string() : std::string(answer);
}

PredictionScores score_predictions(const Dataset& dataset, const Predictions& predictions) {
  PredictionScores scores;
  for (const Question& question : dataset.questions) {
    const auto found = predictions.find(question.id);
    if (found == predictions.end()) {
      ++scores.missing;
      if (!dataset.is_v2) scores.all.add({});
      continue;
    }
    const Score score = score_answer(found->second, question.truths, dataset.is_v2);
    scores.all.add(score);
    (question.truths.empty() ? scores.no_answer : scores.has_answer).add(score);
  }
  scores.unknown = predictions.size() - (dataset.questions.size() - scores.missing);
  return scores;
}

Predictions read_predictions(const std::filesystem::path& file) {
  const std::string name = file.string();
  const nlohmann::json root = parse_json(app::read_file(name), name);
  if (!root.is_object()) fail(ErrorCode::kMalformed, "{}: not an object of question id -> answer", name);
  Predictions predictions;
  for (const auto& [id, answer] : root.items()) {
    if (!answer.is_string()) fail(ErrorCode::kMalformed, "{}: the answer of {} is not a string", name, id);
    predictions.emplace(id, answer.get<std::string>());
  }
  return predictions;
}

}  // namespace gemma::squad
