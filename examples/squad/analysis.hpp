// The analysis of a run: metrics of answers and models, tests between models, and savings by shared passages.
// Invariant: depends on the run directory alone (including stored times); all random draws are seeded.
#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "examples/squad/gains.hpp"
#include "examples/squad/metrics.hpp"
#include "examples/squad/run_directory.hpp"
#include "examples/squad/stats/bootstrap.hpp"
#include "examples/squad/stats/rank_tests.hpp"
#include "examples/squad/verdicts.hpp"

namespace gemma::squad {

struct AnswerMetrics {
  std::size_t article_words = 0;   // counted as in the article
  std::size_t words = 0;           // including digits and other scripts
  double article_words_per_s = 0;  // over the whole call, including the prompt
  double words_per_s = 0;
  Score score;
};

/// A measure: its mean for each model, with its tests.
struct Measure {
  std::string key;    // in summary.json, e.g. "f1"
  std::string title;  // for people
  std::string unit;   // "": none
  bool higher_is_better = true;
  bool is_quality = true;                   // true: better or worse; false: only more or less (length)
  std::vector<stats::Interval> means = {};  // [k models]
  // tests between models, if there are two or more
  stats::Omnibus kruskal = {}, friedman = {};
  std::vector<stats::Pair> dunn = {}, conover = {}, wilcoxon = {};
  std::optional<std::size_t> questions_overall = {};             // for 80% power at 5%
  std::vector<std::optional<std::size_t>> questions_pairs = {};  // [pairs], for 80% power at 5% / pairs
  stats::Columns values = {};                                    // [k models][questions]
  std::vector<std::size_t> questions = {};  // indices of the values in run.questions(), ascending

  /// The value of a model for question `question` of run.questions(); nullopt if it is none of `questions`.
  std::optional<double> value_of(std::size_t model, std::size_t question) const;
  /// Whether the models differ at 5% by Friedman's test; a pair must also differ by Conover's test with Holm.
  bool differs() const noexcept { return friedman.p <= 0.05; }
  bool differs(std::size_t pair) const noexcept { return differs() && conover[pair].p_holm <= 0.05; }
};

struct ModelSummary {
  Gains gains;
  double prefill_s = 0, decode_s = 0;  // sums
  // sums over prompts of which at least half was computed: few tokens do not show the speed of prefill
  double whole_tokens = 0, whole_s = 0;
  double first_token_s = 0;  // mean; in a batch it includes the work of others
  double prefill_tokens_per_s = 0, decode_tokens_per_s = 0;
  /// Estimated time of the run without sharing, if every question computed its whole prompt at
  /// prefill_tokens_per_s. Not known for batches.
  double alone_s = 0;

  /// Whether each answer was computed alone: only then its speed and its times of prefill and decoding exist.
  bool is_timed() const noexcept { return gains.batch == 1; }
  std::map<std::string, std::size_t> stops;
  ScoreTotals has_answer, no_answer;
};

struct JudgeSummary {
  Verdicts verdicts;
  PositionBias bias;
  std::size_t measure = 0;            // index of its ranks in Analysis::measures
  std::vector<std::size_t> unranked;  // indices in run.questions() of those without ranks
  /// Fraction of judged questions in which a model has rank 1, 1.5, 2, ...: [k models][2 k - 1].
  std::vector<std::vector<double>> rank_shares;
};

struct Analysis {
  std::vector<std::vector<AnswerMetrics>> answers;  // [k models][questions], in the order of run.questions()
  std::vector<ModelSummary> models;
  std::vector<Measure> measures;
  std::vector<JudgeSummary> judges;

  const Measure& measure(std::string_view key) const;
  /// The measure of the ranks that a judge gave.
  const Measure& measure(const JudgeSummary& judge) const { return measures[judge.measure]; }
  /// Whether words per second are known: every model was asked one question at a time.
  bool is_timed() const noexcept;
};

/// Analyses a complete run with the verdicts of `judges`. `seed` is that of the bootstrap intervals. Throws
/// gemma::Error (invalid_argument: the run is not complete; as rank_columns).
Analysis analyse(const RunDirectory& run, const std::vector<std::string>& judges, std::uint64_t seed);

}  // namespace gemma::squad
