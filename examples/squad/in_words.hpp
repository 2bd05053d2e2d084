// The analysis in words and short numbers, for the terminal and the report.
// Invariant: no model is said to be better, faster or longer than the tests show.
#pragma once

#include <functional>
#include <string>

#include "examples/squad/analysis.hpp"

namespace gemma::squad {

/// A column of a table with one row for each model.
struct Column {
  std::string title;
  std::function<std::string(std::size_t m)> cell;
};

/// The column of a measure's means and their intervals; `format` is fmt's, of the mean and the two ends.
Column interval_column(const std::string& title, const Measure& measure, const char* format);

/// The result of a measure, in one or two sentences.
std::string verdict_in_words(const RunDirectory& run, const Measure& measure);
/// The result of one pair: "no difference shown at 5%", or which model is better (or more, or longer).
std::string pair_in_words(const RunDirectory& run, const Measure& measure, std::size_t pair);

/// The result of one pair, from the view of its first or second model: "better", "slower", "no difference
/// shown at 5%".
std::string relation_in_words(const Measure& measure, std::size_t pair, bool of_first);

/// The fraction of time saved in a model's run by computing each passage once, e.g. "38%"; "nothing". For
/// batches, where prompts have no separate times: "71% of prompt tokens".
std::string saving_text(const ModelSummary& model);
/// A sentence that says why a run has no words per second; "" if it has them.
std::string untimed_text(const Analysis& analysis);
/// Verdicts, attempts, tokens and, if the price is known, dollars.
std::string judge_cost_text(const JudgeSummary& judge);

/// Which questions have no ranking by this judge and are excluded from its ranks; "" if all have one.
std::string unranked_text(const RunDirectory& run, const JudgeSummary& judge);

/// "p = 0.012", "p < 0.001".
std::string p_text(double p);
/// A number with its significant digits only: 0.69, 20.3, 148.
std::string short_number(double value);

}  // namespace gemma::squad
