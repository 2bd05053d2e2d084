// The analysis as data and as text: summary.json, answers.csv, predictions for the official scripts, a
// terminal table. Invariant: every number of the report stands in summary.json too.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "examples/squad/analysis.hpp"

namespace gemma::squad {

nlohmann::ordered_json summary_json(const RunDirectory& run, const Analysis& analysis);

/// One line per answer (RFC 4180), UTF-8, header first.
std::string answers_csv(const RunDirectory& run, const Analysis& analysis);

/// {"id": "answer"} of one model, as the official scripts read it.
std::string predictions_json(const RunDirectory& run, std::size_t model);

/// For the terminal: a table of the models and, in words, what can be said.
std::string summary_text(const RunDirectory& run, const Analysis& analysis);

/// What a measure says of the models, in a sentence or two.
std::string verdict_in_words(const RunDirectory& run, const Measure& measure);
/// Of one pair: "no difference shown at 5%", or which is better (or more, or longer).
std::string pair_in_words(const RunDirectory& run, const Measure& measure, std::size_t pair);

/// The same from the side of its first or its second model: "better", "slower", "no difference shown at 5%".
std::string relation_in_words(const Measure& measure, std::size_t pair, bool of_first);

/// How much of its time a model's run was spared by computing each passage once, e.g. "38%"; "nothing".
std::string saving_text(const ModelSummary& model);
/// Verdicts, attempts, tokens and, where the price is known, dollars.
std::string judge_cost_text(const JudgeSummary& judge);

/// Which questions have no ranking by this judge and are left out of its ranks; "" when all have one.
std::string unranked_text(const RunDirectory& run, const JudgeSummary& judge);

/// "p = 0.012", "p < 0.001".
std::string p_text(double p);
/// A number with the digits that say something: 0.69, 20.3, 148.
std::string short_number(double value);

}  // namespace gemma::squad
