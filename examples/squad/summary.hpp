// The analysis as files and as text: summary.json, answers.csv, predictions, and a table for the terminal.
// Invariant: every number of the report is in summary.json too.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "examples/squad/analysis.hpp"

namespace gemma::squad {

nlohmann::ordered_json summary_json(const RunDirectory& run, const Analysis& analysis);

/// One line per answer (RFC 4180), UTF-8, header first.
std::string answers_csv(const RunDirectory& run, const Analysis& analysis);

/// {"id": "answer"} of one model, in the form of the official scripts.
std::string predictions_json(const RunDirectory& run, std::size_t model);

/// For the terminal: a table of the models and the results in words.
std::string summary_text(const RunDirectory& run, const Analysis& analysis);

}  // namespace gemma::squad
