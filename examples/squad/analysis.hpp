// What a run says: metrics of every answer and model, tests between models, and the savings of shared
// passages. Invariant: a function of the run directory alone (times included); seeded where anything is
// drawn.
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

/// Of one answer.
struct AnswerMetrics {
  std::size_t article_words = 0;   // the article's count
  std::size_t words = 0;           // digits and other scripts counted
  double article_words_per_s = 0;  // by the whole call, prompt included
  double words_per_s = 0;
  Score score;
};

/// Mean of a measure for each model, with its tests.
struct Measure {
  std::string key;    // of summary.json, e.g. "f1"
  std::string title;  // for people
  std::string unit;   // "" for none
  bool higher_is_better = true;
  bool is_quality = true;              // better or worse; else only more or less (length)
  std::vector<stats::Interval> means;  // [k models]
  // tests between models, where there are two or more
  stats::Omnibus kruskal, friedman;
  std::vector<stats::Pair> dunn, conover, wilcoxon;
  std::optional<std::size_t> questions_overall;             // for 80% power at 5%
  std::vector<std::optional<std::size_t>> questions_pairs;  // [pairs], for 80% power at 5% / pairs
  stats::Columns values;                                    // [k models][questions]
  std::vector<std::size_t> questions;  // which of run.questions() the values are of, ascending; mostly all

  /// Whether models differ at 5%: Friedman's test and, of a pair, Conover's with Holm after it.
  bool differs() const noexcept { return friedman.p <= 0.05; }
  bool differs(std::size_t pair) const noexcept { return differs() && conover[pair].p_holm <= 0.05; }
};

/// Of one model.
struct ModelSummary {
  Gains gains;
  double prefill_s = 0, decode_s = 0;  // sums
  // of prompts of which at least half was computed: the few tokens after a shared passage say nothing about
  // the speed of a prompt
  double whole_tokens = 0, whole_s = 0;
  double first_token_s = 0;  // mean; in a batch, of what else was computed too
  double prefill_tokens_per_s = 0, decode_tokens_per_s = 0;
  /// What the run would have taken had each question computed its whole prompt at prefill_tokens_per_s. Not
  /// known of batches.
  double alone_s = 0;

  /// Whether each answer was computed by itself; else it has no speed, and prefill and decoding have no
  /// times.
  bool is_timed() const noexcept { return gains.batch == 1; }
  std::map<std::string, std::size_t> stops;
  ScoreTotals has_answer, no_answer;  // v2.0: percent
};

struct JudgeSummary {
  Verdicts verdicts;
  PositionBias bias;
  std::size_t measure = 0;            // index of its ranks in Analysis::measures
  std::vector<std::size_t> unranked;  // of run.questions(), those that are not in the measure
  /// Share of judged questions in which a model's answer has each rank, in halves: [k models][2 k - 1], rank
  /// 1 first.
  std::vector<std::vector<double>> rank_shares;
};

struct Analysis {
  std::vector<std::vector<AnswerMetrics>>
      answers;  // [k models][n questions], in the order of run.questions()
  std::vector<ModelSummary> models;
  std::vector<Measure> measures;
  std::vector<JudgeSummary> judges;

  const Measure& measure(std::string_view key) const;
  /// Whether answers have words per second: every model was asked one question at a time.
  bool is_timed() const noexcept;
};

/// Analyses a complete run with the verdicts of `judges`. Bootstrap intervals are drawn by `seed`. Throws
/// gemma::Error (invalid_argument: the run is not complete; as rank_columns).
Analysis analyse(const RunDirectory& run, const std::vector<std::string>& judges, std::uint64_t seed);

}  // namespace gemma::squad
