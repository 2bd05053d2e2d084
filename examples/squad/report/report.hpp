// The report of a run as one HTML file that needs nothing else: no network, no other file.
// Invariant: text of models, data sets and users is escaped wherever it appears; without scripts everything
// but the list of answers is there.
#pragma once

#include <string>

#include "examples/squad/analysis.hpp"

namespace gemma::squad::report {

std::string report_html(const RunDirectory& run, const Analysis& analysis);

}  // namespace gemma::squad::report
