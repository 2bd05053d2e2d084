// The official SQuAD metrics of v1.1 and v2.0: exact match and token F1, the best over the gold answers.
// Invariant: results equal those of evaluate-v1.1.py and evaluate-v2.0.py; sums are added in the same order.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "examples/squad/squad.hpp"

namespace gemma::squad {

/// Normalises an answer (Rajpurkar et al. 2016): lower case; no ASCII punctuation, a, an, the; single spaces.
std::string normalize_answer(std::string_view text);

struct Score {
  double exact = 0;  // 0 or 1
  double f1 = 0;     // 0 to 1
};

/// Scores a prediction against one gold answer. Two empty token multisets have F1 0 in v1.1 and 1 in v2.0.
Score score_pair(std::string_view prediction, std::string_view truth, bool is_v2);

/// The best score over the gold answers. v2.0: gold answers that are empty after normalisation are ignored;
/// if none is left, the empty prediction is right.
Score score_answer(std::string_view prediction, const std::vector<Truth>& truths, bool is_v2);

/// The prediction of a generated answer: the answer itself, or for v2.0 the empty prediction if it says that
/// there is no answer ("unanswerable", "no answer", "not answerable", also "The question is unanswerable.").
std::string as_prediction(std::string_view answer, bool is_v2);

/// Scores over questions: sums, of which the official scripts make percentages.
struct ScoreTotals {
  double exact_sum = 0, f1_sum = 0;
  std::size_t n = 0;

  void add(const Score& score) {
    exact_sum += score.exact;
    f1_sum += score.f1;
    ++n;
  }
  double exact() const { return percent(exact_sum); }
  double f1() const { return percent(f1_sum); }

 private:
  double percent(double sum) const { return n == 0 ? 0 : 100.0 * sum / static_cast<double>(n); }
};

struct PredictionScores {
  ScoreTotals all;
  ScoreTotals has_answer;   // v2.0
  ScoreTotals no_answer;    // v2.0
  std::size_t missing = 0;  // without a prediction: wrong in v1.1, ignored in v2.0
  std::size_t unknown = 0;  // predictions for ids that are not in the set
};

using Predictions = std::unordered_map<std::string, std::string>;

/// Scores the whole set as the official scripts do.
PredictionScores score_predictions(const Dataset& dataset, const Predictions& predictions);

/// Reads {"id": "answer", ...}. Throws gemma::Error (io, malformed).
Predictions read_predictions(const std::filesystem::path& file);

}  // namespace gemma::squad
