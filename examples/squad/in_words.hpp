// What the analysis says, in words and short numbers, for the terminal and the report alike.
// Invariant: nobody is said to be better, faster or longer than the tests show.
#pragma once

#include <string>

#include "examples/squad/analysis.hpp"

namespace gemma::squad {

/// What a measure says of the models, in a sentence or two.
std::string verdict_in_words(const RunDirectory& run, const Measure& measure);
/// Of one pair: "no difference shown at 5%", or which is better (or more, or longer).
std::string pair_in_words(const RunDirectory& run, const Measure& measure, std::size_t pair);

/// The same from the side of its first or its second model: "better", "slower", "no difference shown at 5%".
std::string relation_in_words(const Measure& measure, std::size_t pair, bool of_first);

/// How much of its time a model's run was spared by computing each passage once, e.g. "38%"; "nothing". Of
/// batches, where no prompt has a time of its own: "71% of prompt tokens".
std::string saving_text(const ModelSummary& model);
/// Why a run has no words per second, in a sentence; "" when it has.
std::string untimed_text(const Analysis& analysis);
/// Verdicts, attempts, tokens and, where the price is known, dollars.
std::string judge_cost_text(const JudgeSummary& judge);

/// Which questions have no ranking by this judge and are left out of its ranks; "" when all have one.
std::string unranked_text(const RunDirectory& run, const JudgeSummary& judge);

/// "p = 0.012", "p < 0.001".
std::string p_text(double p);
/// A number with the digits that say something: 0.69, 20.3, 148.
std::string short_number(double value);

}  // namespace gemma::squad
