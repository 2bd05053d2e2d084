// The parts of the report that need no script: figures, tests in words, speed, settings.
#pragma once

#include <string>

#include "examples/squad/analysis.hpp"

namespace gemma::squad::report {

/// Table of the models and bar charts: the article's three, EM and F1, ranks.
std::string figures_section(const RunDirectory& run, const Analysis& analysis);
/// For each measure who differs, in words, by the article's tests and by the blocked ones. Empty for one
/// model.
std::string tests_section(const RunDirectory& run, const Analysis& analysis);
/// Tokens per second, time to the first token, what shared passages saved.
std::string speed_section(const RunDirectory& run, const Analysis& analysis);
/// What was run: data, models and their hashes, prompt, judges.
std::string settings_section(const RunDirectory& run, const Analysis& analysis);

}  // namespace gemma::squad::report
