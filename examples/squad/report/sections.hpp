// The parts of the report that need no script, which page.html places: figures, tests, speed, settings.
#pragma once

#include <string>

#include "examples/squad/analysis.hpp"

namespace gemma::squad::report {

/// Table of the models and bar charts: the article's three measures, EM and F1, ranks.
std::string figures(const RunDirectory& run, const Analysis& analysis);
/// For each measure, which models differ by the article's tests and by the blocked ones; empty for one model.
std::string tests_section(const RunDirectory& run, const Analysis& analysis);
/// Tokens per second, time to the first token, savings by shared passages.
std::string speed_table(const RunDirectory& run, const Analysis& analysis);
/// What the columns of the speed table mean.
std::string speed_note(const RunDirectory& run, const Analysis& analysis);
/// The settings: data, models and their hashes, prompt, judges.
std::string settings_list(const RunDirectory& run, const Analysis& analysis);

}  // namespace gemma::squad::report
